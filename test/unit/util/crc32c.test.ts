import assert from 'node:assert/strict';
import { it } from 'node:test';
import { crc32c as nativeCrc32c } from '@node-rs/crc32';
import { crc32c } from '../../../src/util/crc32c.ts';

it('gives the known check value of CRC-32C', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  assert.equal(crc32c(Buffer.alloc(0)), 0);
});

it('gives the same by table and by native code, for every length around the change', () => {
  const bytes = Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 73) & 0xff));
  for (let length = 0; length <= 250; length++)
    for (const start of [0, 1, 50]) {
      const part = Buffer.from(bytes.subarray(start, start + length));
      assert.equal(crc32c(bytes, start, start + length), nativeCrc32c(part), `${length} bytes from ${start}`);
      assert.equal(crc32c(part), nativeCrc32c(part));
    }
});
