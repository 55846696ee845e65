import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LaneCore } from '../../../../../src/sinks/kafka/lanes/lane-core.ts';
import type { LaneEvent, Share } from '../../../../../src/sinks/kafka/lanes/lane-events.ts';
import { positionAt } from '../../../../contract/sink.ts';

const LIMITS = { gapMsPerTablet: 1, maxGapMs: 50, lingerMsPerTablet: 0.5, maxLingerMs: 8, retryMs: 100 };

/** A lane whose every effect is answered at once, but for transactions; it holds so many tablets. */
class Played {
  nowMs = 1_000;
  readonly begun: { readonly atMs: number; readonly shares: readonly Share[] }[] = [];
  readonly #core = new LaneCore('lane', LIMITS);
  #transaction = 0;
  #offset = 0n;
  #dueAtMs = Infinity;
  #writes = 0;

  constructor(tablets: number) {
    for (let i = 0; i < tablets; i++) this.#post({ kind: 'want', tablet: `t${i}` });
    this.pass(100);
    this.commit(); // the claims are settled with the first positions
    for (let i = 0; i < tablets; i++) this.write(i);
    this.pass(100);
    this.commit();
    this.pass(100);
    this.begun.length = 0;
  }

  write(tablet: number): void {
    const write = ++this.#writes;
    this.#post({ kind: 'write', tablet: `t${tablet}`, write, position: { generation: 'g', at: positionAt(write) } });
  }

  cancel(tablet: number): void {
    this.#post({ kind: 'cancel', tablet: `t${tablet}`, write: this.#writes });
  }

  commit(): void {
    if (this.#transaction === 0) return;
    const call = this.#transaction;
    this.#transaction = 0;
    this.#post({ kind: 'committed', call, leftOut: new Map(), parts: new Map() });
  }

  pass(ms: number): void {
    for (const untilMs = this.nowMs + ms; ;) {
      this.nowMs = Math.max(this.nowMs, Math.min(untilMs, this.#dueAtMs));
      if (this.nowMs < this.#dueAtMs) return;
      this.#dueAtMs = Infinity;
      this.#post({ kind: 'due' });
    }
  }

  #post(event: LaneEvent): void {
    for (const effect of this.#core.on(event, this.nowMs))
      switch (effect.kind) {
        case 'open':
          this.#post({ kind: 'opened', call: effect.call });
          break;
        case 'read':
          this.#post({ kind: 'read', call: effect.call });
          break;
        case 'fence':
          this.#post({ kind: 'fenced', call: effect.call });
          break;
        case 'claim': {
          const offsets = new Map(effect.tablets.map((tablet) => [tablet, ++this.#offset] as const));
          const entries = Array.from(offsets, ([tablet, offset]) => ({
            kind: 'claim' as const,
            lane: 'lane',
            tablet,
            offset,
          }));
          this.#post({ kind: 'entries', entries });
          this.#post({ kind: 'claimed', call: effect.call, offsets });
          break;
        }
        case 'transact':
          this.#transaction = effect.call;
          this.begun.push({ atMs: this.nowMs, shares: this.#core.begin(effect.call) });
          break;
        case 'due-in':
          this.#dueAtMs = Math.min(this.#dueAtMs, this.nowMs + effect.ms);
          break;
        case 'taken':
        case 'not-taken':
        case 'lost':
        case 'written':
        case 'not-written':
        case 'released':
        case 'reopened':
        case 'not-reopened': // for whoever ships
      }
  }
}

describe('when a transaction of a lane begins', () => {
  const tabletsOf = ({ shares }: { readonly shares: readonly Share[] }): string[] => shares.map(({ tablet }) => tablet);

  it('a moment after the first who wants to be in it, with all who have come', () => {
    const p = new Played(10);
    const startMs = p.nowMs;
    p.write(0);
    p.pass(2);
    p.write(1);
    p.pass(2.5);
    p.write(2);
    p.pass(20);
    assert.deepEqual(p.begun.map(tabletsOf), [['t0', 't1', 't2']]);
    assert.equal(p.begun[0]!.atMs - startMs, 5);
  });

  it('at once where a tablet is alone, and after 8 ms however many there are', () => {
    const alone = new Played(1);
    alone.write(0);
    alone.pass(0.5);
    assert.equal(alone.begun.length, 1);
    const many = new Played(400);
    const startMs = many.nowMs;
    many.write(7);
    many.pass(50);
    assert.equal(many.begun[0]!.atMs - startMs, 8);
  });

  it('as soon as the last one is over, for whoever has waited as long meanwhile', () => {
    const p = new Played(10);
    p.write(0);
    p.pass(5);
    p.write(1);
    p.pass(30);
    assert.equal(p.begun.length, 1);
    const overMs = p.nowMs;
    p.commit();
    assert.deepEqual([p.begun.length, p.begun[1]?.atMs], [2, overMs]);
  });

  it('counts from the first who still wants to be in it', () => {
    const p = new Played(10);
    p.write(0);
    p.cancel(0);
    p.pass(60);
    assert.equal(p.begun.length, 0);
    const startMs = p.nowMs;
    p.write(1);
    p.pass(20);
    assert.equal(p.begun[0]!.atMs - startMs, 5);
  });
});
