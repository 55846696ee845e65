/*
 * Small pieces of text that are made once and copied into each record.
 */

/** A call into the engine has its price: for less than so many bytes a loop is faster. */
const SHORT_BYTES = 20;

export function copy(out: Buffer, at: number, from: Buffer): number {
  if (from.length < SHORT_BYTES) for (let i = 0; i < from.length; i++) out[at + i] = from[i]!;
  else out.set(from, at);
  return at + from.length;
}

/** Writes once more what stands from `from` to `to`. */
export function again(out: Buffer, at: number, from: number, to: number): number {
  if (to - from < SHORT_BYTES) for (let i = from; i < to; i++) out[at + i - from] = out[i]!;
  else out.copyWithin(at, from, to);
  return at + to - from;
}

/** The members of an object without its braces. */
export function inner(object: object): string {
  return JSON.stringify(object).slice(1, -1);
}

export function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
