import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** The name of a file may have 255 bytes. */
const MAX_NAME = 200;
const DIGITS = 10;
const PART_DIGITS = 3;

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

/** `lines`: JSON, with what says how much of it counts between the records. `avro`: object container files, and that in a journal beside them. */
export type Container = 'lines' | 'avro';

/**
 * A file of a tablet, as its name tells. Numbers rise in the order in which files were begun.
 * `open`: it is written to, or was when its writer died; in Avro the journal stands for all files of its number.
 * `published`: it is whole, holds nothing but what counts, and never changes.
 * `plain`: of versions that wrote under the last name from the first line on; up to where it counts its successor says.
 */
export interface TabletFile {
  readonly name: string;
  readonly number: number;
  /** Files of one number follow one another where the schema of their records changes in the midst of a write. */
  readonly part: number;
  readonly state: 'open' | 'published' | 'plain';
  readonly container: Container;
}

/** While it is written. What takes all files that end with `.jsonl`, or `.avro`, is not to find it. */
export function openName(number: number, container: Container): string {
  return `${digitsOf(number)}.${container === 'lines' ? 'jsonl.open' : 'avro.journal'}`;
}

/** Of records in Avro that a journal tells of. @param token of their writer: those of another are not mixed up with them */
export function dataName(number: number, part: number, token: string): string {
  return `${partOf(number, part)}.${token}.avro.open`;
}

const DATA = /^(\d{10,15})-(\d{3,})\.[\w-]+\.avro\.open$/;

/** Number and part of what {@link dataName} names; null for anything else. */
export function parseDataName(name: string): { readonly number: number; readonly part: number } | null {
  const [, number, part] = DATA.exec(name) ?? [];
  return number === undefined ? null : { number: Number(number), part: Number(part) };
}

/**
 * Once it is whole.
 * @param first position of its first record, and `last` that of its last
 */
export function publishedName(
  { number, part, container }: Pick<TabletFile, 'number' | 'part' | 'container'>,
  first: string,
  last: string,
): string {
  const positions = `${placeName(first)}_${placeName(last)}`;
  return container === 'lines' ? `${digitsOf(number)}_${positions}.jsonl` : `${partOf(number, part)}_${positions}.avro`;
}

/** Without the tablet, which is the folder's. */
function placeName(position: string): string {
  return escapeName(position.slice(position.indexOf('/') + 1));
}

function digitsOf(number: number): string {
  return String(number).padStart(DIGITS, '0');
}

function partOf(number: number, part: number): string {
  return `${digitsOf(number)}-${String(part).padStart(PART_DIGITS, '0')}`;
}

const LINES = /^(\d{10,15})(_.*)?\.jsonl(\.open)?$/;
const AVRO = /^(\d{10,15})(?:\.avro\.journal|-(\d{3,})_.*\.avro)$/;

/** Null for what is none of the tablet's files. */
export function tabletFile(name: string): TabletFile | null {
  const [, avro, part] = AVRO.exec(name) ?? [];
  if (avro !== undefined)
    return {
      name,
      number: Number(avro),
      part: Number(part ?? 0),
      state: part === undefined ? 'open' : 'published',
      container: 'avro',
    };
  const [, digits, positions, open] = LINES.exec(name) ?? [];
  if (digits === undefined || (positions !== undefined && open !== undefined)) return null;
  const state = open !== undefined ? 'open' : positions !== undefined ? 'published' : 'plain';
  return { name, number: Number(digits), part: 0, state, container: 'lines' };
}

/** The files of a folder by rising numbers; of one number those that are `open` and `published` both. */
export function allFiles(names: readonly string[]): readonly TabletFile[] {
  return names
    .map(tabletFile)
    .filter((file) => file !== null)
    .sort((a, b) => a.number - b.number || a.part - b.part);
}

/**
 * The files of a folder by rising numbers, without what stands for another: lines that are published for those that their writer
 * had open, and a journal for the files of its number, of which some may be published.
 */
export function filesIn(names: readonly string[]): readonly TabletFile[] {
  const all = allFiles(names);
  const has = (state: TabletFile['state'], container: Container): ReadonlySet<number> =>
    new Set(all.filter((file) => file.state === state && file.container === container).map(({ number }) => number));
  const [lines, journals] = [has('published', 'lines'), has('open', 'avro')];
  return all.filter(({ number, state, container }) =>
    container === 'lines' ? state === 'published' || !lines.has(number) : state === 'open' || !journals.has(number),
  );
}
