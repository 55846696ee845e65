import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { comparePositions, isAhead, type TabletPosition } from '../../../src/change/position.ts';
import { formatOpId } from '../../../src/kudu/opid.ts';
import {
  initialSaved,
  stepSaved,
  type SavedEffect,
  type SavedEvent,
  type SavedPositions,
} from '../../../src/shipping/saved-positions.ts';
import { opId } from '../../support/log-entries.ts';
import { Random } from '../../support/random.ts';

const SINK = 'kafka:one/cdc@id';
const at = (index: number): TabletPosition => ({ opId: opId(1, index), tableName: 't', schemaVersion: 0 });

/** Plays events and tells what came of each. */
class Played {
  state: SavedPositions;
  readonly said: string[] = [];

  constructor(start: TabletPosition, sinkId = '') {
    this.state = initialSaved(start, sinkId);
  }

  play(event: SavedEvent): readonly SavedEffect[] {
    const { state, effects } = stepSaved(this.state, event);
    this.state = state;
    for (const effect of effects)
      this.said.push(
        effect.kind === 'report'
          ? `${formatOpId(effect.position.opId)} worth ${effect.worthIndex} in ${effect.sinkId || '?'}`
          : `${effect.kind} behind ${formatOpId(effect.behind.opId)}`,
      );
    return effects;
  }
}

describe('what a marker may say', () => {
  it('is what was written, where the sink has the position with the records', () => {
    const { play, said } = bound(new Played(at(3)));
    play({ kind: 'opened', position: null, saved: undefined, sinkId: SINK });
    play({ kind: 'written', position: at(5), worthIndex: 4n, saved: undefined, sinkId: SINK });
    play({ kind: 'written', position: at(6), worthIndex: null, saved: undefined, sinkId: SINK });
    assert.deepEqual(said, [`1.5 worth 4 in ${SINK}`, `1.6 worth 4 in ${SINK}`]);
  });

  it('is what the sink says itself, where the position follows later', () => {
    const { play, said } = bound(new Played(at(3)));
    play({ kind: 'opened', position: null, saved: null, sinkId: SINK });
    for (const index of [5, 6, 8])
      play({ kind: 'written', position: at(index), worthIndex: BigInt(index), saved: null, sinkId: SINK });
    assert.deepEqual(said, []);
    play({ kind: 'saved', position: at(6) });
    play({ kind: 'saved', position: at(6) });
    assert.deepEqual(said, [`1.6 worth 6 in ${SINK}`]);
  });

  it('is as much, and costs no more, where the sink saves nothing for long', () => {
    const { play, said, state } = bound(new Played(at(0)));
    play({ kind: 'opened', position: null, saved: null, sinkId: SINK });
    for (let index = 1; index <= 5_000; index++)
      play({ kind: 'written', position: at(index), worthIndex: BigInt(index), saved: null, sinkId: SINK });
    assert.ok(state().untold.length <= 256);
    play({ kind: 'saved', position: at(4_950) });
    play({ kind: 'saved', position: at(5_000) });
    const [first, last] = said;
    assert.match(first!, /^1\.4950 worth (49[0-4]\d|4950) /);
    assert.equal(last, `1.5000 worth 5000 in ${SINK}`);
  });

  it('is what was found, since whoever shipped before may have died before a marker told', () => {
    const { play, said } = bound(new Played(at(3)));
    play({ kind: 'opened', position: at(9), saved: at(7), sinkId: SINK });
    play({ kind: 'opened', position: at(9), saved: at(7), sinkId: SINK });
    assert.deepEqual(said, [`1.7 worth 7 in ${SINK}`]);
  });

  it('tells of another sink, or of a topic made anew, behind what was durable before', () => {
    const { play, said } = bound(new Played(at(3), SINK));
    play({ kind: 'opened', position: null, saved: undefined, sinkId: 'kafka:one/cdc@other' });
    play({ kind: 'written', position: at(5), worthIndex: 5n, saved: undefined, sinkId: 'kafka:two/cdc@x' });
    assert.deepEqual(said, ['topic-made-anew behind 1.3', 'other-store behind 1.3', '1.5 worth 5 in kafka:two/cdc@x']);
  });

  it('never goes back, is never ahead of the sink, and is never a position that was not written or found', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed);
      const played = new Played(at(random.next(3)));
      let written = Number(played.state.durable.opId.index);
      let saved = -1; // the sink's own word
      let last: TabletPosition | null = null;
      const known = new Set<bigint>();
      for (let i = 0; i < 40; i++) {
        const event = someEvent();
        for (const effect of played.play(event))
          if (effect.kind === 'report') {
            const { position, worthIndex } = effect;
            assert.ok(isAhead(position, last), `seed ${seed}: ${formatOpId(position.opId)} again`);
            assert.ok(position.opId.index <= BigInt(saved), `seed ${seed}: the sink has ${saved}`);
            assert.ok(known.has(position.opId.index) && worthIndex <= position.opId.index, `seed ${seed}`);
            last = position;
          }
        const { durable, reported } = played.state;
        assert.ok(reported === null || comparePositions(reported, durable) <= 0, `seed ${seed}`);
      }

      function someEvent(): SavedEvent {
        const roll = random.next(6);
        const word = { saved: saved < 0 ? null : at(saved), sinkId: SINK };
        if (roll === 0) {
          const position = saved < 0 ? null : at(saved);
          if (saved >= 0) known.add(BigInt(saved));
          return { kind: 'opened', position, ...word };
        }
        if (roll < 4) {
          written += 1 + random.next(3);
          known.add(BigInt(written));
          return {
            kind: 'written',
            position: at(written),
            worthIndex: random.next(2) ? BigInt(written) : null,
            ...word,
          };
        }
        saved = Math.max(saved, written);
        return { kind: 'saved', position: at(saved) };
      }
    }
  });
});

function bound(played: Played) {
  return { play: played.play.bind(played), said: played.said, state: () => played.state };
}
