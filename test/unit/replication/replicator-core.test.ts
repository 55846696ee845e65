import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MIN_OPID } from '../../../src/kudu/opid.ts';
import type {
  Fault,
  ReplicatorEffect,
  ReplicatorEvent,
  ReplicatorLimits,
  ReplicatorState,
} from '../../../src/replication/replicator-core.ts';
import { initialState, step } from '../../../src/replication/replicator-core.ts';
import type { SinkPosition } from '../../../src/change/position.ts';

const LIMITS: ReplicatorLimits = {
  maxBatchBytes: 300,
  maxQueuedBytes: 600,
  minWriteIntervalMs: 20,
  maxWriteIntervalMs: 100,
  positionIntervalMs: 1000,
  positionRefreshMs: 60_000,
  retryBaseMs: 100,
  retryCapMs: 1000,
};
const op = (index: number): SinkPosition => ({
  opId: { term: 1n, index: BigInt(index) },
  tableName: 't',
  schemaVersion: 0,
});
const START: SinkPosition = { ...op(0), opId: MIN_OPID };
const RETRY: Fault = { code: 'SINK', message: 'broker away', kind: 'retry' };
const GAP: Fault = { code: 'SPOOR_WAL_GAP', message: 'gone', kind: 'gap' };

/** Plays events into one state and keeps the effects. */
class Player {
  state: ReplicatorState;
  nowMs = 1_000_000;
  constructor(start: SinkPosition = START) {
    this.state = initialState(start);
  }
  play(...events: ReplicatorEvent[]): ReplicatorEffect[] {
    return events.flatMap((event) => {
      const result = step(this.state, event, this.nowMs, LIMITS);
      this.state = result.state;
      return result.effects;
    });
  }
  /** A replicator that follows the log, with a read outstanding. */
  following(): this {
    this.play({ kind: 'start' }, { kind: 'sink-opened', position: null }, { kind: 'log-opened' });
    return this;
  }
}
const read = (index: number, more: { bytes?: number; hasRecords?: boolean } = {}): ReplicatorEvent => ({
  kind: 'log-read',
  upTo: op(index),
  bytes: more.bytes ?? 50,
  hasRecords: more.hasRecords ?? true,
});
const kinds = (effects: readonly ReplicatorEffect[]): string[] => effects.map((effect) => effect.kind);

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
    p.play(
      { kind: 'flush-due' },
      { kind: 'written' },
      { kind: 'sink-failed', fault: RETRY },
      { kind: 'sink-retry-due' },
    );
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
    assert.deepEqual(p.state.log, { kind: 'open', reading: true });
    assert.deepEqual(p.play({ kind: 'log-filled' }), [], 'late');
    const operator = new Player().following();
    const stuck = operator.play({ kind: 'log-failed', fault: { ...GAP, kind: 'operator' } });
    assert.deepEqual(kinds(stuck), ['close-log', 'retry-log-in'], 'and so do its turn among the copies, its scanner');
    assert.deepEqual(operator.play({ kind: 'log-filled' }), [], 'another log does not help there');
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

  it('backs off, capped', () => {
    const p = new Player().following();
    p.play(read(1));
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      const effect = p.play({ kind: 'sink-failed', fault: RETRY }).at(-1);
      if (effect?.kind === 'retry-sink-in') waits.push(effect.ms);
      p.play({ kind: 'sink-retry-due' }, { kind: 'sink-opened', position: null });
    }
    assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
  });

  it('delivers every operation once and in order whatever fails, with a sink that keeps the position', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(999)), fc.integer({ min: 1, max: 25 }), (choices, lastIndex) => {
        playOut(lastIndex, () => choices.next().value as number, { crashes: true });
      }),
      { numRuns: 2000 },
    );
  });
});

/**
 * A world of one log, one sink that commits records and position at once, and any number of incarnations of the
 * replicator; every outcome that is outstanding may come next, fail before its effect or after it, or be cut by a crash.
 */
function playOut(lastIndex: number, choose: () => number, options: { crashes: boolean }): void {
  const delivered: number[] = [];
  let faultsLeft = 12;
  const fails = (): boolean => faultsLeft > 0 && choose() % 4 === 0 && faultsLeft-- > 0;
  for (let incarnation = 0; ; incarnation++) {
    const p = new Player();
    let queue: number[][] = [];
    let outstanding: (() => ReplicatorEvent)[] = [];
    let logAt = 0;
    const run = { ended: false };
    const post = (event: ReplicatorEvent): void => {
      p.nowMs += choose() % 30;
      for (const effect of p.play(event)) perform(effect);
      assert.ok(p.state.acked.opId.index <= p.state.read.opId.index, 'acked <= read');
      assert.ok(p.state.acked.opId.index <= BigInt(delivered.length), 'acked <= delivered');
    };
    const perform = (effect: ReplicatorEffect): void => {
      switch (effect.kind) {
        case 'open-sink':
          outstanding.push(() =>
            fails()
              ? { kind: 'sink-failed', fault: RETRY }
              : { kind: 'sink-opened', position: delivered.length > 0 ? op(delivered.length) : null },
          );
          return;
        case 'open-log':
          outstanding.push(() => {
            if (fails()) return { kind: 'log-failed', fault: RETRY };
            logAt = Number(effect.after.opId.index);
            return { kind: 'log-opened' };
          });
          return;
        case 'read-log':
          outstanding.push(() => {
            if (fails()) return { kind: 'log-failed', fault: RETRY };
            if (logAt === lastIndex) return { kind: 'log-gone' };
            const upTo = Math.min(lastIndex, logAt + 1 + (choose() % 3));
            const ops = Array.from({ length: upTo - logAt }, (_, i) => logAt + 1 + i);
            queue.push(ops);
            logAt = upTo;
            return { kind: 'log-read', upTo: op(upTo), bytes: 50 * ops.length, hasRecords: choose() % 3 > 0 };
          });
          return;
        case 'write':
          outstanding.push(() => {
            if (fails()) return { kind: 'sink-failed', fault: RETRY };
            delivered.push(...queue.slice(0, effect.count).flat());
            return fails() ? { kind: 'sink-failed', fault: RETRY } : { kind: 'written' };
          });
          return;
        case 'close-log':
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
      assert.ok(outstanding.length > 0, `stuck: nothing outstanding in ${JSON.stringify(p.state.sink)}`);
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
