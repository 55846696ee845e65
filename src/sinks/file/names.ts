import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** The name of a file may have 255 bytes. */
const MAX_NAME = 200;
const DIGITS = 10;

/**
 * Any text as the name of one file: letters, digits, `_`, `-` and dots that do not come first stay, other bytes are `%XX`. What would
 * be too long is cut, and ends with `~` and a hash of the whole.
 */
export function escapeName(text: string): string {
  let name = '';
  for (const byte of Buffer.from(text)) {
    const char = String.fromCharCode(byte);
    const isPlain = /[A-Za-z0-9_-]/.test(char) || (char === '.' && name !== '');
    name += isPlain ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  if (name.length <= MAX_NAME) return name === '' ? '%' : name;
  return `${name.slice(0, MAX_NAME - 20)}~${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

/** Which creation of a stream: nothing of another is ours. */
export interface StreamKey {
  readonly installation: string;
  readonly streamName: string;
  readonly generation: string;
}

/** The folder of one creation of a stream. */
export function streamFolder(dir: string, { installation, streamName, generation }: StreamKey): string {
  return join(dir, escapeName(streamName), `${escapeName(installation)}.${escapeName(generation)}`);
}

/** In a stream's folder, by table, links to the folders of its tablets. */
export const TABLES = 'tables';

/** A tablet's files have numbers, in the order in which they were begun. */
export function fileName(number: number): string {
  return `${String(number).padStart(DIGITS, '0')}.jsonl`;
}

/** Null for what is none of the tablet's files. */
export function fileNumber(name: string): number | null {
  const match = /^(\d{10,15})\.jsonl$/.exec(name);
  return match ? Number(match[1]) : null;
}

/** The numbers of a folder's files, rising. */
export function fileNumbers(names: readonly string[]): readonly number[] {
  return names
    .map(fileNumber)
    .filter((number) => number !== null)
    .sort((a, b) => a - b);
}
