import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ByteReader, ByteWriter } from '../../../../../src/sinks/kafka/wire/bytes.ts';

describe('ByteWriter and ByteReader', () => {
  it('agree, wherever the memory has to grow', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.nat(),
        fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
        fc.nat(20),
        (text, number, wide, memory) => {
          const w = new ByteWriter(memory);
          w.int8(-1).int16(-2).int32(number).int64(wide).boolean(true).string(text).string(null);
          w.compactString(text)
            .unsignedVarint(number)
            .array([1, 2, 3], (item) => w.int32(item));
          const r = new ByteReader(Buffer.from(w.finish()));
          assert.deepEqual([r.int8(), r.int16(), r.int32(), r.int64(), r.boolean()], [-1, -2, number, wide, true]);
          assert.deepEqual([r.string(), r.nullableString(), r.nullableCompactString()], [text, null, text]);
          assert.deepEqual([r.unsignedVarint(), r.array(() => r.int32())], [number, [1, 2, 3]]);
          assert.throws(() => r.int8(), RangeError);
        },
      ),
    );
  });

  it('skips the fields of newer versions', () => {
    const r = new ByteReader(Buffer.from([2, 0, 1, 0xaa, 7, 2, 0xbb, 0xcc, 42]));
    r.tags();
    assert.equal(r.int8(), 42);
  });

  it('says that an answer ends early', () => {
    assert.throws(() => new ByteReader(Buffer.from([0, 5, 65])).string(), /ends after 3 bytes, 7 were expected/);
  });
});
