import assert from 'node:assert/strict';
import fs, { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { Codec } from '../../../src/wal/compression.ts';
import { LocalSegment } from '../../../src/wal/local-segment.ts';
import { encrypted, isEncrypted } from '../../../src/wal/segment-cipher.ts';
import { SegmentCursor } from '../../../src/wal/segment-cursor.ts';
import { hiddenKey, instanceFile } from '../../support/instance-file.ts';
import { drain } from '../../support/memory-segment.ts';
import { headerBytes, segmentBytes } from '../../support/segment-bytes.ts';

const KEYS = [16, 24, 32].map((bytes) => Buffer.alloc(bytes, 'a server key of some length'));
const walDir = mkdtempSync(join(tmpdir(), 'spoor-encrypted-'));
const folder = join(walDir, 'wals', 'tablet');
mkdirSync(folder, { recursive: true });
after(() => {
  rmSync(walDir, { recursive: true });
});

const path = join(folder, 'wal-000000001');

function serverHas(key: Buffer, version = 'encryptionkey@0'): void {
  // Another one each time, as it is known by its inode and the time of its last change.
  rmSync(join(walDir, 'instance'), { force: true });
  writeFileSync(join(walDir, 'instance'), instanceFile({ serverKey: hiddenKey(key), serverKeyVersion: version }));
}

async function encrypt(content: Buffer, key: Buffer): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of encrypted([content.subarray(0, 7), content.subarray(7)], key)) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('a segment that Kudu has encrypted', () => {
  it('is read as if it were plain, from any byte to any other, with every length of keys', async () => {
    const content = Buffer.concat([segmentBytes(['R1.1', 'C1.1'], { closed: true }), Buffer.alloc(5000, 'x')]);
    for (const key of KEYS) {
      serverHas(key);
      const file = await encrypt(content, key);
      assert.ok(isEncrypted(file) && !file.includes('kudulogf'));
      writeFileSync(path, file);
      const segment = new LocalSegment(path, 1);
      assert.equal(segment.size(), content.length);
      fc.assert(
        fc.property(fc.nat(content.length - 1), fc.integer({ min: 1, max: 6000 }), (from, length) => {
          const target = Buffer.alloc(length);
          const filled = segment.read(target, from);
          assert.deepEqual(target.subarray(0, filled as number), content.subarray(from, from + length));
        }),
      );
      const large = Buffer.alloc(100_000); // read in the background
      assert.equal(await segment.read(large, 1), content.length - 1);
      assert.deepEqual(large.subarray(0, content.length - 1), content.subarray(1));
      segment.release();
    }
  });

  it('gives every entry once, wherever its writer is caught, byte by byte: what is not written yet is zeros and not cipher text', async () => {
    const scripts = ['R1.1', 'C1.1', 'R1.2 R1.3', 'C1.2', 'R1.4', 'C1.3 C1.4'];
    const content = segmentBytes(scripts, { closed: true, codec: Codec.LZ4 });
    for (const key of KEYS) {
      serverHas(key);
      const file = await encrypt(content, key);
      const headerEnd = 64 + headerBytes({ compressionCodec: Codec.LZ4 }).length;
      writeFileSync(path, Buffer.concat([file.subarray(0, headerEnd), Buffer.alloc(file.length)])); // named with its header
      const segment = new LocalSegment(path, 1);
      const cursor = new SegmentCursor(segment);
      const seen: string[] = [];
      for (let length = headerEnd; length < file.length; length++) {
        writeFileSync(path, Buffer.concat([file.subarray(0, length), Buffer.alloc(file.length - length + 1000)]), {
          flag: 'r+',
        });
        const words = await drain(cursor);
        assert.ok(!words.includes('fault'), words.join());
        seen.push(...words.filter((word) => /\d/.test(word)));
      }
      assert.deepEqual(seen, ['1.1', '1.1', '1.2', '1.3', '1.2', '1.4', '1.3', '1.4']);
      segment.release();
    }
  });

  it('rests where nothing follows the last entry, in whatever place of a block that is', async () => {
    serverHas(KEYS[0]!);
    for (let entries = 1; entries <= 40; entries++) {
      const scripts = Array.from({ length: entries }, (_, i) => `R1.${10 ** (i % 7) + i}`);
      const content = segmentBytes(scripts);
      const written = content.subarray(0, content.findLastIndex((byte) => byte !== 0) + 1);
      writeFileSync(path, Buffer.concat([await encrypt(written, KEYS[0]!), Buffer.alloc(3000)]));
      const segment = new LocalSegment(path, 1);
      const cursor = new SegmentCursor(segment);
      const words = await drain(cursor);
      assert.deepEqual([words.length, words.at(-1)], [entries + 1, 'zeros']);
      // The same without a look at the file: what was read with the entries.
      assert.ok(segment.isBlank(cursor.offset));
      assert.ok(!segment.isBlank(cursor.offset - 16));
      segment.release();
    }
  });

  it('is refused by name where its key is kept by another provider, or is not there', async () => {
    serverHas(KEYS[0]!, 'kudu_cluster_key@3');
    writeFileSync(path, await encrypt(segmentBytes(['R1.1']), KEYS[0]!));
    const why = async (): Promise<string> => {
      const segment = new LocalSegment(path, 1);
      const step = await new SegmentCursor(segment).step();
      segment.release();
      assert.ok(step.kind === 'fault' && step.fault.kind === 'encrypted');
      return step.fault.why;
    };
    assert.match(await why(), /"kudu_cluster_key@3" is kept by another provider.*encryption_key_provider=default/);
    rmSync(join(walDir, 'instance'));
    assert.match(await why(), /no file instance/);
    writeFileSync(join(walDir, 'instance'), instanceFile().subarray(0, 40));
    assert.match(await why(), /cannot be read: it ends early/);
    writeFileSync(join(walDir, 'instance'), instanceFile());
    assert.match(await why(), /no key for it/);
  });

  it('is read by who opened it when it had no more than its name', async () => {
    serverHas(KEYS[0]!);
    const content = segmentBytes(['R1.1', 'C1.1'], { closed: true });
    writeFileSync(path, ''); // as a tablet copy makes it
    const segment = new LocalSegment(path, 1);
    const cursor = new SegmentCursor(segment);
    assert.deepEqual([...(await drain(cursor)), segment.size()], ['unborn', 0]);
    writeFileSync(path, await encrypt(content, KEYS[0]!), { flag: 'r+' });
    assert.deepEqual(await drain(cursor), ['1.1', '1.1', 'closed']);
    assert.equal(segment.size(), content.length);
    segment.release();
  });

  it('is read again when what kept its key from being read has passed', async () => {
    serverHas(KEYS[0]!);
    writeFileSync(path, await encrypt(segmentBytes(['R1.1', 'C1.1'], { closed: true }), KEYS[0]!));
    const { readFileSync } = fs;
    fs.readFileSync = () => {
      throw new Error('EMFILE: too many open files');
    };
    syncBuiltinESMExports();
    const segment = new LocalSegment(path, 1);
    fs.readFileSync = readFileSync;
    syncBuiltinESMExports();
    assert.match(segment.unreadable ?? '', /cannot be read: EMFILE/);
    assert.deepEqual(await drain(new SegmentCursor(segment)), ['1.1', '1.1', 'closed']);
    segment.release();
  });
});
