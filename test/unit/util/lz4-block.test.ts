import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { decompressLz4Block, decompressLz4BlockInScript, Lz4FormatError } from '../../../src/util/lz4-block.ts';

/** Text with repeats near and far, so that matches of every kind come about. */
const repetitive = fc
  .array(fc.tuple(fc.string({ maxLength: 30 }), fc.integer({ min: 1, max: 90 })), { maxLength: 40 })
  .map((parts) => Buffer.from(parts.map(([text, times]) => text.repeat(times)).join('')));

for (const [name, decompress] of [
  ['decompressLz4Block', decompressLz4Block],
  ['decompressLz4BlockInScript', decompressLz4BlockInScript],
] as const)
  describe(name, () => {
    it('gives back what was compressed, between other bytes that stay as they are', () => {
      fc.assert(
        fc.property(repetitive, fc.nat(9), (raw, at) => {
          const block = Buffer.concat([Buffer.alloc(at, 1), compressSync(raw).subarray(4), Buffer.alloc(at, 2)]);
          const target = Buffer.alloc(raw.length + 2 * at, 0xee);
          const before = Buffer.from(block);
          decompress(block, at, block.length - at, target, at, at + raw.length);
          assert.ok(block.equals(before), 'nothing of it has changed');
          assert.ok(target.subarray(at, at + raw.length).equals(raw));
          assert.ok(target.subarray(0, at).every((byte) => byte === 0xee));
          assert.ok(target.subarray(at + raw.length).every((byte) => byte === 0xee));
        }),
        { numRuns: 300 },
      );
    });

    it('throws one kind of error for bytes that are no block, and writes nowhere else', () => {
      fc.assert(
        fc.property(
          fc.oneof(
            fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
            fc.tuple(repetitive, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([raw, at, bits]) => {
              const block = Buffer.from(compressSync(raw).subarray(4));
              if (block.length > 0) block[at % block.length]! ^= bits;
              return block;
            }),
          ),
          fc.nat(3000),
          (block, size) => {
            const target = Buffer.alloc(size + 20, 0xee);
            try {
              decompress(block, 0, block.length, target, 10, 10 + size);
            } catch (error) {
              assert.ok(error instanceof Lz4FormatError, String(error));
            }
            assert.ok(target.subarray(0, 10).every((byte) => byte === 0xee));
            assert.ok(target.subarray(10 + size).every((byte) => byte === 0xee));
          },
        ),
        { numRuns: 500 },
      );
    });

    it('refuses a block of another size than promised', () => {
      const raw = Buffer.from('abcdefgh'.repeat(300));
      const block = compressSync(raw).subarray(4);
      for (const size of [raw.length - 1, raw.length + 1, 0])
        assert.throws(() => {
          decompress(block, 0, block.length, Buffer.alloc(size), 0, size);
        }, Lz4FormatError);
    });
  });
