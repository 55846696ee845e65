import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodePosition, encodePosition, positionGroup } from '../../../../src/sinks/kafka/position.ts';
import type { TabletPosition } from '../../../../src/change/position.ts';

const at = (index: bigint, tableName = 'shop.orders'): TabletPosition => ({
  opId: { term: 7n, index },
  tableName,
  schemaVersion: 4,
});

describe('a position in a group of offsets', () => {
  it('comes back as it was, whatever the table is called', () => {
    const int64 = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });
    fc.assert(
      fc.property(int64, int64, fc.string({ unit: 'binary' }), fc.nat(), (term, index, tableName, schemaVersion) => {
        const position = { opId: { term, index }, tableName, schemaVersion };
        assert.deepEqual(decodePosition(encodePosition(position, 'g', ['a', 'b']), 'g'), position);
      }),
    );
  });

  it('lies in partition 0 of every topic that carries it, its index as the offset', () => {
    const entries = encodePosition(at(12n), 'g', ['cdc.shop.orders', 'spoor.schema-changes']);
    assert.deepEqual(
      entries.map(({ topic, partition, offset }) => ({ topic, partition, offset })),
      [
        { topic: 'cdc.shop.orders', partition: 0, offset: 12n },
        { topic: 'spoor.schema-changes', partition: 0, offset: 12n },
      ],
    );
  });

  it('fits the 4096 bytes that a broker allows, for any name that Kudu allows', () => {
    const [entry] = encodePosition(at(2n ** 63n - 1n, '\u0001'.repeat(256)), 'x'.repeat(64), ['t']);
    assert.ok(Buffer.byteLength(entry!.metadata) < 4096);
  });

  it('is the furthest one, where a renamed table left one behind', () => {
    const before = encodePosition(at(90n, 'old'), 'g', ['cdc.old']);
    const after = encodePosition(at(100n, 'new'), 'g', ['cdc.new']);
    assert.deepEqual(decodePosition([...after, ...before], 'g'), at(100n, 'new'));
  });

  it('is not that of a deleted stream of the same name', () => {
    const offsets = [...encodePosition(at(900n), 'old', ['a']), ...encodePosition(at(3n), 'new', ['b'])];
    assert.deepEqual(decodePosition(offsets, 'new'), at(3n));
    assert.equal(decodePosition(offsets, 'other'), null);
  });

  it('is none where nothing is committed', () => {
    assert.equal(decodePosition([], 'g'), null);
    assert.equal(decodePosition([{ topic: 't', offset: -1n, metadata: '' }], 'g'), null);
  });

  const [mine] = encodePosition(at(5n), 'g', ['t']);
  for (const [why, entry] of [
    ['reset by a tool', { ...mine!, metadata: '' }],
    ['moved by hand, metadata kept', { ...mine!, offset: 6n }],
    ['of a consumer', { ...mine!, metadata: '{"offset":5}' }],
    ['without metadata', { ...mine!, metadata: null }],
  ] as const)
    it(`is for a person to say when an offset was not written by Spoor: ${why}`, () => {
      assert.throws(() => decodePosition([entry], 'g'), /topic t was not written by Spoor/);
    });

  it('belongs to a stream and a tablet', () => {
    assert.equal(positionGroup('orders', 'abc'), 'spoor.orders.abc');
  });
});
