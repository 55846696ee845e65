import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  comparePositions,
  positionJson,
  positionToJson,
  withoutRows,
  type CopyProgress,
  type RowRef,
  type TabletPosition,
} from '../../../src/change/position.ts';

const COPY: CopyProgress = { cut: 9n, at: 100n, rows: 4 };

function at(index: bigint, more: Partial<TabletPosition> = {}): TabletPosition {
  return { opId: { term: 1n, index }, tableName: 'shop.orders', schemaVersion: 2, ...more };
}

function upTo(index: bigint, row: number): { readonly upTo: RowRef } {
  return { upTo: { index, row } };
}

/** Each is further than the one before. */
const RISING: readonly TabletPosition[] = [
  at(3n),
  at(3n, upTo(4n, 0)),
  at(3n, upTo(4n, 10)),
  at(3n, upTo(12n, 2)),
  at(4n),
  at(9n, { copy: COPY }),
  at(9n, { copy: { ...COPY, replayAfter: { term: 1n, index: 5n } } }),
  at(9n, { copy: { ...COPY, replayAfter: { term: 1n, index: 5n } }, ...upTo(6n, 1) }),
  at(9n, { copy: { ...COPY, replayAfter: { term: 1n, index: 6n } } }),
  at(9n),
  at(9n, { ended: true }),
];

describe('positions of a tablet', () => {
  it('are ordered by the operation, a copy and its replay, and the rows behind them', () => {
    for (const [i, a] of RISING.entries())
      for (const [j, b] of RISING.entries())
        assert.equal(Math.sign(comparePositions(a, b)), Math.sign(i - j), `${i} ${j}`);
  });

  it('are read as they were written, and by who knows no rows behind them as if there were none', () => {
    for (const position of RISING) {
      const json = JSON.parse(JSON.stringify(positionToJson(position))) as Record<string, unknown>;
      assert.deepEqual(positionJson.parse(json), position);
      delete json['upTo'];
      assert.deepEqual(positionJson.parse(json), withoutRows(position));
    }
    assert.equal(positionToJson(at(3n, upTo(12n, 2))).upTo, '12.2');
  });
});
