import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LaneCore } from '../../../../../src/sinks/kafka/lanes/lane-core.ts';
import type { LaneEffect, LaneEvent } from '../../../../../src/sinks/kafka/lanes/lane-events.ts';
import type { LaneId, PositionsEntry } from '../../../../../src/sinks/kafka/lanes/positions-view.ts';

const LIMITS = { gapMsPerTablet: 0, maxGapMs: 0, lingerMsPerTablet: 0, maxLingerMs: 0, retryMs: 100 };
const LANES: readonly LaneId[] = ['main', 'side'];

/** How long each call takes, in milliseconds: the same for both lanes, so that nothing brings them out of step. */
interface Latencies {
  readonly open: number;
  readonly claim: number;
  readonly read: number;
  /** What the one that was asked to hand over looks at after its next epoch. */
  readonly settle: number;
}

/** Two lanes of one process and their partition; no answer is lost. */
class Pair {
  nowMs = 0;
  readonly taken: string[] = [];
  /** How often a claim was written. */
  claims = 0;
  readonly #latencies: Latencies;
  readonly #cores = new Map(LANES.map((lane) => [lane, new LaneCore(lane, LIMITS)]));
  readonly #entries: PositionsEntry[] = [];
  readonly #read = new Map(LANES.map((lane) => [lane, 0]));
  readonly #waitFor = new Map<LaneId, (() => void)[]>();
  #queue: { readonly atMs: number; readonly work: () => void }[] = [];

  constructor(latencies: Latencies) {
    this.#latencies = latencies;
  }

  at(ms: number, lane: LaneId, event: LaneEvent): void {
    this.#in(ms - this.nowMs, () => {
      this.#post(lane, event);
    });
  }

  run(untilMs: number): void {
    for (;;) {
      this.#queue.sort((a, b) => a.atMs - b.atMs);
      if (this.#queue.length === 0 || this.#queue[0]!.atMs > untilMs) return;
      const { atMs, work } = this.#queue.shift()!;
      this.nowMs = atMs;
      work();
    }
  }

  #in(ms: number, work: () => void): void {
    this.#queue.push({ atMs: this.nowMs + ms, work });
  }

  #post(lane: LaneId, event: LaneEvent): void {
    for (const effect of this.#cores.get(lane)!.on(event, this.nowMs)) this.#perform(lane, effect);
  }

  #perform(lane: LaneId, effect: LaneEffect): void {
    const { open, claim, read, settle } = this.#latencies;
    switch (effect.kind) {
      case 'open':
        this.at(this.nowMs + open, lane, { kind: 'opened', call: effect.call });
        return;
      case 'claim':
        this.#in(claim, () => {
          const offsets = new Map(effect.tablets.map((tablet) => [tablet, this.#claim(tablet, lane)]));
          this.#post(lane, { kind: 'claimed', call: effect.call, offsets });
        });
        return;
      case 'read':
        this.#in(read, () => {
          this.#post(lane, { kind: 'entries', entries: this.#entries.slice(this.#read.get(lane)) });
          this.#read.set(lane, this.#entries.length);
          this.#post(lane, { kind: 'read', call: effect.call });
        });
        return;
      case 'fence':
        for (const other of effect.lanes) {
          const waiting = this.#waitFor.get(other) ?? [];
          const answer: LaneEvent = { kind: 'fenced', call: effect.call };
          this.#waitFor.set(other, [...waiting, () => { this.at(this.nowMs + settle, lane, answer); }]); // prettier-ignore
          this.#post(other, { kind: 'reopen' });
        }
        return;
      case 'reopened':
        for (const goOn of this.#waitFor.get(lane) ?? []) goOn();
        this.#waitFor.delete(lane);
        return;
      case 'transact': {
        const shares = this.#cores.get(lane)!.begin(effect.call);
        this.#in(1, () => {
          for (const { tablet, claim: under, position, isReleased } of shares) {
            const stored = { claim: under, position, isReleased };
            const offset = BigInt(this.#entries.length);
            this.#entries.push({ kind: 'position', offset, tablet, producerId: BigInt(LANES.indexOf(lane)), stored });
          }
          const offset = BigInt(this.#entries.length);
          this.#entries.push({ kind: 'marker', offset, producerId: BigInt(LANES.indexOf(lane)), outcome: 'commit' });
          this.#post(lane, { kind: 'committed', call: effect.call, leftOut: new Map(), parts: new Map() });
        });
        return;
      }
      case 'taken':
        this.taken.push(`${lane}:${effect.tablet}`);
        return;
      case 'due-in':
        this.at(this.nowMs + effect.ms, lane, { kind: 'due' });
        return;
      case 'not-taken':
      case 'lost':
      case 'written':
      case 'not-written':
      case 'released':
      case 'not-reopened': // for whoever ships
    }
  }

  #claim(tablet: string, lane: LaneId): bigint {
    const offset = BigInt(this.#entries.length);
    this.#entries.push({ kind: 'claim', offset, tablet, lane });
    this.claims++;
    return offset;
  }
}

describe('two lanes of one process', () => {
  it('that want one another’s tablets at the same moment both get them, whatever takes how long', () => {
    const times = [1, 3, 10];
    for (const open of times)
      for (const claim of times)
        for (const read of times)
          for (const settle of times)
            for (let apartMs = 0; apartMs < 30; apartMs++) {
              const pair = new Pair({ open, claim, read, settle });
              pair.at(0, 'main', { kind: 'want', tablet: 'a' });
              pair.at(0, 'side', { kind: 'want', tablet: 'b' });
              pair.run(200);
              assert.deepEqual(pair.taken.sort(), ['main:a', 'side:b']);
              pair.at(200, 'main', { kind: 'want', tablet: 'b' });
              pair.at(200 + apartMs, 'side', { kind: 'want', tablet: 'a' });
              pair.run(1_000);
              const what = JSON.stringify({ open, claim, read, settle, apartMs, claims: pair.claims });
              assert.deepEqual(pair.taken.slice(2).sort(), ['main:b', 'side:a'], what);
            }
  });
});
