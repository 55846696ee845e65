import * as z from 'zod';
import { RecordKind, type RecordBatch, type RecordRun } from '../../../change/record-batch.ts';
import type { RecordSchemas } from '../../../change/record.ts';
import { BLOCK_HEAD_BYTES, longOf, runOf, SYNC_BYTES } from './avro-container.ts';
import { compileSkip, type Skip } from './avro-skip.ts';
import { AvroCursor } from '../../../util/avro-cursor.ts';
import { copyBytes } from '../../../util/byte-arena.ts';
import { MAX_VARINT32_BYTES, writeZigzag32 } from '../../../util/varints.ts';

/*
 * A record in a file of Avro: key and value as the stream's format has them, byte for byte, and what a file of lines has beside
 * them. docs/sinks-file.md tells readers of it.
 */

const SOME = 2;
const NONE = 0;
const KINDS: Readonly<Record<RecordKind, string>> = {
  [RecordKind.ROW]: 'row',
  [RecordKind.TOMBSTONE]: 'tombstone',
  [RecordKind.SCHEMA]: 'schema',
  [RecordKind.FIRST_SCHEMA]: 'schema',
  [RecordKind.RESOLVED]: 'resolved',
  [RecordKind.DEAD_LETTER]: 'dead-letter',
};
const KIND_RUNS = Object.values(RecordKind).map((kind) => runOf(KINDS[kind]));
/** Branches and lengths of a record, and its kind. */
const MAX_FRAME = 5 + 5 * MAX_VARINT32_BYTES + 16;
/** Of what is no row: its key and value are JSON, whatever the rows are in. */
const EVENT = {
  type: 'record',
  name: 'Event',
  fields: [
    { name: 'key', type: 'string' },
    { name: 'value', type: ['null', 'string'], default: null },
  ],
};

/** The schema of a file's records. @param schemas null: none of them has a key or a value */
export function recordSchema(schemas: RecordSchemas | null): string {
  const parse = (text: string | undefined): unknown => (text === undefined ? ['null'] : ['null', JSON.parse(text)]);
  return JSON.stringify({
    type: 'record',
    name: 'Record',
    namespace: 'spoor',
    fields: [
      { name: 'key', type: parse(schemas?.key) },
      { name: 'value', type: parse(schemas?.value) },
      { name: 'kind', type: 'string' },
      { name: 'pos', type: 'string' },
      { name: 'ts', type: { type: 'long', logicalType: 'timestamp-millis' } },
      { name: 'table', type: 'string' },
      { name: 'event', type: ['null', EVENT], default: null },
    ],
  });
}

/** Records that are encoded, and where in memory they lie. */
export interface Encoded {
  readonly out: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Writes records of a batch one behind the other. */
export class AvroRecords {
  #run: RecordRun | null = null;
  /** What stands behind the position of each record of a run: its time, and its table. */
  #time: Uint8Array = Buffer.alloc(0);
  #table: Uint8Array = Buffer.alloc(0);
  #tableName: string | null = null;

  /** @returns memory of its own, with the records from `from` to `end`, and room before and behind them */
  encode(batch: RecordBatch, from: number, end: number): Encoded {
    const out = Buffer.allocUnsafe(BLOCK_HEAD_BYTES + this.#bytesOf(batch, from, end) + SYNC_BYTES);
    let at = BLOCK_HEAD_BYTES;
    for (let i = from; i < end; i++) {
      const run = batch.runOf(i);
      if (run !== this.#run) this.#begin(run);
      const kind = batch.kindOf(i);
      const isRow = kind === RecordKind.ROW || kind === RecordKind.TOMBSTONE;
      const [keyStart, valueStart, valueEnd] = [batch.keyStart(i), batch.valueStart(i), batch.end(i)];
      out[at++] = isRow ? SOME : NONE;
      if (isRow) at = copyBytes(out, at, run.bytes, keyStart, valueStart);
      out[at++] = kind === RecordKind.ROW ? SOME : NONE;
      if (kind === RecordKind.ROW) at = copyBytes(out, at, run.bytes, valueStart, valueEnd);
      const name = KIND_RUNS[kind]!;
      at = copyBytes(out, at, name, 0, name.length);
      at = writeZigzag32(out, at, batch.positionBytes(i));
      at = batch.writePosition(i, out, at);
      at = copyBytes(out, at, this.#time, 0, this.#time.length);
      at = copyBytes(out, at, this.#table, 0, this.#table.length);
      const isEvent = !isRow && valueStart > keyStart;
      out[at++] = isEvent ? SOME : NONE;
      if (!isEvent) continue;
      at = writeRun(out, at, run.bytes, keyStart, valueStart);
      out[at++] = batch.hasValue(i) ? SOME : NONE;
      if (batch.hasValue(i)) at = writeRun(out, at, run.bytes, valueStart, valueEnd);
    }
    this.#run = null; // its memory serves other batches
    return { out, start: BLOCK_HEAD_BYTES, end: at };
  }

  #begin(run: RecordRun): void {
    this.#run = run;
    this.#time = longOf(run.timestampMs);
    if (run.table === this.#tableName) return;
    this.#tableName = run.table;
    this.#table = runOf(run.table);
  }

  #bytesOf(batch: RecordBatch, from: number, end: number): number {
    let bytes = 0;
    let run: RecordRun | null = null;
    let tail = 0;
    for (let i = from; i < end; i++) {
      const next = batch.runOf(i);
      if (next !== run) {
        run = next;
        tail = 16 + Buffer.byteLength(run.table);
      }
      bytes += MAX_FRAME + tail + batch.positionBytes(i) + batch.end(i) - batch.keyStart(i);
    }
    return bytes;
  }
}

function writeRun(out: Buffer, at: number, bytes: Buffer, start: number, end: number): number {
  return copyBytes(out, writeZigzag32(out, at, end - start), bytes, start, end);
}

/** A record as it is read. */
export interface AvroRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Empty for a row or its tombstone. */
  readonly kind: string;
  readonly position: string;
  readonly timestampMs: number;
  readonly table: string;
}

const file = z.looseObject({ fields: z.array(z.looseObject({ name: z.string(), type: z.unknown() })) });

/** Reads the records of files of one schema. */
export class AvroRecordReader {
  /** Null: no record has a key or a value. */
  readonly schemas: RecordSchemas | null;
  readonly #skipKey;
  readonly #skipValue;

  /** @throws {SyntaxError} it is not a schema of {@link recordSchema} */
  constructor(text: string) {
    const parsed = file.safeParse(JSON.parse(text));
    const names = parsed.data?.fields.map(({ name }) => name).join();
    if (!parsed.success || names !== 'key,value,kind,pos,ts,table,event')
      throw new SyntaxError('its records are not ours');
    const [key, value] = parsed.data.fields.map(({ type }) =>
      Array.isArray(type) ? (type as unknown[])[1] : undefined,
    );
    this.schemas = key === undefined ? null : { key: JSON.stringify(key), value: JSON.stringify(value) };
    this.#skipKey = compileSkip(['null', key ?? 'null']);
    this.#skipValue = compileSkip(['null', value ?? 'null']);
  }

  /** @throws {SyntaxError} it ends too early, or is no record */
  read(bytes: Buffer, at: number): { readonly record: AvroRecord; readonly end: number } {
    const cursor = new AvroCursor(bytes, at);
    const [rowKey, rowValue] = [some(cursor, this.#skipKey), some(cursor, this.#skipValue)];
    const kind = cursor.run().toString();
    const position = cursor.run().toString();
    const timestampMs = cursor.number();
    const table = cursor.run().toString();
    const isRow = kind === 'row' || kind === 'tombstone';
    const event = readEvent(cursor);
    const [key, value] = isRow ? [rowKey, rowValue] : [event.key, event.value];
    return { record: { key, value, kind: isRow ? '' : kind, position, timestampMs, table }, end: cursor.at };
  }
}

/** What stands behind the branch of a union; null for its first. */
function some(cursor: AvroCursor, skip: Skip): Buffer | null {
  const start = cursor.at;
  skip(cursor);
  return cursor.bytes[start] === SOME ? Buffer.from(cursor.bytes.subarray(start + 1, cursor.at)) : null;
}

function readEvent(cursor: AvroCursor): Pick<AvroRecord, 'key' | 'value'> {
  const isSome = (): boolean => cursor.take(1)[0] === SOME;
  const run = (): Buffer => Buffer.from(cursor.run());
  if (!isSome()) return { key: null, value: null };
  return { key: run(), value: isSome() ? run() : null };
}
