/** Of a number of so many bytes, with the length before it. */
export const MAX_BIG_ENDIAN_BYTES = 17;

/**
 * Writes a little-endian two's complement number of `size` bytes as the shortest big-endian one, as Java's BigInteger has it:
 * what Avro and Connect keep of a decimal.
 */
export function writeBigEndian(out: Uint8Array, at: number, rows: Uint8Array, cell: number, size: number): number {
  let top = cell + size - 1;
  const sign = rows[top]! >> 7 === 1 ? 0xff : 0;
  while (top > cell && rows[top] === sign && (rows[top - 1]! >> 7 === 1 ? 0xff : 0) === sign) top--;
  for (; top >= cell; top--) out[at++] = rows[top]!;
  return at;
}

/** The number of such bytes. */
export function readBigEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return BigInt.asIntN(8 * bytes.length, value);
}
