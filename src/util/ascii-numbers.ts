/*
 * Decimal digits straight into bytes. Each function writes at `at` and answers the position after what it wrote;
 * the caller has made room (see MAX_*_CHARS). Integers beyond 2^53 are exact: they are never a JS number.
 */

export const MAX_INT64_CHARS = 20;
export const MAX_DOUBLE_CHARS = 25;

const ZERO = 0x30;
const MINUS = 0x2d;
const EIGHT_DIGITS = 100_000_000;

/** An unsigned integer below 2^53. */
export function writeUint(out: Uint8Array, at: number, value: number): number {
  if (value < EIGHT_DIGITS) return writeUnder(out, at, value);
  const high = Math.floor(value / EIGHT_DIGITS);
  return writeEight(out, writeUint(out, at, high), value - high * EIGHT_DIGITS);
}

/** How many digits an unsigned integer below 2^53 has. */
export function decimalDigits(value: number): number {
  let digits = 1;
  for (let bound = 10; value >= bound; bound *= 10) digits++;
  return digits;
}

/** An integer within ±2^53. */
export function writeInt(out: Uint8Array, at: number, value: number): number {
  if (value >= 0) return writeUint(out, at, value);
  out[at] = MINUS;
  return writeUint(out, at + 1, -value);
}

/** An unsigned 64-bit integer given in halves, each 0 .. 2^32-1. */
export function writeUint64(out: Uint8Array, at: number, high: number, low: number): number {
  if (high < 0x20_0000) return writeUint(out, at, high * 0x1_0000_0000 + low);
  // Long division by 10^8 over 16-bit limbs: each step stays below 2^53.
  let rest = high % EIGHT_DIGITS;
  const top = Math.floor(high / EIGHT_DIGITS); // 0 .. 42
  let step = rest * 0x1_0000 + (low >>> 16);
  const middle = Math.floor(step / EIGHT_DIGITS);
  rest = step - middle * EIGHT_DIGITS;
  step = rest * 0x1_0000 + (low & 0xffff);
  const bottom = Math.floor(step / EIGHT_DIGITS);
  rest = step - bottom * EIGHT_DIGITS;
  const quotient = top * 0x1_0000_0000 + middle * 0x1_0000 + bottom; // below 1.9 * 10^11
  return writeEight(out, writeUint(out, at, quotient), rest);
}

/** A two's complement 64-bit integer given in halves (any sign representation of the low half). */
export function writeInt64(out: Uint8Array, at: number, high: number, low: number): number {
  if ((high | 0) >= 0) return writeUint64(out, at, high >>> 0, low >>> 0);
  out[at] = MINUS;
  const negatedLow = -low >>> 0;
  const negatedHigh = (~high + (negatedLow === 0 ? 1 : 0)) >>> 0;
  return writeUint64(out, at + 1, negatedHigh, negatedLow);
}

/** A bigint that fits 64 bits, signed or unsigned. */
export function writeBigInt(out: Uint8Array, at: number, value: bigint): number {
  if (value < 0n) {
    out[at] = MINUS;
    return writeBigInt(out, at + 1, -value);
  }
  return writeUint64(out, at, Number(value >> 32n), Number(value & 0xffff_ffffn));
}

/** Characters of the Latin-1 range, one byte each. */
export function writeLatin1(out: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** Exactly eight digits, leading zeros included. */
function writeEight(out: Uint8Array, at: number, value: number): number {
  for (let i = at + 7; i >= at; i--) {
    const next = (value / 10) | 0;
    out[i] = ZERO + value - next * 10;
    value = next;
  }
  return at + 8;
}

/** 0 .. 10^8-1 without leading zeros. */
function writeUnder(out: Uint8Array, at: number, value: number): number {
  const digits = decimalDigits(value);
  for (let i = at + digits - 1; i >= at; i--) {
    const next = (value / 10) | 0;
    out[i] = ZERO + value - next * 10;
    value = next;
  }
  return at + digits;
}
