import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SpoorError } from '../../../src/errors.ts';
import { crc32c } from '../../../src/util/crc32c.ts';
import { Codec } from '../../../src/wal/compression.ts';
import { SegmentCursor } from '../../../src/wal/segment-cursor.ts';
import { drain, MemorySegment, readWholeSegment } from '../../support/memory-segment.ts';
import { batchBytes, footerBytes, headerBytes, segmentBytes } from '../../support/segment-bytes.ts';

describe('SegmentCursor', () => {
  it('reads an open segment to its zeros, and a closed one to its footer', async () => {
    const scripts = ['R1.1', 'C1.1', 'R1.2 R1.3'];
    assert.deepEqual(await drain(new SegmentCursor(new MemorySegment(segmentBytes(scripts)))), [
      '1.1',
      '1.1',
      '1.2',
      '1.3',
      'zeros',
    ]);
    const closed = await readWholeSegment(segmentBytes(scripts, { closed: true }));
    assert.ok(closed.end.kind === 'closed');
    assert.equal(closed.end.footer.entryCount, 4n);
  });

  it('gives every entry once, wherever the writer is caught, byte by byte (trap 5)', async () => {
    const whole = segmentBytes(['R1.1', 'C1.1', 'R1.2 R1.3', 'C1.2'], { closed: true, codec: Codec.LZ4 });
    for (const preallocated of [false, true]) {
      const file = new MemorySegment(Buffer.alloc(0));
      const cursor = new SegmentCursor(file);
      const seen: string[] = [];
      for (let length = 0; length <= whole.length; length++) {
        const zeros = preallocated && length < whole.length ? 300 : 0;
        file.bytes = Buffer.concat([whole.subarray(0, length), Buffer.alloc(zeros)]);
        seen.push(...(await drain(cursor)).filter((word) => /\d/.test(word)));
      }
      assert.deepEqual(seen, ['1.1', '1.1', '1.2', '1.3', '1.2']);
    }
  });

  it('takes a footer for one only when the file ends with it: before the cut it waits', async () => {
    const whole = segmentBytes(['R1.1'], { closed: true });
    const file = new MemorySegment(Buffer.concat([whole, Buffer.alloc(100)]));
    const cursor = new SegmentCursor(file);
    assert.deepEqual(await drain(cursor), ['1.1', 'bad-header']);
    file.bytes = whole;
    assert.deepEqual(await drain(cursor), ['closed']);
  });

  it('finds it out when the footer counts other entries than there are (trap 14)', async () => {
    const bytes = Buffer.concat([segmentBytes(['R1.1 R1.2'], { zeros: 0 }), footerBytes(1)]);
    await assert.rejects(
      readWholeSegment(bytes),
      (error) =>
        error instanceof SpoorError &&
        error.code === 'SPOOR_WAL_CORRUPT' &&
        /the footer counts 1 entries, there are 2/.test(error.message),
    );
  });

  it('reads a batch that is larger than any read (trap 6)', async () => {
    const index = Array.from({ length: 30_000 }, (_, i) => `R1.${i + 1}`);
    const bytes = segmentBytes([index.join(' '), 'C1.1'], { closed: true });
    assert.ok(bytes.length > 500_000);
    const { entries, end } = await readWholeSegment(bytes);
    assert.equal(entries.length, 30_001);
    assert.equal(end.kind, 'closed');
  });

  it('believes the length of a batch only as far as the file reaches', async () => {
    const liar = batchBytes(Buffer.alloc(0x7fff));
    liar.writeUInt32LE(0xfffffff0, 0);
    const header = Buffer.concat([headerBytes(), liar]);
    assert.deepEqual(await drain(new SegmentCursor(new MemorySegment(header))), ['bad-header']);
    liar.writeUInt32LE(crc32c(liar, 0, 12), 12);
    const bytes = Buffer.concat([headerBytes(), liar]);
    assert.deepEqual(await drain(new SegmentCursor(new MemorySegment(bytes))), ['short']);
  });

  it('reads a file again only when it may have changed', async () => {
    const file = new MemorySegment(segmentBytes(['R1.1']));
    let reads = 0;
    const read = file.read.bind(file);
    file.read = (target, position) => {
      reads++;
      return read(target, position);
    };
    const cursor = new SegmentCursor(file);
    await cursor.step(1); // the header
    const before = reads;
    assert.equal((await cursor.step(1)).kind, 'entries');
    assert.equal((await cursor.step(1)).kind, 'tail');
    assert.equal(reads, before + 1);
    file.bytes = segmentBytes(['R1.1', 'C1.1']);
    assert.equal((await cursor.step(2)).kind, 'entries');
  });

  it('sees a batch behind a damaged one, and none behind one that is being written', async () => {
    const bytes = segmentBytes(['R1.1', 'R1.2', 'R1.3']);
    const at = headerBytes().length + batchBytes(Buffer.alloc(0)).length;
    bytes[at + 3]! ^= 0x55;
    const damaged = new SegmentCursor(new MemorySegment(bytes));
    assert.deepEqual(await drain(damaged), ['bad-payload']);
    assert.equal(await damaged.isFollowedByBatch(), true);

    const torn = segmentBytes(['R1.1']);
    torn[at + 3]! ^= 0x55;
    const unfinished = new SegmentCursor(new MemorySegment(torn));
    assert.deepEqual(await drain(unfinished), ['bad-payload']);
    assert.equal(await unfinished.isFollowedByBatch(), false);
  });

  it('gives the same entries however the file grows', async () => {
    const scripts = Array.from({ length: 40 }, (_, i) => `R1.${i + 1} C1.${i + 1}`);
    const whole = segmentBytes(scripts, { closed: true, codec: Codec.SNAPPY });
    const expected = await drain(new SegmentCursor(new MemorySegment(whole)));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 40 }),
        fc.boolean(),
        async (grows, zeros) => {
          const file = new MemorySegment(Buffer.alloc(0));
          const cursor = new SegmentCursor(file);
          const seen: string[] = [];
          let length = 0;
          for (const more of grows) {
            length = Math.min(whole.length - 1, length + more);
            file.bytes = Buffer.concat([whole.subarray(0, length), Buffer.alloc(zeros ? 4096 : 0)]);
            seen.push(...(await drain(cursor)).slice(0, -1));
          }
          file.bytes = whole;
          assert.deepEqual([...seen, ...(await drain(cursor))], expected);
        },
      ),
      { numRuns: 60 },
    );
  });
});
