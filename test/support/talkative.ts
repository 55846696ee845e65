/** A program that logs as a sidecar does, much and then a line each 50 ms, until SIGTERM: what becomes of it, see log-output.test.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '../../src/cli/logger.ts';
import { SecretMask } from '../../src/util/secret-mask.ts';
import { Outputs } from '../../src/cli/outputs.ts';
import { StopSignals, tellStraySignals } from '../../src/cli/stop-signals.ts';

const outputs = new Outputs();
const fail = (): void => process.exit(9);
using stop = new StopSignals({ limitMs: 10_000, onLimit: fail, onSecond: fail });
tellStraySignals((name) => {
  outputs.err(`stray ${name}\n`);
});
const logger = createLogger({ level: 'info', mask: new SecretMask() });
for (let line = 0; line < 3_000; line++) logger.info({ line, text: 'x'.repeat(1_000) }, 'said');
outputs.err('logged\n');
while (!stop.signal.aborted) {
  logger.info({}, 'still here');
  await sleep(50, undefined, { signal: stop.signal }).catch(() => undefined);
}
await outputs.end(0, { isSidecar: true });
