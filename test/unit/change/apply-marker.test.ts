import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeMarker, encodeMarker, type ApplyMarker } from '../../../src/change/apply-marker.ts';

const EXAMPLE: ApplyMarker = {
  sidecar: 'tserver-1:7050',
  streams: [
    {
      generation: 'b7c2',
      position: { opId: { term: 7n, index: 1042n }, tableName: 'shop.orders', schemaVersion: 3 },
      sink: 'kafka:Q3x',
    },
  ],
};
const EXAMPLE_JSON =
  '{"sidecar":"tserver-1:7050","streams":[{"generation":"b7c2","sink":"kafka:Q3x","op":"7.1042","table":"shop.orders","schema":3}]}';

const int64 = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });
const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }));
const markers: fc.Arbitrary<ApplyMarker> = fc.record({
  sidecar: text,
  streams: fc.array(
    fc.record({
      generation: text,
      position: fc.record({
        opId: fc.record({ term: int64, index: int64 }),
        tableName: text,
        schemaVersion: fc.nat({ max: 2 ** 32 - 1 }),
      }),
      sink: text,
    }),
  ),
});
const withBody = (body: string | Buffer): Buffer => Buffer.concat([Buffer.from('spoor:m\x01'), Buffer.from(body)]);

describe('the apply marker', () => {
  it('is laid out as docs/wal-format.md says', () => {
    assert.deepEqual(encodeMarker(EXAMPLE), withBody(EXAMPLE_JSON));
  });

  it('is read as it was written', () => {
    fc.assert(
      fc.property(markers, (marker) => {
        assert.deepEqual(decodeMarker(encodeMarker(marker)), plain(marker));
      }),
    );
  });

  it('is read where it lies, in the middle of other bytes', () => {
    const bytes = encodeMarker(EXAMPLE);
    const log = Buffer.concat([Buffer.alloc(9, 0x7d), bytes, Buffer.alloc(9, 0x7d)]);
    assert.deepEqual(decodeMarker(log.subarray(9, 9 + bytes.length)), EXAMPLE);
    assert.deepEqual(decodeMarker(new Uint8Array(bytes)), EXAMPLE);
  });

  it('passes over keys that a later Spoor may add', () => {
    const later = EXAMPLE_JSON.replace('{"sidecar"', '{"more":[1],"sidecar"').replace('"schema"', '"x":{},"schema"');
    assert.deepEqual(decodeMarker(withBody(later)), EXAMPLE);
  });

  for (const [why, bytes] of [
    ['no bytes', Buffer.alloc(0)],
    ['the magic alone', withBody('')],
    ['another version', Buffer.concat([Buffer.from('spoor:m\x02'), Buffer.from(EXAMPLE_JSON)])],
    ["someone else's", Buffer.from('other:m\x01' + EXAMPLE_JSON)],
    ['JSON without magic', Buffer.from(EXAMPLE_JSON)],
    ['not UTF-8', withBody(Buffer.from(EXAMPLE_JSON.replace('b7c2', 'b7\xff2'), 'latin1'))],
    ['a byte order mark', withBody('\ufeff' + EXAMPLE_JSON)],
    ['not an object', withBody('[]')],
    ['null', withBody('null')],
    ['nested too deep', withBody('['.repeat(1_000_000))],
    ['an OpId as a number', withBody(EXAMPLE_JSON.replace('"7.1042"', '7.1042'))],
    ['a negative OpId', withBody(EXAMPLE_JSON.replace('7.1042', '7.-1'))],
    ['an OpId of many digits', withBody(EXAMPLE_JSON.replace('7.1042', '7.' + '9'.repeat(20)))],
    ['no OpId', withBody(EXAMPLE_JSON.replace('"op"', '"po"'))],
    ['a fraction of a version', withBody(EXAMPLE_JSON.replace('"schema":3', '"schema":3.5'))],
  ] as const)
    it(`is not seen in ${why}`, () => {
      assert.equal(decodeMarker(bytes), null);
    });

  it('never fails on foreign bytes, on damaged ones, or on ones cut short', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        assert.equal(decodeMarker(bytes), null);
        assert.equal(decodeMarker(withBody(Buffer.from(bytes))), null);
      }),
    );
    fc.assert(
      fc.property(fc.json(), (json) => {
        assert.equal(decodeMarker(withBody(json)), null);
      }),
    );
    const good = encodeMarker(EXAMPLE);
    for (let length = 0; length < good.length; length++) assert.equal(decodeMarker(good.subarray(0, length)), null);
    fc.assert(
      fc.property(markers, fc.nat(), fc.integer({ min: 1, max: 255 }), (marker, at, flip) => {
        const bytes = encodeMarker(marker);
        bytes[at % bytes.length]! ^= flip;
        decodeMarker(bytes);
      }),
    );
  });
});

/** fast-check's records may have no prototype. */
function plain({ sidecar, streams }: ApplyMarker): ApplyMarker {
  return {
    sidecar,
    streams: streams.map(({ generation, position, sink }) => {
      const { opId, tableName, schemaVersion } = position;
      return { generation, position: { opId: { ...opId }, tableName, schemaVersion }, sink };
    }),
  };
}
