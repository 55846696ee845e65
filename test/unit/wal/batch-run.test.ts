import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SpoorError } from '../../../src/errors.ts';
import { formatOpId } from '../../../src/kudu/opid.ts';
import { readBatchRun, type BatchRun } from '../../../src/wal/batch-run.ts';
import { Codec } from '../../../src/wal/compression.ts';
import { batchBytes, batchPayload, compress, framed } from '../../support/segment-bytes.ts';

function run(window: Buffer, codec: Codec = Codec.NONE, batchVersion: 1 | 2 = 2): BatchRun {
  return readBatchRun(window, 0, window.length, 1000, { path: 'wal-000000001', codec, batchVersion });
}
const opIds = (read: BatchRun): string => read.entries.map((entry) => formatOpId(entry.opId)).join(' ');
const says = (pattern: RegExp) => (error: unknown) =>
  error instanceof SpoorError && error.code === 'SPOOR_WAL_CORRUPT' && pattern.test(error.message);

describe('readBatchRun', () => {
  for (const [name, codec] of Object.entries(Codec))
    it(`reads batches that are stored with ${name}, short and long`, () => {
      const long = Array.from({ length: 500 }, (_, i) => `R1.${i + 2}`).join(' ');
      const window = Buffer.concat(['R1.1 C1.1', long].map((script) => batchBytes(batchPayload(script), codec)));
      const read = run(window, codec);
      assert.equal(read.entries.length, 502);
      assert.deepEqual([read.consumed, read.stop], [window.length, 'more']);
      assert.equal(read.entries[0]!.location.offset, 1000);
    });

  it('reads the batches of Kudu 1.2, which have a shorter header', () => {
    const window = Buffer.concat(['R1.1', 'C1.1'].map((s) => batchBytes(batchPayload(s), Codec.NONE, 1)));
    const read = run(window, Codec.NONE, 1);
    assert.equal(opIds(read), '1.1 1.1');
    assert.equal(read.consumed, window.length);
  });

  const batch = batchBytes(batchPayload('R1.1'));
  const STOPS = [
    { stop: 'zeros', behind: Buffer.alloc(40), why: 'space that is not written yet' },
    { stop: 'more', behind: Buffer.alloc(15), why: 'too few bytes for a header' },
    { stop: 'more', behind: batch.subarray(0, batch.length - 1), why: 'too few bytes for a payload' },
    { stop: 'bad-header', behind: Buffer.alloc(16, 1), why: 'a torn header (trap 5)' },
    {
      stop: 'bad-payload',
      behind: Buffer.concat([batch.subarray(0, batch.length - 3), Buffer.alloc(3)]),
      why: 'a torn payload (trap 5)',
    },
  ] as const;
  for (const { stop, behind, why } of STOPS)
    it(`stops at ${why}, after what is whole`, () => {
      const read = run(Buffer.concat([batch, behind]));
      assert.equal(opIds(read), '1.1');
      assert.deepEqual([read.consumed, read.stop], [batch.length, stop]);
      const alone = run(behind);
      assert.deepEqual([alone.consumed, alone.entries.length, alone.stop], [0, 0, stop]);
    });

  it('says how many bytes would make the next batch whole (trap 6)', () => {
    assert.equal(run(batch.subarray(0, 3)).needBytes, 16);
    assert.equal(run(batch.subarray(0, 16)).needBytes, batch.length);
  });

  it('stops after a megabyte of raw bytes, however little they take stored', () => {
    const payload = Buffer.concat([batchPayload('R1.1'), Buffer.from([0x12, 0x80, 0x80, 0x20]), Buffer.alloc(1 << 19)]);
    const window = Buffer.concat(Array.from({ length: 6 }, () => batchBytes(payload, Codec.ZLIB)));
    const read = run(window, Codec.ZLIB);
    assert.deepEqual([read.entries.length, read.stop], [2, 'full']);
    assert.ok(read.consumed < window.length / 2);
  });

  it('gives entries that stay as they are when the window is used again', () => {
    for (const codec of Object.values(Codec)) {
      const window = batchBytes(batchPayload('R5.6'), codec);
      const [entry] = run(window, codec).entries;
      assert.ok(entry?.kind === 'replicate');
      const before = Buffer.from(entry.body);
      window.fill(0xff);
      assert.ok(entry.body.equals(before));
    }
  });

  it('gives what is good before a batch that cannot be read, and then names that one', () => {
    const bad = framed(Buffer.from([0x0a, 0x7f]), 2);
    const first = run(Buffer.concat([batch, bad, batch]));
    assert.deepEqual([opIds(first), first.consumed], ['1.1', batch.length]);
    assert.throws(() => run(Buffer.concat([bad, batch])), says(/^wal-000000001 byte 1000: .*cut short/));
  });

  it('refuses sizes that cannot be, before memory is taken for them', () => {
    const payload = batchPayload('R1.1');
    for (const codec of Object.values(Codec)) {
      const stored = compress(payload, codec);
      for (const rawBytes of [payload.length - 1, payload.length + 1, 0, 0xffffffff])
        assert.throws(() => run(framed(stored, rawBytes), codec), says(/^wal-000000001 byte 1000: /));
    }
  });

  it('throws nothing but what names file and byte, whatever is stored under good checksums', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })).map(([at, bits]) => {
        const payload = batchPayload('R1.1 C1.1 R1.2');
        payload[at % payload.length]! ^= bits;
        return payload;
      }),
    );
    fc.assert(
      fc.property(
        anything,
        fc.constantFrom(...Object.values(Codec)),
        fc.boolean(),
        fc.nat(200),
        (raw, codec, packed, size) => {
          const window = packed ? batchBytes(raw, codec) : framed(raw, size);
          try {
            run(window, codec);
          } catch (error) {
            assert.ok(error instanceof SpoorError, String(error));
            assert.match(error.message, /^wal-000000001 byte 1000: /);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
