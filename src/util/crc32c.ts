import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** Up to here the table is quicker than the way into native code and back (measured: 12 bytes 54 against 259 ns). */
const SHORT_BYTES = 64;

/** CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of `bytes[start, end)`, as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  if (end - start > SHORT_BYTES)
    return nativeCrc32c(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
  let crc = -1;
  for (let i = start; i < end; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});
