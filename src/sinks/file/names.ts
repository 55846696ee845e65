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

/**
 * A file of a tablet, as its name tells. Numbers rise in the order in which files were begun.
 * `open`: it is written to, or was when its writer died. `published`: it is whole, holds nothing but what counts, and never changes.
 * `plain`: of versions that wrote under the last name from the first line on; up to where it counts its successor says.
 */
export interface TabletFile {
  readonly name: string;
  readonly number: number;
  readonly state: 'open' | 'published' | 'plain';
}

/** While it is written. What takes all files that end with `.jsonl` is not to find it. */
export function openName(number: number): string {
  return `${digitsOf(number)}.jsonl.open`;
}

/**
 * Once it is whole.
 * @param first position of its first record, and `last` that of its last
 */
export function publishedName(number: number, first: string, last: string): string {
  return `${digitsOf(number)}_${placeName(first)}_${placeName(last)}.jsonl`;
}

/** Without the tablet, which is the folder's. */
function placeName(position: string): string {
  return escapeName(position.slice(position.indexOf('/') + 1));
}

function digitsOf(number: number): string {
  return String(number).padStart(DIGITS, '0');
}

const FILE = /^(\d{10,15})(_.*)?\.jsonl(\.open)?$/;

/** Null for what is none of the tablet's files. */
export function tabletFile(name: string): TabletFile | null {
  const [, digits, positions, open] = FILE.exec(name) ?? [];
  if (digits === undefined || (positions !== undefined && open !== undefined)) return null;
  const state = open !== undefined ? 'open' : positions !== undefined ? 'published' : 'plain';
  return { name, number: Number(digits), state };
}

/** The files of a folder by rising numbers; of one number that is `open` and `published` both. */
export function allFiles(names: readonly string[]): readonly TabletFile[] {
  return names
    .map(tabletFile)
    .filter((file) => file !== null)
    .sort((a, b) => a.number - b.number);
}

/** The files of a folder by rising numbers, one of each: what is published stands for what its writer had open. */
export function filesIn(names: readonly string[]): readonly TabletFile[] {
  const all = allFiles(names);
  const published = new Set(all.filter(({ state }) => state === 'published').map(({ number }) => number));
  return all.filter(({ number, state }) => state === 'published' || !published.has(number));
}
