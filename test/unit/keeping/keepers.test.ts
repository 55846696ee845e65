import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Keepers, type Unwanted } from '../../../src/keeping/keepers.ts';
import type { ReplicaHold } from '../../../src/keeping/replica-hold.ts';
import { keepingLogger } from '../../support/loggers.ts';

/** One tablet whose log is held, and nothing to read in it. @returns when it is let go of, in seconds */
async function letGoAfter(fate: Unwanted, untilS: number): Promise<number | null> {
  const dropped = new Set<string>();
  const hold = { drop: () => dropped.add('t'), note: null } as unknown as ReplicaHold;
  const keepers = new Keepers({
    holds: {
      enable: () => hold,
      get: (id) => (dropped.has(id) ? null : hold),
      tabletIds: () => ['t'].filter((id) => !dropped.has(id)),
    },
    openLog: (_, signal) => ({
      next: () =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
        }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
    freeSpace: { look: () => null },
    markers: { write: () => Promise.reject(new Error('not used')) },
    sidecarId: 'self',
    limits: { markerIntervalMs: 1000, retry: { baseMs: 100, capMs: 1000 } },
    releaseDelayMs: 0,
    maxBytes: 0,
    maxAgeMs: 0,
    logger: keepingLogger(),
  });
  keepers.keep('t');
  try {
    for (let s = 0; s <= untilS; s++) {
      keepers.reconcile(new Map(), new Set(), () => fate, s * 1000);
      await new Promise(setImmediate);
      await new Promise(setImmediate);
      if (dropped.has('t')) return s;
    }
    return null;
  } finally {
    await keepers.close(AbortSignal.abort());
  }
}

describe('the held log of a tablet that no stream wants', () => {
  for (const [fate, seconds] of [
    ['listed', 5], // its stream was deleted
    ['unlisted', 60],
    ['left', 300], // taken out of a stream that goes on: perhaps by a slip of the hand
  ] as const)
    it(`(${fate}) is let go of after ${seconds} s`, async () => {
      assert.equal(await letGoAfter(fate, 400), seconds);
    });
});
