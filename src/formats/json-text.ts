/*
 * Small pieces of text that are made once and copied into each record.
 */

/** `set` costs a call into the engine; below some twenty bytes a loop is faster. */
export function copy(out: Buffer, at: number, from: Buffer): number {
  if (from.length < 20) for (let i = 0; i < from.length; i++) out[at + i] = from[i]!;
  else out.set(from, at);
  return at + from.length;
}

/** The members of an object without its braces. */
export function inner(object: object): string {
  return JSON.stringify(object).slice(1, -1);
}

export function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
