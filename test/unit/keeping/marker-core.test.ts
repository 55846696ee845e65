import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { MarkedStream } from '../../../src/change/apply-marker.ts';
import {
  type MarkerEffect,
  type MarkerEvent,
  type MarkerLimits,
  type MarkerState,
  type StreamMarks,
  NO_MARKERS,
  safeIndex,
  stepMarkers,
} from '../../../src/keeping/marker-core.ts';
import type { TabletPosition } from '../../../src/change/position.ts';

const LIMITS: MarkerLimits = { markerIntervalMs: 1000, retry: { baseMs: 100, capMs: 1000 } };
const SINK = 'kafka:one';

const at = (index: number): TabletPosition => ({
  opId: { term: 1n, index: BigInt(index) },
  tableName: 't',
  schemaVersion: 0,
});
const stream = (generation: string, startIndex = 0): StreamMarks => ({ generation, startIndex: BigInt(startIndex) });
const said = (generation: string, index: number): MarkedStream => ({ generation, position: at(index), sink: SINK });
const streams = (...all: StreamMarks[]): MarkerEvent => ({ kind: 'streams', streams: all });
const markerRead = (...all: MarkedStream[]): MarkerEvent => ({ kind: 'marker-read', streams: all });
const acked = (generation: string, index: number, worthIndex = index): MarkerEvent => ({
  kind: 'acked',
  generation,
  position: at(index),
  worthIndex: BigInt(worthIndex),
  sink: SINK,
});
const ended = (generation: string): MarkerEvent => ({ kind: 'shipping-ended', generation });
const CAUGHT_UP: MarkerEvent = { kind: 'caught-up' };
const WRITTEN: MarkerEvent = { kind: 'marker-written' };
const FAILED: MarkerEvent = { kind: 'marker-failed', lost: false };
const RETRY: MarkerEvent = { kind: 'marker-retry-due' };
const DUE: MarkerEvent = { kind: 'due' };
const FLUSH: MarkerEvent = { kind: 'flush' };
const FLUSHED: MarkerEffect = { kind: 'flushed', all: true };
const NOT_FLUSHED: MarkerEffect = { kind: 'flushed', all: false };

/** Plays events into one core and keeps the effects. */
class Player {
  state: MarkerState = NO_MARKERS;
  nowMs = 1_000_000;

  play(...events: MarkerEvent[]): MarkerEffect[] {
    return events.flatMap((event) => {
      const result = stepMarkers(this.state, event, this.nowMs, LIMITS);
      this.state = result.state;
      return [...result.effects];
    });
  }

  /** One of these streams that has read its log, which says nothing. */
  ready(...all: StreamMarks[]): this {
    this.play(streams(...all), CAUGHT_UP);
    return this;
  }

  after(ms: number): this {
    this.nowMs += ms;
    return this;
  }
}

describe('marker core', () => {
  it('writes a marker of what is acknowledged, and lets go when it is written', () => {
    const p = new Player().ready(stream('a'));
    assert.deepEqual(p.play(acked('a', 7)), [{ kind: 'write-marker', streams: [said('a', 7)] }]);
    assert.deepEqual(p.play(WRITTEN), [{ kind: 'release', index: 7n }]);
    assert.deepEqual(p.state.marked.get('a')?.position, at(7));
  });

  it('writes at most one marker an interval, and one at a time', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1));
    assert.deepEqual(p.play(acked('a', 2)), [], 'one is being written');
    p.after(400);
    assert.deepEqual(p.play(WRITTEN), [
      { kind: 'due-in', ms: 600 },
      { kind: 'release', index: 1n },
    ]);
    p.after(599);
    assert.deepEqual(p.play(DUE), [{ kind: 'due-in', ms: 1 }], 'too early');
    p.after(1);
    assert.deepEqual(p.play(DUE), [{ kind: 'write-marker', streams: [said('a', 2)] }]);
  });

  it('neither writes nor lets go before it has read the whole log', () => {
    const p = new Player();
    assert.deepEqual(p.play(streams(stream('a')), markerRead(said('a', 5)), acked('a', 9), FLUSH), [FLUSHED]);
    assert.equal(safeIndex(p.state), 5n);
    assert.deepEqual(p.play(CAUGHT_UP), [
      { kind: 'write-marker', streams: [said('a', 9)] },
      { kind: 'release', index: 5n },
    ]);
  });

  it('writes no marker for a marker, and says it along with what is worth one', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 7), WRITTEN);
    p.after(5000);
    assert.deepEqual(p.play(acked('a', 8, 7)), [], 'operation 8 is our own marker');
    assert.deepEqual(p.play(DUE, FLUSH), [FLUSHED]);
    assert.deepEqual(p.play(acked('a', 10, 9)), [{ kind: 'write-marker', streams: [said('a', 10)] }]);
  });

  it('lets go of what the slowest stream has, and no more', () => {
    const p = new Player().ready(stream('a'), stream('b', 3));
    assert.equal(safeIndex(p.state), 0n);
    assert.deepEqual(p.play(markerRead(said('a', 9))), [{ kind: 'release', index: 3n }], 'b begins after 3');
    assert.deepEqual(p.play(markerRead(said('b', 12))), [{ kind: 'release', index: 9n }]);
  });

  it('keeps a paused stream in its markers, as it was said last', () => {
    const p = new Player().ready(stream('a'), stream('paused'));
    p.play(markerRead(said('paused', 4)));
    assert.deepEqual(p.play(acked('a', 9)), [{ kind: 'write-marker', streams: [said('a', 9), said('paused', 4)] }]);
    assert.deepEqual(p.play(WRITTEN), [{ kind: 'release', index: 4n }], 'what comes after is held');
  });

  it('says nothing of a stream that it knows nothing of', () => {
    const p = new Player().ready(stream('a'), stream('silent'));
    assert.deepEqual(p.play(acked('a', 9)), [{ kind: 'write-marker', streams: [said('a', 9)] }]);
    assert.equal(safeIndex(p.state), 0n);
  });

  it('takes the highest of what markers say, in whatever order they come', () => {
    const p = new Player().ready(stream('a'));
    assert.deepEqual(p.play(markerRead(said('a', 9))), [{ kind: 'release', index: 9n }]);
    assert.deepEqual(p.play(markerRead(said('a', 4)), markerRead(said('a', 9))), []);
    assert.deepEqual(p.state.marked.get('a')?.position, at(9));
  });

  it('writes no marker where a successor has said as much', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 3), acked('a', 7), markerRead(said('a', 8)));
    p.after(1000);
    assert.deepEqual(p.play(WRITTEN, DUE), []);
  });

  it('takes an acknowledgement that is late or repeated for nothing', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 7), WRITTEN);
    const before = p.state;
    assert.deepEqual(p.after(5000).play(acked('a', 7), acked('a', 6)), []);
    assert.equal(p.state, before);
  });

  it('takes late answers and timers for nothing', () => {
    const p = new Player().ready(stream('a'));
    const before = p.state;
    assert.deepEqual(p.play(WRITTEN, FAILED, RETRY, DUE, FLUSH, CAUGHT_UP, ended('a')), [FLUSHED]);
    assert.deepEqual(p.state, before);
  });

  it('remembers markers of streams that it does not know yet', () => {
    const p = new Player().ready();
    assert.deepEqual(p.play(markerRead(said('new', 6))), []);
    assert.equal(safeIndex(p.state), null, 'nothing wants the log yet');
    assert.deepEqual(p.play(streams(stream('new'))), [{ kind: 'release', index: 6n }]);
  });

  it('writes no marker for an acknowledgement of a stream that is gone', () => {
    const p = new Player().ready(stream('a'));
    assert.deepEqual(p.play(streams(), acked('a', 5), FLUSH), [FLUSHED]);
    assert.deepEqual(p.play(ended('a')), []);
    assert.equal(p.state.acked.size, 0);
  });

  it('forgets unknown generations when they are many, and none that is wanted', () => {
    const p = new Player().ready(stream('a'));
    p.play(markerRead(said('a', 2)));
    for (let i = 0; i < 300; i++) p.play(markerRead(said(`unknown-${i}`, 5)));
    assert.ok(p.state.marked.size <= 257);
    assert.deepEqual(p.state.marked.get('a')?.position, at(2));
  });

  it('holds more from when a stream comes that needs more, and never lets go twice', () => {
    const p = new Player().ready(stream('a'));
    p.play(markerRead(said('a', 9)));
    assert.deepEqual(p.play(streams(stream('a'), stream('late', 5)), markerRead(said('a', 20))), []);
    assert.equal(safeIndex(p.state), 5n);
    assert.deepEqual(p.play(markerRead(said('late', 15))), [{ kind: 'release', index: 15n }]);
  });

  it('writes at once what is due when it is flushed', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1), WRITTEN, acked('a', 2));
    assert.deepEqual(p.play(FLUSH), [{ kind: 'write-marker', streams: [said('a', 2)] }]);
  });

  it('writes at a flush without waiting for the next try', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1), FAILED);
    assert.equal(p.state.marker.kind, 'waiting');
    assert.deepEqual(p.play(FLUSH), [{ kind: 'write-marker', streams: [said('a', 1)] }]);
    assert.deepEqual(p.play(RETRY), [], 'the timer of the try before is late');
  });

  it('writes at a flush behind the marker that is under way', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1), acked('a', 2));
    assert.deepEqual(p.play(FLUSH), []);
    assert.deepEqual(p.play(WRITTEN)[0], { kind: 'write-marker', streams: [said('a', 2)] });
  });

  it('writes all that becomes news until a flush is done, and then keeps its interval again', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1), FLUSH, acked('a', 2));
    assert.deepEqual(p.play(WRITTEN)[0], { kind: 'write-marker', streams: [said('a', 2)] });
    p.play(acked('a', 3));
    assert.deepEqual(p.play(WRITTEN)[0], { kind: 'write-marker', streams: [said('a', 3)] });
    assert.deepEqual(p.play(WRITTEN).at(-1), { kind: 'release', index: 3n });
    assert.deepEqual(p.play(acked('a', 4)), [{ kind: 'due-in', ms: LIMITS.markerIntervalMs }]);
  });

  it('still marks what was acknowledged when shipping ends while a marker is under way', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1), acked('a', 2), FLUSH, ended('a'));
    assert.deepEqual(p.play(WRITTEN)[0], { kind: 'write-marker', streams: [said('a', 2)] });
    p.play(WRITTEN);
    assert.equal(p.state.acked.size, 0, 'then it is forgotten');
    assert.deepEqual(p.state.marked.get('a')?.position, at(2));
  });

  it('still marks what was acknowledged when shipping ends and the marker fails, unless a successor has', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 2), FLUSH, ended('a'));
    assert.deepEqual(p.play(FAILED), [{ kind: 'retry-marker-in', ms: 100 }, NOT_FLUSHED]);
    assert.deepEqual(p.after(1000).play(RETRY), [{ kind: 'write-marker', streams: [said('a', 2)] }]);
    p.play(FAILED, markerRead(said('a', 5)));
    assert.equal(p.state.acked.size, 0);
    assert.deepEqual(p.after(1000).play(RETRY), []);
  });

  it('forgets at once what is marked when shipping ends', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 2), WRITTEN, ended('a'));
    assert.equal(p.state.acked.size, 0);
  });

  it('ships again after an end as if nothing had been', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 2), acked('a', 3), ended('a'), acked('a', 6));
    p.after(1000);
    assert.deepEqual(p.play(WRITTEN)[0], { kind: 'write-marker', streams: [said('a', 6)] });
    p.play(WRITTEN);
    assert.equal(p.state.acked.size, 1);
  });

  it('backs off, capped, and begins anew after a success', () => {
    const p = new Player().ready(stream('a'));
    const waits: number[] = [];
    const fail = (event: MarkerEvent): void => {
      const [effect] = p.play(event);
      if (effect?.kind === 'retry-marker-in') waits.push(effect.ms);
      p.after(10_000).play(RETRY);
    };
    p.play(acked('a', 1));
    for (let i = 0; i < 6; i++) fail(FAILED);
    assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
    p.play(WRITTEN);
    p.after(1000).play(acked('a', 2));
    fail(FAILED);
    assert.equal(waits.at(-1), 100);
  });

  it('waits longest where somebody else may lead', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1));
    assert.deepEqual(p.play({ kind: 'marker-failed', lost: true }), [{ kind: 'retry-marker-in', ms: 1000 }]);
  });

  it('takes up in a new try what was acknowledged meanwhile', () => {
    const p = new Player().ready(stream('a'));
    p.play(acked('a', 1), FAILED, acked('a', 4));
    assert.deepEqual(p.after(1000).play(RETRY), [{ kind: 'write-marker', streams: [said('a', 4)] }]);
  });

  it('writes a marker that says nothing new where that is wanted, not more often, and not before it knows the log', () => {
    const heartbeat: MarkerEvent = { kind: 'heartbeat', intervalMs: 5000 };
    const p = new Player();
    p.play(streams(stream('a')));
    assert.deepEqual(p.play(heartbeat), [], 'markers that are not read yet would be overtaken');
    p.play(CAUGHT_UP);
    assert.deepEqual(p.play(heartbeat), [{ kind: 'write-marker', streams: [] }]);
    p.play(WRITTEN);
    assert.deepEqual(p.after(4000).play(heartbeat), []);
    assert.deepEqual(p.after(1000).play(heartbeat), [{ kind: 'write-marker', streams: [] }]);
  });

  it('never says more than was acknowledged or read, never lets go of more than is marked, whatever comes', () => {
    const generation = fc.constantFrom('a', 'b', 'c');
    const index = fc.integer({ min: 1, max: 40 });
    const event = fc.oneof<fc.Arbitrary<MarkerEvent>[]>(
      fc.subarray([stream('a'), stream('b', 5), stream('c')]).map((all) => streams(...all)),
      fc.tuple(generation, index, index).map(([name, a, b]) => acked(name, Math.max(a, b), Math.min(a, b))),
      fc
        .array(fc.tuple(generation, index), { maxLength: 3 })
        .map((all) => markerRead(...all.map(([name, i]) => said(name, i)))),
      generation.map(ended),
      fc.constantFrom(CAUGHT_UP, WRITTEN, FAILED, RETRY, DUE, FLUSH),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const p = new Player();
        const known = new Map<string, bigint>();
        const learn = (name: string, upTo: bigint): void => {
          if (upTo > (known.get(name) ?? 0n)) known.set(name, upTo);
        };
        let flushes = 0;
        for (const next of events) {
          if (next.kind === 'flush') flushes++;
          if (next.kind === 'acked') learn(next.generation, next.position.opId.index);
          if (next.kind === 'marker-read')
            for (const one of next.streams) learn(one.generation, one.position.opId.index);
          const writing = p.state.marker.kind === 'writing';
          for (const effect of p.after(300).play(next)) {
            if (effect.kind === 'release') assert.ok(effect.index <= (safeIndex(p.state) ?? 0n), 'released <= marked');
            if (effect.kind === 'flushed') flushes = 0;
            if (effect.kind !== 'write-marker') continue;
            assert.ok(!writing || next.kind === 'marker-written', 'one at a time');
            for (const { generation: name, position } of effect.streams)
              assert.ok(position.opId.index <= (known.get(name) ?? 0n), 'a marker says what is known');
          }
        }
        if (flushes > 0) assert.ok(p.state.marker.kind === 'writing', 'a flush is answered, or waits for an answer');
      }),
      { numRuns: 1000 },
    );
  });
});
