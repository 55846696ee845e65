import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { formatOpId } from '../../../src/kudu/opid.ts';
import { FIRST_MEMBERSHIP } from '../../../src/streams/membership.ts';
import { memberKey, type Resync } from '../../../src/streams/stored-stream.ts';
import { Gaps, type Shipped } from '../../../src/placement/gaps.ts';
import type { Filling } from '../../../src/source/gap-filler.ts';
import type { LostRange } from '../../../src/keeping/bounded-hold.ts';
import { opId } from '../../support/log-entries.ts';
import { steadyNow } from '../../../src/util/steady-clock.ts';
import { keepingLogger } from '../../support/loggers.ts';

const TICK_MS = 1000;
/** What time it is in the cluster when the gap is met; the machine's clock says something else. */
const KUDU_BEGAN_MS = Date.UTC(2026, 0, 1);

/** A tablet that meets a gap at once, other sidecars that answer alike each time, and a clock to be moved by hand. */
function setUp(
  t: TestContext,
  answer: Filling,
  options: { repair?: 'auto' | 'manual'; droppedSinceMs?: number; after?: number } = {},
) {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const asked: string[] = [];
  let repairedAtMs: number | null = null;
  const replicator = {
    tabletId: 'tablet',
    tablet: { tableId: 'table', tabletId: 'tablet' },
    generation: 'one',
    gap: { after: opId(1, options.after ?? 7), sinceMs: steadyNow() },
    read: opId(1, options.after ?? 7),
    logLost: ({ message }: Error): void => void told.push(message),
    sinkWorks: true,
    repair: () => (repairedAtMs ??= now),
    logFilled: () => undefined,
  };
  const none = {
    starts: new Map(),
    resyncs: new Map(),
    gapRepairs: new Map<string, Resync>(),
    rewinds: new Map(),
    skips: new Map(),
    corrections: new Map(),
    ended: new Set(),
  };
  const open = { stored: { generation: 'one', memberships: new Map() }, details: none };
  const lostTo: string[] = [];
  const told: string[] = [];
  let limited = new Map<string, LostRange>();
  const gaps = new Gaps({
    keepers: { get: () => undefined, enforceLimits: () => limited } as never,
    filler: {
      fill: (tabletId, after) => {
        asked.push(`${tabletId} ${formatOpId(after)}`);
        return Promise.resolve(answer);
      },
    },
    repair: options.repair ?? 'auto',
    droppedSinceMs: () => options.droppedSinceMs,
    kuduNow: () => KUDU_BEGAN_MS + now,
    onLost: (tabletId, toIndex) => lostTo.push(`${tabletId} ${toIndex}`),
    logger: keepingLogger(),
  });
  const shipped = new Map([['one/tablet', { open, replicator } as unknown as Shipped]]);
  return {
    asked,
    /** Another sidecar was asked for a repair, when it was so late in the cluster. */
    ask: (sinceGapMs: number): void => {
      const requestedAt = new Date(KUDU_BEGAN_MS + sinceGapMs).toISOString();
      none.gapRepairs.set(memberKey('tablet', FIRST_MEMBERSHIP), { id: 'r', from: 'gap', requestedAt });
    },
    lostTo,
    told,
    replicator,
    /** A limit lets go of so much. */
    limit: (toIndex: bigint): void => {
      limited = new Map([['tablet', { fromIndex: 1n, toIndex, why: 'too much' }]]);
      gaps.boundHolds(shipped.values());
    },
    /** Looks once a second for so long. @returns when it was to be repaired, in milliseconds since the gap was met */
    pass: async (ms: number): Promise<number | null> => {
      for (const end = now + ms; now < end; now += TICK_MS) {
        gaps.look(shipped, new AbortController().signal, () => undefined);
        await new Promise(setImmediate);
      }
      return repairedAtMs;
    },
  };
}

describe('a gap that no sidecar fills', () => {
  it('is made up for by the table ten minutes later while one that is silent may have what is missing', async (t) => {
    const { pass, asked } = setUp(t, 'silent');
    assert.equal(await pass(599_000), null);
    assert.ok(asked.length >= 30, 'and they are asked all the while');
    assert.equal(await pass(5_000), 600_000);
  });

  it('is so half a minute later where all have said that they have not', async (t) => {
    const { pass } = setUp(t, 'nobody');
    assert.equal(await pass(29_000), null);
    assert.equal(await pass(5_000), 30_000);
  });

  it('is not while the sink takes nothing, nor where a person is to ask for it', async (t) => {
    const blocked = setUp(t, 'nobody');
    blocked.replicator.sinkWorks = false;
    assert.equal(await blocked.pass(60_000), null);
    blocked.replicator.sinkWorks = true;
    assert.notEqual(await blocked.pass(2_000), null);
    t.mock.reset();
    assert.equal(await setUp(t, 'nobody', { repair: 'manual' }).pass(900_000), null);
  });

  it('is made up for when a person asks for it, by the clock of the cluster and not of this machine', async (t) => {
    const { pass, ask } = setUp(t, 'nobody', { repair: 'manual' });
    ask(-5_000);
    assert.equal(await pass(60_000), null, 'that was asked of an earlier gap');
    ask(60_000);
    assert.notEqual(await pass(2_000), null);
  });

  it('is asked for again at once where what came did not help: others have not been asked', async (t) => {
    const { pass, asked } = setUp(t, 'filled');
    await pass(3_000);
    assert.equal(asked.length, 3);
  });

  it('is asked for at once where it has moved: what is lacking there is another question', async (t) => {
    const { pass, asked, replicator } = setUp(t, 'nobody');
    await pass(2_000);
    assert.deepEqual(asked, ['tablet 1.7']);
    replicator.gap = { ...replicator.gap, after: opId(1, 12) };
    await pass(3_000);
    assert.deepEqual(asked, ['tablet 1.7', 'tablet 1.12']);
  });
});

describe('a gap in the log of a tablet that was dropped', () => {
  it('is its end as soon as all have said that they have not what is missing, whoever is to ask for repairs', async (t) => {
    const { pass } = setUp(t, 'nobody', { repair: 'manual', droppedSinceMs: 0 });
    assert.equal(await pass(3_000), 1000);
  });

  it('waits for one that is silent as long as any, counted from the drop: turns go round, and each begins anew', async (t) => {
    const { pass } = setUp(t, 'silent', { droppedSinceMs: -400_000, after: 0 });
    assert.equal(await pass(199_000), null);
    assert.equal(await pass(3_000), 200_000);
  });

  it('is asked for once more elsewhere where a limit made it, which is written down', async (t) => {
    const { pass, limit, asked, lostTo } = setUp(t, 'nobody', { droppedSinceMs: 0 });
    limit(30n);
    assert.equal(await pass(3_000), 1000);
    assert.ok(asked.length > 0);
    assert.deepEqual(lostTo, ['tablet 30']);
  });

  it('says which limit let go of the log, also to one that meets the gap by reading', async (t) => {
    const { pass, limit, told } = setUp(t, 'nobody', { repair: 'manual' });
    await pass(TICK_MS);
    assert.deepEqual(told, [], 'nothing was let go of');
    limit(30n);
    told.length = 0; // whoever was reading then has been told; another one begins at the gap later
    await pass(TICK_MS);
    assert.match(
      told.join(),
      /up to index 30 was let go: too much; the operations after 1\.7 up to index 30 are missing/,
    );
  });
});
