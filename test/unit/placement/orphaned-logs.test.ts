import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OrphanedLogs } from '../../../src/placement/orphaned-logs.ts';
import { Keepers } from '../../../src/keeping/keepers.ts';
import type { StreamedTablet } from '../../../src/placement/open-streams.ts';
import type { TabletView } from '../../../src/api/shapes.ts';
import type { LogChunk } from '../../../src/wal/log-reader.ts';
import { eventually } from '../../support/eventually.ts';
import { commit, opId, replicate } from '../../support/log-entries.ts';
import { keepingLogger } from '../../support/loggers.ts';

const LOOK_MS = 15_000;

describe('the log of a replica that was moved away', () => {
  it('is let go of when what is committed in it is shipped: what a deposed leader proposed last may never be', async (t) => {
    let nowMs = 0;
    t.mock.method(performance, 'now', () => nowMs);
    const chunks: LogChunk[] = [
      { kind: 'segment', header: {} as never, restarted: true },
      // 1.3 was overwritten by a newer leader, whom this replica never heard of.
      {
        kind: 'entries',
        entries: [
          replicate(opId(1, 1)),
          replicate(opId(1, 2)),
          commit(opId(1, 1)),
          commit(opId(1, 2)),
          replicate(opId(1, 3)),
        ],
        bytes: 1,
      },
      { kind: 'gone' },
    ];
    let isDropped = false;
    const hold = { drop: () => void (isDropped = true), note: null };
    const keepers = new Keepers({
      holds: { enable: () => hold, get: () => hold, tabletIds: () => ['tablet'] } as never,
      openLog: (_, signal) => ({
        next: () =>
          chunks.length > 0
            ? Promise.resolve(chunks.shift()!)
            : new Promise((_resolve, reject) => {
                signal.addEventListener('abort', () => {
                  reject(new Error('closed'));
                });
              }),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
      freeSpace: { look: () => null },
      markers: { write: () => Promise.reject(new Error('no tablet')) },
      sidecarId: 'us',
      limits: { markerIntervalMs: 1000, retry: { baseMs: 1000, capMs: 1000 } },
      releaseDelayMs: 0,
      maxBytes: 0,
      maxAgeMs: 0,
      logger: keepingLogger(),
    });
    const keeper = keepers.keep('tablet');
    await eventually('it is read', () => keeper.caughtUp);
    let applyOpId = '1.1';
    const orphans = new OrphanedLogs(keepers, () =>
      Promise.resolve([{ stream: 'orders', tabletId: 'tablet', applyOpId } as TabletView]),
    );
    const open = { stored: { definition: { name: 'orders' } } };
    const streamed = [{ tabletId: 'tablet', streams: [{ open }] } as unknown as StreamedTablet];
    const look = async (): Promise<boolean> => {
      await orphans.look(streamed, new Set<string>(), new AbortController().signal);
      nowMs += LOOK_MS;
      await new Promise(setImmediate);
      return isDropped;
    };
    assert.deepEqual([await look(), await look(), await look()], [false, false, false], '1.2 is not shipped');
    applyOpId = '1.2';
    assert.equal(await look(), true);
    await keepers.close(AbortSignal.abort());
  });
});
