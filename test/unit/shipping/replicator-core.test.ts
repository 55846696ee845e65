import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MIN_OPID } from '../../../src/kudu/opid.ts';
import type { ReplicatorLimits } from '../../../src/shipping/batch-policy.ts';
import { step, type ReplicatorEffect, type ReplicatorEvent } from '../../../src/shipping/replicator-core.ts';
import { initialState, isAwaited, type Fault, type ReplicatorState } from '../../../src/shipping/replicator-state.ts';
import { ReplicatorViewer } from '../../../src/shipping/replicator-view.ts';
import type { TabletPosition } from '../../../src/change/position.ts';

const LIMITS: ReplicatorLimits = {
  maxBatchBytes: 300,
  maxQueuedBytes: 600,
  minWriteIntervalMs: 20,
  maxWriteIntervalMs: 100,
  positionIntervalMs: 1000,
  positionRefreshMs: 60_000,
  retry: { baseMs: 100, capMs: 1000 },
};
const op = (index: number): TabletPosition => ({
  opId: { term: 1n, index: BigInt(index) },
  tableName: 't',
  schemaVersion: 0,
});
const START: TabletPosition = { ...op(0), opId: MIN_OPID };
const RETRY: Fault = { code: 'SINK', message: 'broker away', kind: 'retry' };
const GAP: Fault = { code: 'SPOOR_WAL_GAP', message: 'gone', kind: 'gap' };

/** An event as it is written in a test: answers without a number are to the last call of their kind. */
type Said<E = ReplicatorEvent> = E extends { call: number }
  ? Omit<E, 'call' | 'takesTurn' | 'holdsRoom'> & { takesTurn?: boolean; holdsRoom?: boolean }
  : E;

/** Plays events into one state and keeps the effects. */
class Player {
  state: ReplicatorState;
  nowMs = 1_000_000;
  readonly #lastCalls = new Map<string, number>();
  constructor(start: TabletPosition = START) {
    this.state = initialState(start);
  }
  /** Effects come without their numbers. */
  play(...events: Said[]): Said<ReplicatorEffect>[] {
    return events.flatMap((event) => this.playRaw(this.numbered(event))).map(withoutCall);
  }
  playRaw(event: ReplicatorEvent): readonly ReplicatorEffect[] {
    const { state, effects } = step(this.state, event, this.nowMs, LIMITS);
    this.state = state;
    for (const effect of effects) if ('call' in effect) this.#lastCalls.set(effect.kind, effect.call);
    return effects;
  }
  numbered(event: Said): ReplicatorEvent {
    const last = (...kinds: string[]): number => Math.max(0, ...kinds.map((kind) => this.#lastCalls.get(kind) ?? 0));
    const calls: Partial<Record<ReplicatorEvent['kind'], number>> = {
      'sink-opened': last('open-sink'),
      'sink-failed': last('open-sink', 'write'),
      'sink-fenced': last('open-sink', 'write'),
      written: last('write'),
      'log-opened': last('open-log'),
      'log-read': last('read-log'),
      'log-gone': last('read-log'),
      'log-failed': last('open-log', 'read-log'),
    };
    const call = calls[event.kind];
    return (call === undefined ? event : { takesTurn: false, holdsRoom: false, ...event, call }) as ReplicatorEvent;
  }
  /** A replicator that follows the log, with a read outstanding. */
  following(): this {
    this.play({ kind: 'start' }, { kind: 'sink-opened', position: null }, { kind: 'log-opened' });
    return this;
  }
}
function withoutCall(effect: ReplicatorEffect): Said<ReplicatorEffect> {
  return Object.fromEntries(Object.entries(effect).filter(([key]) => key !== 'call')) as Said<ReplicatorEffect>;
}
const read = (index: number, more: { bytes?: number; hasRecords?: boolean } = {}): Said => ({
  kind: 'log-read',
  upTo: op(index),
  bytes: more.bytes ?? 50,
  hasRecords: more.hasRecords ?? true,
});
const kinds = (effects: readonly Said<ReplicatorEffect>[]): string[] => effects.map((effect) => effect.kind);

describe('replicator core', () => {
  it('fences the sink before it opens the log, and starts after the higher of start and stored position', () => {
    const p = new Player(op(5));
    assert.deepEqual(kinds(p.play({ kind: 'start' })), ['open-sink']);
    assert.deepEqual(p.play({ kind: 'sink-opened', position: op(9) }), [
      { kind: 'open-log', after: op(9), repairs: false },
    ]);
    const q = new Player(op(5));
    q.play({ kind: 'start' });
    assert.deepEqual(q.play({ kind: 'sink-opened', position: op(3) }), [
      { kind: 'open-log', after: op(5), repairs: false },
    ]);
  });

  it('writes a lone row at once and spaces the writes of a steady trickle', () => {
    const p = new Player().following();
    assert.deepEqual(kinds(p.play(read(1))), ['write', 'read-log']);
    p.nowMs += 5;
    assert.deepEqual(kinds(p.play({ kind: 'written' })), ['drop-queue']);
    assert.deepEqual(p.play(read(2))[0], { kind: 'flush-in', ms: 15 });
    p.nowMs += 15;
    assert.deepEqual(kinds(p.play({ kind: 'flush-due' })), ['write']);
  });

  it('gives a slow sink fewer and larger writes, and does not wait for ever', () => {
    const p = new Player().following();
    p.play(read(1));
    p.nowMs += 30;
    p.play({ kind: 'written' });
    assert.deepEqual(p.play(read(2))[0], { kind: 'flush-in', ms: 15 });
    p.nowMs += 15;
    p.play({ kind: 'flush-due' });
    p.nowMs += 5000;
    p.play({ kind: 'written' });
    assert.equal(p.play(read(3))[0]?.kind, 'write');
  });

  it('does not wait for the interval when a batch is full', () => {
    const p = new Player().following();
    p.play(read(1), { kind: 'written' });
    assert.deepEqual(kinds(p.play(read(2, { bytes: 400 }))), ['write', 'read-log']);
  });

  it('stops reading while the queue is full and goes on when it drains', () => {
    const p = new Player().following();
    p.play(read(1, { bytes: 300 }));
    assert.deepEqual(kinds(p.play(read(2, { bytes: 300 }))), []);
    assert.deepEqual(kinds(p.play({ kind: 'written' })), ['drop-queue', 'write', 'read-log']);
  });

  it('writes a position without records only now and then', () => {
    const p = new Player().following();
    assert.deepEqual(p.play(read(1, { hasRecords: false }))[0], { kind: 'flush-in', ms: 1000 });
    p.nowMs += 1000;
    assert.deepEqual(kinds(p.play({ kind: 'flush-due' })), ['write']);
  });

  it('writes the position of a quiet tablet again when it has become old', () => {
    const p = new Player().following();
    p.play(read(1), { kind: 'written' });
    assert.deepEqual(p.play({ kind: 'refresh-due' }), []);
    p.nowMs += 60_000;
    assert.deepEqual(p.play({ kind: 'refresh-due' }), [{ kind: 'write', count: 0 }]);
    assert.deepEqual(p.play({ kind: 'refresh-due' }), [], 'one at a time');
    assert.deepEqual(p.play(read(2)), [{ kind: 'read-log' }]);
    p.nowMs += 20;
    assert.deepEqual(kinds(p.play({ kind: 'written' })), ['drop-queue', 'flush-in']);
    assert.deepEqual(p.state.acked, op(1), 'an old position does not acknowledge what came after it');
  });

  it('keeps the queue over a sink failure and drops only what the sink proves to have', () => {
    const p = new Player().following();
    p.play(read(1), read(2));
    assert.deepEqual(kinds(p.play({ kind: 'sink-failed', fault: RETRY })), ['retry-sink-in']);
    assert.equal(p.state.queue.length, 2);
    assert.deepEqual(kinds(p.play({ kind: 'sink-retry-due' })), ['open-sink']);
    p.nowMs += 100;
    assert.deepEqual(p.play({ kind: 'sink-opened', position: op(1) }).slice(0, 2), [
      { kind: 'drop-queue', count: 1 },
      { kind: 'write', count: 1 },
    ]);
  });

  it('reads again when the stored position lies where no read of its own ended', () => {
    const p = new Player().following();
    p.play(read(4), { kind: 'sink-failed', fault: RETRY }, { kind: 'sink-retry-due' });
    assert.deepEqual(p.play({ kind: 'sink-opened', position: op(2) }), [
      { kind: 'drop-queue', count: 1 },
      { kind: 'open-log', after: op(2), repairs: false },
    ]);
  });

  it('gives way when the sink, opened again, has less than it acknowledged: another writer came between', () => {
    const p = new Player().following();
    p.play(read(1), { kind: 'written' }, read(2));
    p.nowMs += 20;
    p.play({ kind: 'flush-due' }, { kind: 'written' }, read(3));
    p.nowMs += 20;
    p.play({ kind: 'flush-due' }, { kind: 'sink-failed', fault: RETRY }, { kind: 'sink-retry-due' });
    assert.deepEqual(p.state.acked, op(2));
    assert.deepEqual(p.play({ kind: 'sink-opened', position: op(1) }), [{ kind: 'end', ending: 'fenced' }]);
    const q = new Player(op(5));
    q.play({ kind: 'start' });
    assert.deepEqual(
      q.play({ kind: 'sink-opened', position: op(3) }),
      [{ kind: 'open-log', after: op(5), repairs: false }],
      'a marker may know better than a sink that is opened for the first time',
    );
  });

  it('shows since when it is blocked over all the tries in between, until a write is acknowledged', () => {
    const p = new Player().following();
    p.play(read(1), { kind: 'sink-failed', fault: RETRY });
    const since = p.state.sinkFault?.sinceMs;
    p.nowMs += 5000;
    p.play({ kind: 'sink-retry-due' }, { kind: 'sink-opened', position: null }, { kind: 'sink-failed', fault: RETRY });
    assert.equal(p.state.sinkFault?.sinceMs, since);
    p.nowMs += 5000;
    p.play({ kind: 'sink-retry-due' }, { kind: 'sink-opened', position: null }, { kind: 'written' });
    assert.equal(p.state.sinkFault, null);
  });

  it('opens the log once, however many tries are due', () => {
    const p = new Player().following();
    p.play(read(1));
    assert.deepEqual(kinds(p.play({ kind: 'log-failed', fault: RETRY })), ['close-log', 'retry-log-in']);
    assert.deepEqual(p.play({ kind: 'log-failed', fault: RETRY }), [], 'a write found the same: it is due already');
    assert.deepEqual(p.play({ kind: 'log-retry-due' }), [{ kind: 'open-log', after: op(1), repairs: false }]);
    assert.deepEqual(p.play({ kind: 'log-retry-due' }), []);
    assert.deepEqual(kinds(p.play({ kind: 'log-opened' })), ['read-log']);
  });

  it('opens the log again, when it is open, where it was asked to begin elsewhere meanwhile', () => {
    for (const answer of [{ kind: 'log-opened' }, { kind: 'log-failed', fault: RETRY }] as const) {
      const p = new Player().following();
      p.play(read(4), { kind: 'log-failed', fault: RETRY }, { kind: 'log-retry-due' });
      p.play({ kind: 'sink-failed', fault: RETRY }, { kind: 'sink-retry-due' });
      assert.deepEqual(p.play({ kind: 'sink-opened', position: op(2) }), [{ kind: 'drop-queue', count: 1 }]);
      assert.deepEqual(p.play(answer), [{ kind: 'open-log', after: op(2), repairs: false }]);
      assert.deepEqual(kinds(p.play({ kind: 'log-opened' })), ['read-log']);
    }
  });

  it('lets go of a log with a gap, and reads on after what it has read when that is filled', () => {
    const p = new Player().following();
    p.play(read(3));
    const failed = p.play({ kind: 'log-failed', fault: GAP });
    assert.ok(kinds(failed).includes('close-log'), 'its files take room');
    assert.deepEqual(p.play({ kind: 'log-filled' }), [{ kind: 'open-log', after: op(3), repairs: false }]);
    p.play({ kind: 'log-opened' });
    assert.ok(p.state.log.kind === 'open' && p.state.log.reading !== null);
    assert.deepEqual(p.play({ kind: 'log-filled' }), [], 'late');
    const operator = new Player().following();
    const stuck = operator.play({ kind: 'log-failed', fault: { ...GAP, kind: 'operator' } });
    assert.deepEqual(kinds(stuck), ['close-log', 'retry-log-in'], 'and so do its turn among the copies, its scanner');
    assert.deepEqual(operator.play({ kind: 'log-filled' }), [], 'another log does not help there');
  });

  it('says of a gap that it met by reading which limit made it, and takes nothing else for that', () => {
    const world = new Player().following();
    const fault = (kind: 'gap' | 'retry', message: string) => ({ kind, code: 'SPOOR_WAL_GAP', message });
    const told = (): string | null => ('fault' in world.state.log ? world.state.log.fault.message : null);
    world.play({ kind: 'log-failed', fault: fault('gap', 'not in the log') });
    world.play({ kind: 'log-lost', fault: fault('gap', 'a limit let go of it') });
    assert.equal(told(), 'a limit let go of it');
    world.play({ kind: 'log-lost', fault: fault('retry', 'it could not be closed') });
    assert.equal(told(), 'a limit let go of it', 'it stays a gap, which can be filled');
  });

  it('opens one log at a time when its log is lost while it is being opened, and asked for again', () => {
    for (const how of ['log-filled', 'log-repair'] as const) {
      const p = new Player(op(2));
      p.play({ kind: 'start' }, { kind: 'sink-opened', position: null });
      assert.deepEqual(kinds(p.play({ kind: 'log-lost', fault: GAP })), ['close-log']);
      assert.deepEqual(p.play({ kind: how }), [], 'another one is under way');
      const repairs = how === 'log-repair';
      assert.deepEqual(p.play({ kind: 'log-opened' }), [{ kind: 'open-log', after: op(2), repairs }]);
      assert.deepEqual(kinds(p.play({ kind: 'log-opened' })), ['read-log']);
    }
    const q = new Player();
    q.play({ kind: 'start' }, { kind: 'sink-opened', position: null }, { kind: 'log-lost', fault: GAP });
    assert.deepEqual(kinds(q.play({ kind: 'log-opened' })), ['close-log'], 'nobody wants it any more');
    assert.equal(q.state.log.kind, 'failed');
  });

  it('is not fenced by a sink that has less than the marker said, whatever became of its log before', () => {
    const p = new Player(op(5));
    p.play({ kind: 'start' }, { kind: 'log-lost', fault: GAP });
    assert.deepEqual(p.play({ kind: 'sink-opened', position: op(3) }), []);
    assert.equal(p.state.ending, null);
  });

  it('gives its turn among the copies back while its sink does not take what it read', () => {
    const refused: Fault = { code: 'SPOOR_SINK_REFUSED', message: 'too large', kind: 'operator' };
    const p = new Player().following();
    p.play(read(1));
    const failed = { kind: 'sink-failed', fault: refused, takesTurn: true } as const;
    assert.deepEqual(kinds(p.play(failed)), ['close-log', 'retry-sink-in']);
    assert.deepEqual(
      kinds(p.play({ kind: 'sink-retry-due' }, { kind: 'sink-opened', position: null })),
      ['open-sink', 'write'],
      'it opens, and has not taken it yet',
    );
    assert.deepEqual(p.play({ kind: 'written' }), [
      { kind: 'drop-queue', count: 1 },
      { kind: 'open-log', after: op(1), repairs: false },
    ]);

    const away = new Player().following();
    away.play(read(1));
    const unavailable = { kind: 'sink-failed', fault: RETRY, takesTurn: true } as const;
    assert.deepEqual(kinds(away.play(unavailable)), ['retry-sink-in'], 'it may be there again in a moment');
    away.nowMs += 5000;
    away.play({ kind: 'sink-retry-due' });
    assert.deepEqual(kinds(away.play(unavailable)), ['close-log', 'retry-sink-in']);
    const plain = new Player().following();
    plain.play(read(1));
    assert.deepEqual(kinds(plain.play({ ...failed, takesTurn: false })), ['retry-sink-in'], 'a log is no copy');
  });

  it('lets go of what takes room that others may wait for while its sink is away, and reads it again', () => {
    const refused: Fault = { code: 'SPOOR_SINK_REFUSED', message: 'too large', kind: 'operator' };
    const p = new Player().following();
    p.play(read(1), { kind: 'written' });
    p.nowMs += 1000;
    p.play(read(2));
    const failed = { kind: 'sink-failed', fault: refused, holdsRoom: true } as const;
    assert.deepEqual(kinds(p.play(failed)), ['drop-queue', 'close-log', 'retry-sink-in']);
    assert.deepEqual([p.state.read, p.state.queue.length], [op(1), 0]);
    const again = { kind: 'open-log', after: op(1), repairs: false } as const;
    assert.deepEqual(p.play({ kind: 'sink-retry-due' }, { kind: 'sink-opened', position: op(1) }).slice(1), [again]);
    assert.equal(p.state.sinkFault?.fault, refused, 'it opens, and has not taken it yet');
    assert.equal(p.state.sinkFailures, 1);
    p.nowMs += 1000;
    assert.deepEqual(kinds(p.play({ kind: 'log-opened' }, read(2))), ['read-log', 'write', 'read-log']);
    p.play({ kind: 'written' });
    assert.deepEqual([p.state.acked, p.state.sinkFault], [op(2), null]);

    const away = new Player().following();
    away.play(read(1), { kind: 'sink-failed', fault: RETRY });
    assert.deepEqual(kinds(away.play({ ...read(2), holdsRoom: true } as Said)), ['drop-queue', 'close-log']);
    assert.deepEqual([away.state.read, away.state.queue.length], [START, 0], 'what was read before it too');
    assert.deepEqual(away.play({ kind: 'sink-retry-due' }, { kind: 'sink-opened', position: null }).slice(1), [
      { kind: 'open-log', after: START, repairs: false },
    ]);
  });

  it('ships what it read before a gap, then stands still', () => {
    const p = new Player().following();
    p.play(read(1), { kind: 'log-failed', fault: GAP });
    assert.deepEqual(kinds(p.play({ kind: 'written' })), ['drop-queue']);
    assert.equal(p.state.log.kind, 'failed');
    assert.deepEqual(p.state.acked, op(1));
    assert.deepEqual(p.play({ kind: 'log-retry-due' }), []);
  });

  it('finishes the write in hand at a stop, and ends at once when none is', () => {
    const p = new Player().following();
    p.play(read(1));
    assert.deepEqual(p.play({ kind: 'stop' }), []);
    assert.deepEqual(p.play({ kind: 'written' }).at(-1), { kind: 'end', ending: 'stopped' });
    const q = new Player().following();
    assert.deepEqual(q.play({ kind: 'stop' }), [{ kind: 'end', ending: 'stopped' }]);
  });

  it('ends when fenced, and when the tablet is gone and all of it shipped', () => {
    const p = new Player().following();
    p.play(read(1));
    assert.deepEqual(p.play({ kind: 'sink-fenced' }), [{ kind: 'end', ending: 'fenced' }]);
    const q = new Player().following();
    q.play(read(1), { kind: 'log-gone' });
    assert.deepEqual(q.play({ kind: 'written' }).at(-1), { kind: 'end', ending: 'tablet-gone' });
  });

  it('ends when its writer finds between two writes that it is fenced, and no other one does', () => {
    const fenced = (writer: number) => ({ kind: 'writer-fenced' as const, writer });
    const p = new Player().following();
    const writer = p.state.sink.kind === 'idle' ? p.state.sink.writer : NaN;
    assert.deepEqual(p.play(fenced(writer + 1)), []);
    p.play(read(1));
    assert.deepEqual(p.play(fenced(writer)), [], 'the write is told so itself');
    p.play({ kind: 'written' });
    assert.deepEqual(p.play(fenced(writer)), [{ kind: 'end', ending: 'fenced' }]);
    const again = new Player().following();
    again.play(read(1), { kind: 'sink-failed', fault: RETRY }, { kind: 'sink-retry-due' });
    assert.deepEqual(again.play(fenced(writer)), [], 'another one is being opened');
    again.play({ kind: 'sink-opened', position: op(1) });
    assert.deepEqual(again.play(fenced(writer)), []);
  });

  it('backs off, capped', () => {
    const p = new Player().following();
    p.play(read(1));
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      const effect = p.play({ kind: 'sink-failed', fault: RETRY }).at(-1);
      if (effect?.kind === 'retry-sink-in') waits.push(effect.ms);
      p.nowMs += 1000;
      p.play({ kind: 'sink-retry-due' }, { kind: 'sink-opened', position: null });
    }
    assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
  });

  it('delivers every operation once and in order whatever fails, with a sink that keeps the position', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(999)), fc.integer({ min: 1, max: 25 }), (choices, lastIndex) => {
        playOut(lastIndex, () => choices.next().value as number, { crashes: true });
      }),
      { numRuns: 2000, includeErrorInReport: true },
    );
  });
});

/**
 * A world of one log, one sink that commits records and position at once, and any number of incarnations of the
 * replicator; every outcome that is outstanding may come next, fail before its effect or after it, or be cut by a crash.
 * The log may be lost at any moment, while it is being opened too, and be there again later; and answers come twice.
 */
function playOut(lastIndex: number, choose: () => number, options: { crashes: boolean }): void {
  const delivered: number[] = [];
  let faultsLeft = 16;
  const fails = (): boolean => faultsLeft > 0 && choose() % 4 === 0 && faultsLeft-- > 0;
  for (let incarnation = 0; ; incarnation++) {
    const p = new Player();
    const viewer = new ReplicatorViewer();
    let queue: number[][] = [];
    let outstanding: (() => ReplicatorEvent)[] = [];
    /** Where the source that is open reads; null while none is. */
    let source: { at: number; holdsRoom: boolean } | null = null;
    let opensUnderWay = 0;
    const answered: ReplicatorEvent[] = [];
    const run = { ended: false };
    const hasEnded = (): boolean => run.ended;
    const post = (event: ReplicatorEvent): void => {
      p.nowMs += choose() % 30;
      const before = p.state;
      if ('call' in event && !isAwaited(before, event.call)) {
        assert.deepEqual(p.playRaw(event), [], 'a late answer has no effects');
        assert.equal(p.state, before, 'and changes nothing');
        return;
      }
      for (const effect of p.playRaw(event)) perform(effect);
      if ('call' in event) answered.push(event);
      assert.ok(p.state.acked.opId.index <= p.state.read.opId.index, 'acked <= read');
      assert.ok(p.state.acked.opId.index <= BigInt(delivered.length), 'acked <= delivered');
      assert.equal(queue.length, p.state.queue.length, 'the queue of the runner is that of the core');
      if (!['open', 'gone'].includes(p.state.log.kind) && opensUnderWay === 0)
        assert.equal(source, null, 'what is not read is closed');
      if (p.state.sink.kind === 'waiting' && p.state.log.kind === 'open')
        assert.ok(!source?.holdsRoom, 'no room is held for a sink that is away');
      showsItsReason(p, viewer, before);
    };
    const failure = (call: number): ReplicatorEvent => {
      const fault: Fault = choose() % 2 === 0 ? RETRY : { ...RETRY, kind: 'operator' };
      const holdsRoom = source?.holdsRoom ?? false;
      return { kind: 'sink-failed', call, fault, takesTurn: choose() % 2 === 0, holdsRoom };
    };
    const perform = (effect: ReplicatorEffect): void => {
      switch (effect.kind) {
        case 'open-sink':
          outstanding.push(() =>
            fails()
              ? failure(effect.call)
              : {
                  kind: 'sink-opened',
                  call: effect.call,
                  position: delivered.length > 0 ? op(delivered.length) : null,
                },
          );
          return;
        case 'open-log':
          assert.equal(++opensUnderWay, 1, 'one log is opened at a time');
          source = null; // closed, and the other one is not there yet
          outstanding.push(() => {
            opensUnderWay--;
            assert.ok(isAwaited(p.state, effect.call), 'the answer to an opening is waited for, wanted or not');
            if (fails()) return { kind: 'log-failed', call: effect.call, fault: RETRY };
            assert.equal(source, null, 'nothing is open that another one would leave behind');
            source = { at: Number(effect.after.opId.index), holdsRoom: false };
            return { kind: 'log-opened', call: effect.call };
          });
          if (fails()) outstanding.push(() => ({ kind: 'log-lost', fault: choose() % 3 === 0 ? RETRY : GAP }));
          return;
        case 'read-log': {
          const log = source;
          assert.ok(log, 'what is read is open');
          outstanding.push(() => {
            const { call } = effect;
            if (fails()) return { kind: 'log-failed', call, fault: RETRY };
            if (log.at === lastIndex) return { kind: 'log-gone', call };
            const upTo = Math.min(lastIndex, log.at + 1 + (choose() % 3));
            const ops = Array.from({ length: upTo - log.at }, (_, i) => log.at + 1 + i);
            if (isAwaited(p.state, call)) queue.push(ops);
            log.at = upTo;
            log.holdsRoom = ops.some((index) => index % 5 === 0);
            const { holdsRoom } = log;
            const [bytes, hasRecords] = [50 * ops.length, choose() % 3 > 0];
            return { kind: 'log-read', call, upTo: op(upTo), bytes, hasRecords, holdsRoom };
          });
          return;
        }
        case 'write':
          outstanding.push(() => {
            if (fails()) return failure(effect.call);
            delivered.push(...queue.slice(0, effect.count).flat());
            return fails() ? failure(effect.call) : { kind: 'written', call: effect.call };
          });
          return;
        case 'close-log':
          source = null;
          return;
        case 'drop-queue':
          queue = queue.slice(effect.count);
          return;
        case 'retry-sink-in':
          outstanding.push(() => ({ kind: 'sink-retry-due' }));
          return;
        case 'retry-log-in':
          outstanding.push(() => ({ kind: 'log-retry-due' }));
          return;
        case 'flush-in':
          outstanding.push(() => {
            p.nowMs += effect.ms;
            return { kind: 'flush-due' };
          });
          return;
        case 'end':
          run.ended = true;
          outstanding = [];
      }
    };
    post({ kind: 'start' });
    for (let steps = 0; !run.ended && steps < 2000; steps++) {
      if (options.crashes && faultsLeft > 0 && choose() % 50 === 0 && faultsLeft-- > 0) break;
      // Whoever sees to gaps looks now and then.
      if (p.state.log.kind === 'failed' && choose() % 2 === 0)
        post({ kind: choose() % 2 === 0 ? 'log-filled' : 'log-repair' });
      if (answered.length > 0 && fails()) post(answered[choose() % answered.length]!);
      if (hasEnded()) break;
      if (outstanding.length === 0 && p.state.log.kind === 'failed') continue;
      assert.ok(
        outstanding.length > 0,
        `stuck: nothing outstanding in ${JSON.stringify({ sink: p.state.sink, log: p.state.log })}`,
      );
      const [outcome] = outstanding.splice(choose() % outstanding.length, 1);
      post(outcome!());
    }
    if (run.ended) break;
    assert.ok(incarnation < 20, 'did not finish');
  }
  assert.deepEqual(
    delivered,
    Array.from({ length: lastIndex }, (_, i) => i + 1),
  );
}

/** Whatever state a replicator is in, it says why, unless it runs. */
function showsItsReason(p: Player, viewer: ReplicatorViewer, { acked }: ReplicatorState): void {
  const facts = { state: p.state, source: null, oldestTime: null, kuduNowMs: p.nowMs, sinkWaits: null };
  viewer.noteStep(acked, facts, p.nowMs);
  for (const nowMs of [p.nowMs, p.nowMs + 60_000]) {
    const { state, error, waiting } = viewer.standing(facts, nowMs);
    if (state === 'running') continue;
    const reason = error ? error.message : waiting?.for;
    assert.ok(reason, `${state} has a reason`);
    assert.ok(Date.parse(error?.since ?? waiting?.since ?? '') <= nowMs, `${state} has a beginning`);
  }
}
