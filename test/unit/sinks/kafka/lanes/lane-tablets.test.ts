import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LaneEffect } from '../../../../../src/sinks/kafka/lanes/lane-events.ts';
import { LaneTablets } from '../../../../../src/sinks/kafka/lanes/lane-tablets.ts';
import { hasRow, PositionsView, type LanePosition } from '../../../../../src/sinks/kafka/lanes/positions-view.ts';
import { positionAt } from '../../../../contract/sink.ts';

const NOTHING_LEFT_OUT = { kind: 'committed', call: 1, leftOut: new Map(), parts: new Map() } as const;

function at(index: number, upTo?: LanePosition['upTo']): LanePosition {
  return { generation: 'g', at: positionAt(index), ...(upTo && { upTo }) };
}

/** The tablets of a lane that holds those of these names, and has settled them. */
class Held {
  readonly view = new PositionsView();
  readonly told: LaneEffect[] = [];
  readonly tablets = new LaneTablets('us', this.view, (effect) => this.told.push(effect));

  constructor(...names: string[]) {
    for (const name of names) this.tablets.want(name);
    this.claim();
    this.tablets.gather();
    this.tablets.begin();
    this.tablets.committed(NOTHING_LEFT_OUT);
    this.tablets.answer();
    this.told.length = 0;
  }

  claim(): void {
    const names = this.tablets.beginClaims();
    const offsets = new Map(names.map((name, i) => [name, BigInt(i)] as const));
    for (const [tablet, offset] of offsets) this.view.add({ kind: 'claim', offset, tablet, lane: 'us' });
    this.tablets.claimed(names, offsets);
    this.tablets.hold(names.filter((name) => this.tablets.isOurs(name)));
  }

  write(tablet: string, write: number, position: LanePosition): void {
    this.tablets.write({ kind: 'write', tablet, write, position });
  }

  /** What the transaction has of each when its turn has come. */
  begun(): [string, number | null][] {
    return this.tablets.begin().map(({ tablet, write }) => [tablet, write]);
  }

  get kinds(): string[] {
    return this.told.map(({ kind }) => kind);
  }
}

describe('the tablets of a lane', () => {
  it('have a part in a transaction for what is wanted when its turn comes, and not for what was', () => {
    const held = new Held('a', 'b', 'c');
    const { tablets, view } = held;
    held.write('a', 1, at(1));
    held.write('b', 2, at(1));
    held.write('c', 3, at(1));
    assert.ok(tablets.gather());
    tablets.cancel('a', 1);
    view.add({ kind: 'claim', offset: 9n, tablet: 'b', lane: 'other' });
    tablets.claimedBy('other', 'b', 9n);
    assert.deepEqual(held.begun(), [['c', 3]]);
    tablets.committed(NOTHING_LEFT_OUT);
    assert.deepEqual(held.told, [
      { kind: 'lost', tablet: 'b', to: 'other' },
      { kind: 'written', tablet: 'c', write: 3 },
    ]);
  });

  it('are told of a transaction that failed only where it failed for them, and are in the next one else', () => {
    const held = new Held('a', 'b');
    const { tablets } = held;
    held.write('a', 1, at(1));
    held.write('b', 2, at(1));
    tablets.gather();
    tablets.begin();
    tablets.notCommitted((name) => (name === 'a' ? 'too large' : undefined));
    assert.deepEqual(held.told, [{ kind: 'not-written', tablet: 'a', write: 1, cause: 'too large' }]);
    tablets.gather();
    assert.deepEqual(held.begun(), [['b', 2]]);
  });

  it('count a write as written that a transaction of whose end nobody heard has committed', () => {
    const held = new Held('a', 'b');
    const { tablets, view } = held;
    held.write('a', 1, at(5));
    held.write('b', 2, at(5));
    for (const [i, [tablet, index]] of (
      [
        ['a', 5],
        ['b', 4],
      ] as const
    ).entries()) {
      const stored = { claim: { lane: 'us', offset: BigInt(i) }, position: at(index), isReleased: false };
      view.add({ kind: 'position', offset: BigInt(10 + i), tablet, producerId: 1n, stored });
    }
    view.add({ kind: 'marker', offset: 12n, producerId: 1n, outcome: 'commit' });
    tablets.opened();
    assert.deepEqual(held.told, [{ kind: 'written', tablet: 'a', write: 1 }]);
    assert.equal(tablets.positionOf('b')?.at.opId.index, 4n);
  });

  it('keep what is there beyond a position until the position is past it', () => {
    const held = new Held('a');
    const { tablets } = held;
    const leftAt = at(3, { index: 7n, row: 2 });
    held.write('a', 1, at(9));
    tablets.gather();
    tablets.begin();
    tablets.committed({ ...NOTHING_LEFT_OUT, parts: new Map([['a', leftAt]]) });
    assert.deepEqual(held.kinds, [], 'the write goes on');
    for (const [write, index, upTo] of [
      [2, 5, leftAt.upTo],
      [3, 7, undefined],
    ] as const) {
      held.write('a', write, at(index));
      tablets.gather();
      assert.deepEqual(tablets.begin()[0]!.position, at(index, upTo));
      tablets.committed(NOTHING_LEFT_OUT);
    }
  });

  it('forget what is there beyond a position where that says itself how far the rows behind it have come', () => {
    const held = new Held('a');
    const { tablets } = held;
    held.write('a', 1, at(9));
    tablets.gather();
    tablets.begin();
    tablets.committed({ ...NOTHING_LEFT_OUT, parts: new Map([['a', at(3, { index: 7n, row: 2 })]]) });
    const slice = (row: number): LanePosition => ({
      generation: 'g',
      at: { ...positionAt(3), upTo: { index: 7n, row } },
    });
    held.write('a', 2, slice(1));
    tablets.gather();
    assert.deepEqual(tablets.begin()[0]!.position, { ...slice(1), upTo: { index: 7n, row: 2 } });
    tablets.committed(NOTHING_LEFT_OUT);
    held.write('a', 3, slice(5));
    tablets.gather();
    assert.deepEqual(tablets.begin()[0]!.position, slice(5), 'else a mark before the next row would pass for written');
  });

  it('know a row that is there, by the position or beyond it', () => {
    const slice = { generation: 'g', at: { ...positionAt(3), upTo: { index: 7n, row: 5 } } };
    const isThere = (position: LanePosition, index: bigint, row: number): boolean => hasRow(position, { index, row });
    assert.deepEqual(
      [isThere(slice, 3n, 9), isThere(slice, 6n, 9), isThere(slice, 7n, 5), isThere(slice, 7n, 6)],
      [true, true, true, false],
    );
    const further = { ...slice, upTo: { index: 7n, row: 6 } };
    assert.deepEqual([isThere(further, 7n, 6), isThere(further, 7n, 7)], [true, false]);
  });

  it('are given up with a last position, and taken anew where somebody wants them meanwhile', () => {
    const held = new Held('a', 'b');
    const { tablets } = held;
    tablets.release('a');
    tablets.release('b');
    tablets.gather();
    assert.deepEqual(
      tablets.begin().map(({ isReleased }) => isReleased),
      [true, true],
    );
    tablets.want('b');
    tablets.committed(NOTHING_LEFT_OUT);
    assert.deepEqual(held.kinds, ['released', 'released']);
    assert.deepEqual(tablets.beginClaims(), ['b']);
  });
});
