import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  NOTHING_TO_RELEASE,
  stepRelease,
  type ReleaseEffect,
  type ReleaseEvent,
} from '../../../src/keeping/release-queue.ts';

const DELAY_MS = 5_000;

class Player {
  queue = NOTHING_TO_RELEASE;
  nowMs = 1_000_000;

  play(event: ReleaseEvent): readonly ReleaseEffect[] {
    const { queue, effects } = stepRelease(this.queue, event, this.nowMs, DELAY_MS);
    this.queue = queue;
    return effects;
  }

  after(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  /** The streams are known for sure, and then it is due. */
  dueSurely(safe: bigint | null): readonly ReleaseEffect[] {
    this.play({ kind: 'sure' });
    return this.play({ kind: 'due', safe });
  }
}

const mayGo = (index: bigint): ReleaseEvent => ({ kind: 'may-go', index });

describe('what may go of a held log', () => {
  it('goes after a while, and no further than is safe by then', () => {
    const p = new Player();
    assert.deepEqual(p.play(mayGo(7n)), [{ kind: 'due-in', ms: DELAY_MS }]);
    assert.deepEqual(p.after(1_000).play(mayGo(9n)), [], 'one timer is enough');
    assert.deepEqual(p.after(4_000).dueSurely(9n), [
      { kind: 'release', index: 7n },
      { kind: 'due-in', ms: 1_000 },
    ]);
    assert.deepEqual(
      p.after(1_000).dueSurely(5n),
      [
        { kind: 'release', index: 5n },
        { kind: 'due-in', ms: DELAY_MS },
      ],
      'a stream was made meanwhile',
    );
    assert.deepEqual(p.after(DELAY_MS).dueSurely(12n), [{ kind: 'release', index: 9n }], 'and needs it no more');
  });

  it('stays while it is not sure which streams there are, or another one is about to be made', () => {
    const p = new Player();
    p.play(mayGo(7n));
    const again = [{ kind: 'due-in' as const, ms: 1_000 }];
    assert.deepEqual(p.after(DELAY_MS).play({ kind: 'due', safe: 9n }), again, 'never was');
    p.play({ kind: 'sure' });
    assert.deepEqual(p.after(3_001).play({ kind: 'due', safe: 9n }), again, 'no more');
    p.play({ kind: 'pin', ms: 10_000 });
    assert.deepEqual(p.dueSurely(9n), again);
    assert.deepEqual(p.after(10_000).dueSurely(null), [], 'no stream wants it: whoever holds it drops it whole');
  });

  it('never goes early, too far, or stays for ever, whatever comes', () => {
    const action = fc.oneof(
      fc.record({ do: fc.constant('may-go' as const), by: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ do: fc.constantFrom('sure' as const, 'pin' as const), by: fc.constant(4_000) }),
      fc.record({ do: fc.constant('wait' as const), by: fc.integer({ min: 1, max: 4_000 }) }),
      fc.record({ do: fc.constant('needs' as const), by: fc.integer({ min: 0, max: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
        const p = new Player();
        let [top, released, needed, sureAtMs, pinnedUntilMs] = [0n, 0n, 1n << 60n, -Infinity, -Infinity];
        const since = new Map<bigint, number>();
        let dueAtMs = Infinity;
        const look = (effects: readonly ReleaseEffect[]): void => {
          for (const effect of effects) {
            if (effect.kind === 'due-in') {
              assert.equal(dueAtMs, Infinity, 'one timer at a time');
              dueAtMs = p.nowMs + effect.ms;
              continue;
            }
            const { index } = effect;
            assert.ok(index <= needed, 'nobody needs it');
            assert.ok(p.nowMs - sureAtMs <= 3_000 && p.nowMs >= pinnedUntilMs, 'it is sure');
            const young = [...since].filter(([, atMs]) => p.nowMs - atMs < DELAY_MS).map(([at]) => at);
            assert.ok(
              young.every((at) => index < at),
              'it is not early',
            );
            if (index > released) released = index;
          }
        };
        const pass = (ms: number): void => {
          for (const untilMs = p.nowMs + ms; ;) {
            p.nowMs = Math.min(untilMs, Math.max(p.nowMs, dueAtMs));
            if (p.nowMs < dueAtMs) return;
            dueAtMs = Infinity;
            look(p.play({ kind: 'due', safe: needed < top ? needed : top }));
          }
        };
        const sure = (): void => {
          sureAtMs = p.nowMs;
          look(p.play({ kind: 'sure' }));
        };
        for (const { do: what, by } of actions)
          if (what === 'may-go') {
            top += BigInt(by);
            since.set(top, p.nowMs);
            look(p.play(mayGo(top)));
          } else if (what === 'wait') pass(by);
          else if (what === 'sure') sure();
          else if (what === 'needs') needed = released + BigInt(by);
          else {
            pinnedUntilMs = p.nowMs + by;
            look(p.play({ kind: 'pin', ms: by }));
          }
        needed = 1n << 60n;
        for (let i = 0; i < 30; i++) {
          sure();
          pass(1_000);
        }
        assert.equal(released, top, 'in the end all of it has gone');
        assert.ok(p.queue.waiting.length <= 32);
      }),
      { numRuns: 500 },
    );
  });
});
