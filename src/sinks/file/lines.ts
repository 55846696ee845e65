import { crc32 } from 'node:zlib';
import * as z from 'zod';
import { positionJson, positionToJson, type TabletPosition } from '../../change/position.ts';
import { RecordKind, type RecordBatch, type RecordRun } from '../../change/record-batch.ts';
import { copyBytes } from '../../util/byte-arena.ts';

/*
 * The lines of a file: `begin` is the first one; records follow, and a `commit` behind those of each write. docs/sinks-file.md
 * tells readers of them.
 */

const COMMA_POS = Buffer.from(',"pos":"');
const VALUE = Buffer.from(',"value":');
const NULL = Buffer.from('null');
const HEADS: Readonly<Record<RecordKind, Buffer>> = {
  [RecordKind.ROW]: Buffer.from('{"key":'),
  [RecordKind.TOMBSTONE]: Buffer.from('{"key":'),
  [RecordKind.SCHEMA]: Buffer.from('{"kind":"schema","key":'),
  [RecordKind.FIRST_SCHEMA]: Buffer.from('{"kind":"schema","key":'),
  [RecordKind.RESOLVED]: Buffer.from('{"kind":"resolved","key":'),
  [RecordKind.DEAD_LETTER]: Buffer.from('{"kind":"dead-letter","key":'),
};
/** What a line has besides key, value and position, at most; two `null`s included. */
const MAX_FRAME = 96;

export const COMMIT_START = '{"commit":';
export const TABLE_START = '{"table":';

/** From which record to which. */
export interface Span {
  readonly first: string;
  readonly last: string;
}

/** One record more. */
export function upTo(span: Span | null, position: string): Span {
  return { first: span?.first ?? position, last: position };
}

/** Turns batches into lines. It remembers the table of the last record: a line says when the next one is of another. */
export class LineEncoder {
  /** Those that records were of, for who has to make a place for each. */
  readonly tables = new Set<string>();
  /** Positions of the first and the last record; null while there is none. */
  span: Span | null = null;
  #table: string;
  #run: RecordRun | null = null;
  #tail = Buffer.alloc(0);

  /** @param table that the file's first line names */
  constructor(table: string) {
    this.#table = table;
    this.tables.add(table);
  }

  get table(): string {
    return this.#table;
  }

  /** @returns its lines, in memory of their own: key and value are copied as they are */
  encode(batch: RecordBatch): Buffer {
    const out = Buffer.allocUnsafe(this.#bytesOf(batch));
    let at = 0;
    for (let i = 0; i < batch.length; i++) {
      const run = batch.runOf(i);
      if (run !== this.#run) at = this.#begin(run, out, at);
      const { bytes } = run;
      const [keyStart, valueStart] = [batch.keyStart(i), batch.valueStart(i)];
      at = put(HEADS[batch.kindOf(i)], out, at);
      at = valueStart > keyStart ? copyBytes(out, at, bytes, keyStart, valueStart) : put(NULL, out, at);
      at = put(VALUE, out, at);
      at = batch.hasValue(i) ? copyBytes(out, at, bytes, valueStart, batch.end(i)) : put(NULL, out, at);
      at = put(COMMA_POS, out, at);
      at = batch.writePosition(i, out, at);
      at = put(this.#tail, out, at);
    }
    this.#run = null; // its memory serves other batches
    if (batch.length > 0)
      this.span = upTo(this.span ?? upTo(null, batch.position(0)), batch.position(batch.length - 1));
    return out.subarray(0, at);
  }

  #begin(run: RecordRun, out: Buffer, at: number): number {
    this.#run = run;
    this.#tail = Buffer.from(`","ts":${run.timestampMs}}\n`);
    if (run.table === this.#table) return at;
    this.#table = run.table;
    this.tables.add(run.table);
    return at + out.write(tableLine(run.table), at);
  }

  /** As many as its lines may have. */
  #bytesOf(batch: RecordBatch): number {
    let bytes = batch.byteLength + batch.length * MAX_FRAME;
    let table = this.#table;
    for (let i = 0; i < batch.length; i++) {
      bytes += batch.positionBytes(i);
      const { table: next } = batch.runOf(i);
      if (next !== table) bytes += Buffer.byteLength(tableLine((table = next)));
    }
    return bytes;
  }
}

function put(bytes: Uint8Array, out: Buffer, at: number): number {
  return copyBytes(out, at, bytes, 0, bytes.length);
}

function tableLine(table: string): string {
  return `${JSON.stringify({ table })}\n`;
}

const previous = z.object({ file: z.int().positive(), bytes: z.int().nonnegative() }).nullable();
const begin = z.object({
  begin: z.int().positive(),
  stream: z.string(),
  tablet: z.string(),
  table: z.string(),
  previous,
  position: positionJson.nullable(),
});
/** A file's first line. */
export type Begin = z.output<typeof begin>;
/** How much of the file before counts. */
export type Previous = z.output<typeof previous>;

export function beginLine(line: Begin): string {
  return `${JSON.stringify({ ...line, position: line.position && positionToJson(line.position) })}\n`;
}

/** @throws it is none */
export function parseBegin(line: string): Begin {
  return begin.parse(JSON.parse(line));
}

const data = z.object({
  /** Its name while it is written. */
  file: z.string(),
  /** Which of its bytes this write is, up to `bytes`, and their CRC-32. */
  from: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  crc: z.int(),
  /** Positions of its first record, and its last by now. */
  first: z.string(),
  last: z.string(),
});
/** What a write has put into a file beside the one that says so. */
export type CommittedData = Readonly<z.output<typeof data>>;

/** In a line of a commit, where records are beside it. */
export const DATA_START = ',"data":[';

/**
 * The line behind the records of a write, without its line break: that comes when the rest is durable.
 * @param from where in the file the first byte behind the last commit is
 * @param crc CRC-32 of the bytes from there to this line
 */
export function commitLine(
  position: TabletPosition,
  from: number,
  table: string,
  crc: number,
  beside: readonly CommittedData[] = [],
): string {
  const where = beside.length === 0 ? '' : `${DATA_START}${beside.map((each) => JSON.stringify(each)).join()}]`;
  const start = `${COMMIT_START}${JSON.stringify(positionToJson(position))},"table":${JSON.stringify(table)},"from":${from}${where}`;
  return `${start},"crc":${crc32(start, crc)}}`;
}

const commit = z.object({
  commit: positionJson,
  table: z.string(),
  from: z.int().nonnegative(),
  data: z.array(data).default([]),
  crc: z.int(),
});

export interface Commit {
  readonly position: TabletPosition;
  /** Of the last record. */
  readonly table: string;
  readonly from: number;
  readonly data: readonly CommittedData[];
  readonly crc: number;
  /** The part of the line that `crc` covers as well. */
  readonly covered: string;
}

/** Null where it is torn. */
export function parseCommit(line: string): Commit | null {
  const end = line.lastIndexOf(',"crc":');
  if (end < 0 || !line.endsWith('}')) return null;
  try {
    const { commit: position, ...rest } = commit.parse(JSON.parse(line));
    return { position, ...rest, covered: line.slice(0, end) };
  } catch {
    return null;
  }
}
