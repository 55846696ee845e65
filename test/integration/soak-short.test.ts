import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { runSoak } from '../soak/soak.ts';

const SEED = 1;

/** The short form of `npm run test:soak`: the same chaos, the same checks. */
it('comes through 35 s of random faults with nothing lost, repeated or kept', async (t) => {
  await runSoak({
    seconds: 35,
    seed: SEED,
    tablets: 4,
    standsStillMs: 60_000,
    keepLogsIn: join(tmpdir(), `spoor-soak-short-${SEED}`),
    log: (line) => {
      t.diagnostic(line);
    },
  });
});
