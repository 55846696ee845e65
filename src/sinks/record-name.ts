import type { SinkRecord } from '../change/record.ts';

/** A key may be 16 KiB: this much of it tells one row from another, as a rule. */
const MAX_KEY_CHARS = 200;

/**
 * Which row a record is of, for a person: by its key, since the records of a copy all have one position. What the key
 * holds is anybody's text, so nothing of it can drive a terminal or fill a log.
 */
export function nameRow({ table, key }: SinkRecord): string {
  return `table ${safe(table)}, ${key.length === 0 ? 'without a key' : `key ${safe(key.toString('utf8'))}`}`;
}

/** Cut where it is long; what is no letter, mark, number, sign or plain space is escaped. */
function safe(text: string): string {
  const chars = Array.from(text.slice(0, 2 * MAX_KEY_CHARS)); // a pair of surrogates is one
  const shown = chars.slice(0, MAX_KEY_CHARS).join('');
  const escaped = shown.replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
  return shown.length === text.length ? escaped : `${escaped}… (${text.length} characters)`;
}
