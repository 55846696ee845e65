/*
 * Base-128 varints straight into bytes, as Avro and Protocol Buffers have them: seven bits a byte, the lowest first. Each
 * function writes at `at` and answers the position after what it wrote; the caller has made room.
 */

export const MAX_VARINT32_BYTES = 5;
export const MAX_VARINT64_BYTES = 10;

/** An unsigned integer below 2^32. */
export function writeUvarint(out: Uint8Array, at: number, value: number): number {
  let rest = value >>> 0;
  for (; rest > 0x7f; rest >>>= 7) out[at++] = (rest & 0x7f) | 0x80;
  out[at] = rest;
  return at + 1;
}

/** A two's complement 32-bit integer, zigzag: small ones of either sign are short. */
export function writeZigzag32(out: Uint8Array, at: number, value: number): number {
  return writeUvarint(out, at, (value << 1) ^ (value >> 31));
}

/** A 64-bit integer given in halves (any sign representation of each). */
export function writeUvarint64(out: Uint8Array, at: number, high: number, low: number): number {
  [high, low] = [high >>> 0, low >>> 0];
  while (high !== 0) {
    out[at++] = (low & 0x7f) | 0x80;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  return writeUvarint(out, at, low);
}

/** A two's complement 64-bit integer given in halves, zigzag. */
export function writeZigzag64(out: Uint8Array, at: number, high: number, low: number): number {
  const sign = high >> 31;
  return writeUvarint64(out, at, ((high << 1) | (low >>> 31)) ^ sign, (low << 1) ^ sign);
}

/** A bigint that fits 64 bits, signed, zigzag. */
export function writeZigzagBigInt(out: Uint8Array, at: number, value: bigint): number {
  return writeZigzag64(out, at, Number(BigInt.asIntN(32, value >> 32n)), Number(BigInt.asIntN(32, value)));
}

/** How many bytes {@link writeUvarint} takes. */
export function uvarintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value >>> 7; rest !== 0; rest >>>= 7) bytes++;
  return bytes;
}
