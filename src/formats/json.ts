import { Cell, CopyOp, RowOp, type Change, type ChangeBatch, type TabletRef } from '../change/change.ts';
import type { SinkRecord } from '../change/record.ts';
import { RecordKind, type RecordBatch } from '../change/record-batch.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { writeBigInt, writeUint } from '../util/ascii-numbers.ts';
import { copyBytes } from '../util/byte-arena.ts';
import type { RecordFormat } from './format.ts';
import { cellCodec, defaultToJson, writeAutoIncrement, type CellWriter } from './json-cells.ts';
import { encodeResolved } from './json-resolved.ts';
import { encodeSchemaChange, encodeTabletEvent } from './json-schema.ts';

export interface JsonOptions {
  readonly streamName: string;
  /** Spoor's version as `source.version` shows it. */
  readonly version: string;
  /** Whether a delete is followed by a record without value, so that a compacted topic forgets the key. */
  readonly tombstones: boolean;
}

/** At most, of `source`: its numbers, and the names before them. */
const MAX_SOURCE_NUMBERS_BYTES = 160;
/** At most, of a row: what stands around its columns and outside `source`, and its number. */
const MAX_ENVELOPE_BYTES = 200;
const BRACE_OPEN = 0x7b;
const BRACE_CLOSE = 0x7d;
const AFTER_NULL = ascii(',"after":null');
const NULL = ascii('null');
const TS_US = ascii(',"ts_us":');
const INDEX = ascii(',"index":');
const ROW = ascii(',"row":');
const HYBRID_TIME = ascii(',"hybrid_time":"');

type Letter = 'c' | 'u' | 'd' | 'r';
interface KnownOp {
  readonly op: RowOp | (typeof CopyOp)[keyof typeof CopyOp];
  /** Null for a row of a copy: no operation of Kudu made it. */
  readonly name: string | null;
  readonly letter: Letter;
}

/** What `op` and `kudu_op` say of a row operation (contract section 5). */
const OPS: readonly KnownOp[] = [
  { op: RowOp.INSERT, name: 'INSERT', letter: 'c' },
  { op: RowOp.INSERT_IGNORE, name: 'INSERT_IGNORE', letter: 'c' },
  { op: RowOp.UPDATE, name: 'UPDATE', letter: 'u' },
  { op: RowOp.UPDATE_IGNORE, name: 'UPDATE_IGNORE', letter: 'u' },
  { op: RowOp.UPSERT, name: 'UPSERT', letter: 'u' },
  { op: RowOp.UPSERT_IGNORE, name: 'UPSERT_IGNORE', letter: 'u' },
  { op: RowOp.DELETE, name: 'DELETE', letter: 'd' },
  { op: RowOp.DELETE_IGNORE, name: 'DELETE_IGNORE', letter: 'd' },
  { op: CopyOp.ROW, name: null, letter: 'r' },
  { op: CopyOp.DELETED, name: null, letter: 'd' },
];
const HEADS = {
  c: ascii('{"op":"c","ts_ms":'),
  u: ascii('{"op":"u","ts_ms":'),
  d: ascii('{"op":"d","ts_ms":'),
  r: ascii('{"op":"r","ts_ms":'),
};
const BEFORE_NULL = ascii(',"before":null,"after":');
const BEFORE = { c: BEFORE_NULL, u: BEFORE_NULL, r: BEFORE_NULL, d: ascii(',"before":') };
const LETTERS: readonly (Letter | undefined)[] = byOp((known) => known.letter);
const ENDINGS: readonly (Buffer | undefined)[] = byOp(({ name }) => ascii(`","kudu_op":${JSON.stringify(name)}}}`));

/**
 * The contract's JSON records: key, Debezium's envelope, tombstones, schema records. Rows of a copy have op `r`, and no
 * row number nor operation; of what a repair found deleted there is the delete.
 *
 * A row is never an object: what is the same for a schema, a tablet or an operation is made once, and the cells are
 * written from the log's bytes into the record's. Only applied rows are in a batch, so only these make records.
 * `after` of an INSERT has all columns; of an UPDATE or UPSERT the key and the columns that it set. An UPSERT_IGNORE
 * that sets immutable columns shows them all: whether they took effect depends on whether the row was there, which
 * the log does not say on every replica (kudu-facts 5.6).
 */
export function compileJson(options: JsonOptions): RecordFormat {
  const encoder = new JsonEncoder(options);
  return {
    encode: (change, fromRow, out) => {
      if (change.kind === 'rows') return encoder.encodeRows(change, fromRow, out);
      out.append(recordOf(change, options.streamName));
      return null;
    },
  };
}

function recordOf(change: Exclude<Change, ChangeBatch>, streamName: string): SinkRecord {
  if (change.kind === 'resolved') return encodeResolved(change, streamName);
  return change.kind === 'schema' ? encodeSchemaChange(change) : encodeTabletEvent(change);
}

interface ColumnText {
  /** `"name":`, with the comma that parts it from the column before. */
  readonly name: Buffer;
  readonly write: CellWriter;
  /** Text of the write default. */
  readonly writeDefault: Buffer;
}

interface SchemaText {
  readonly columns: readonly ColumnText[];
  readonly keyColumns: number;
  /** Places of the var-length columns, and what a value of so many bytes needs at most. */
  readonly varLength: readonly { readonly place: number; readonly maxBytesOf: (valueBytes: number) => number }[];
  /** Of all columns, var-length values left out. */
  readonly maxBytes: number;
}

/** The parts of `source` that only a rename changes. */
interface TabletText {
  readonly beforeTimes: Buffer;
  readonly afterTimes: { readonly ofLog: Buffer; readonly ofCopy: Buffer };
}

class JsonEncoder {
  readonly #options: JsonOptions;
  readonly #schemas = new WeakMap<TableSchema, SchemaText>();
  readonly #tablets = new WeakMap<TabletRef, TabletText>();
  /**
   * `,"source":{` up to `"row":`, and `,"hybrid_time":"` up to the closing quote: the same for all rows of a batch. The first
   * ends where the second begins.
   */
  #source = Buffer.alloc(0);
  #rowAt = 0;
  #sourceEnd = 0;

  constructor(options: JsonOptions) {
    this.#options = options;
  }

  encodeRows(batch: ChangeBatch, fromRow: number, records: RecordBatch): number | null {
    const schema = this.#schemaText(batch.schema);
    const micros = Number(hybridTimeToMicros(batch.hybridTime));
    const millis = Math.floor(micros / 1000);
    this.#compileBatch(batch, micros, millis);
    const { tabletId, tableName } = batch.tablet;
    const { opId, isCopy, rowCount } = batch;
    const position = isCopy ? `base.${batch.hybridTime}` : `${opId.term}.${opId.index}.`;
    records.begin(tableName, `${tabletId}/${position}`, millis);
    const source = this.#source;
    const rowAt = this.#rowAt;
    const sourceEnd = this.#sourceEnd;
    const envelopeBytes = sourceEnd + MAX_ENVELOPE_BYTES;

    for (let row = fromRow; row < rowCount; row++) {
      if (records.isFull) return row;
      const op = batch.ops[row]!;
      const letter = LETTERS[op]!;
      records.reserve(envelopeBytes + 2 * (schema.maxBytes + varLengthBytes(schema, batch, row)));
      const out = records.bytes;
      const keyStart = records.at;
      out[keyStart] = BRACE_OPEN;
      let at = writeColumns(out, keyStart + 1, batch, row, schema, 0, schema.keyColumns);
      out[at++] = BRACE_CLOSE;
      const valueStart = at;

      at = copy(out, at, HEADS[letter]);
      at = writeUint(out, at, millis);
      at = copy(out, at, BEFORE[letter]);
      out.copyWithin(at, keyStart, valueStart);
      at += valueStart - keyStart;
      if (letter === 'd') at = copy(out, at, AFTER_NULL);
      else {
        at = writeColumns(out, at - 1, batch, row, schema, schema.keyColumns, schema.columns.length);
        out[at++] = BRACE_CLOSE;
      }
      at = copyBytes(out, at, source, 0, rowAt);
      at = isCopy ? copy(out, at, NULL) : writeUint(out, at, batch.rowIndexes[row]!);
      at = copyBytes(out, at, source, rowAt, sourceEnd);
      at = copy(out, at, ENDINGS[op]!);
      records.add(RecordKind.ROW, isCopy ? null : batch.rowIndexes[row]!, keyStart, valueStart, at);
      if (letter === 'd' && this.#options.tombstones) records.addTombstone();
    }
    return null;
  }

  #compileBatch(batch: ChangeBatch, micros: number, millis: number): void {
    const tablet = this.#tabletText(batch.tablet);
    const afterTimes = batch.isCopy ? tablet.afterTimes.ofCopy : tablet.afterTimes.ofLog;
    const bytes = tablet.beforeTimes.length + afterTimes.length + MAX_SOURCE_NUMBERS_BYTES;
    if (this.#source.length < bytes) this.#source = Buffer.allocUnsafeSlow(bytes);
    const out = this.#source;
    let at = copy(out, 0, tablet.beforeTimes);
    at = writeUint(out, at, millis);
    at = copy(out, at, TS_US);
    at = writeUint(out, at, micros);
    at = copy(out, at, afterTimes);
    at = writeBigInt(out, at, batch.opId.term);
    at = copy(out, at, INDEX);
    at = writeBigInt(out, at, batch.opId.index);
    at = copy(out, at, ROW);
    this.#rowAt = at;
    at = copy(out, at, HYBRID_TIME);
    at = writeBigInt(out, at, batch.hybridTime);
    this.#sourceEnd = at;
  }

  #tabletText(tablet: TabletRef): TabletText {
    const known = this.#tablets.get(tablet);
    if (known) return known;
    const source = { version: this.#options.version, name: this.#options.streamName };
    const ids = { table: tablet.tableName, table_id: tablet.tableId, tablet_id: tablet.tabletId };
    const afterTimes = (snapshot: boolean): Buffer => Buffer.from(`,"snapshot":${snapshot},${inner(ids)},"term":`);
    const text = {
      beforeTimes: Buffer.from(`,"source":{"connector":"kudu",${inner(source)},"ts_ms":`),
      afterTimes: { ofLog: afterTimes(false), ofCopy: afterTimes(true) },
    };
    this.#tablets.set(tablet, text);
    return text;
  }

  #schemaText(schema: TableSchema): SchemaText {
    const known = this.#schemas.get(schema);
    if (known) return known;
    const text = compileSchema(schema);
    this.#schemas.set(schema, text);
    return text;
  }
}

function compileSchema(schema: TableSchema): SchemaText {
  const codecs = schema.columns.map(cellCodec);
  const columns = schema.columns.map((column, place): ColumnText => ({
    name: Buffer.from(`${place === 0 ? '' : ','}${JSON.stringify(column.name)}:`),
    write: codecs[place]!.write,
    writeDefault: column.writeDefault === null ? NULL : defaultToJson(column, column.writeDefault),
  }));
  return {
    columns,
    keyColumns: schema.columns.filter((column) => column.isKey).length,
    varLength: codecs.flatMap((codec, place) =>
      codec.maxBytes === null ? [{ place, maxBytesOf: codec.maxBytesOf }] : [],
    ),
    maxBytes: columns.reduce(
      (sum, column, place) =>
        sum + column.name.length + Math.max(codecs[place]!.maxBytes ?? 0, column.writeDefault.length, NULL.length),
      0,
    ),
  };
}

/** Writes `"name":value` of the columns from `first` to before `end`, those that the operation left alone left out. */
function writeColumns(
  out: Buffer,
  at: number,
  batch: ChangeBatch,
  row: number,
  schema: SchemaText,
  first: number,
  end: number,
): number {
  const { cells, rows, indirect } = batch;
  const base = row * schema.columns.length;
  for (let place = first; place < end; place++) {
    const cell = cells[base + place]!;
    if (cell === Cell.UNSET) continue;
    const column = schema.columns[place]!;
    at = copy(out, at, column.name);
    if (cell >= 0) at = column.write(out, at, rows, cell, indirect);
    else if (cell === Cell.NULL) at = copy(out, at, NULL);
    else if (cell === Cell.DEFAULT) at = copy(out, at, column.writeDefault);
    else at = writeAutoIncrement(out, at, batch.autoIncrement![row]!);
  }
  return at;
}

function varLengthBytes(schema: SchemaText, batch: ChangeBatch, row: number): number {
  let bytes = 0;
  const base = row * schema.columns.length;
  for (const { place, maxBytesOf } of schema.varLength) {
    const cell = batch.cells[base + place]!;
    if (cell >= 0) bytes += maxBytesOf(batch.rows.readUInt32LE(cell + 8));
  }
  return bytes;
}

/** `set` costs a call into the engine; below some twenty bytes a loop is faster. */
function copy(out: Buffer, at: number, from: Buffer): number {
  if (from.length < 20) for (let i = 0; i < from.length; i++) out[at + i] = from[i]!;
  else out.set(from, at);
  return at + from.length;
}

/** The members of an object without its braces. */
function inner(object: object): string {
  return JSON.stringify(object).slice(1, -1);
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function byOp<T>(of: (known: (typeof OPS)[number]) => T): (T | undefined)[] {
  const table: (T | undefined)[] = new Array<T | undefined>(66).fill(undefined);
  for (const known of OPS) table[known.op] = of(known);
  return table;
}
