import type { Change, ChangeBatch } from '../change/change.ts';
import type { SinkRecord } from '../change/record.ts';
import { RecordKind, type RecordBatch } from '../change/record-batch.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { writeUint } from '../util/ascii-numbers.ts';
import type { RecordFormat } from './format.ts';
import { endingOf, letterOf, type Letter } from './json-ops.ts';
import { encodeResolved } from './json-resolved.ts';
import { compileRow, varLengthBytes, writeColumns, type RowText } from './json-row.ts';
import { encodeSchemaChange, encodeTabletEvent } from './json-schema.ts';
import { BatchText } from './json-source.ts';
import { ascii, copy } from './json-text.ts';

export interface JsonOptions {
  readonly streamName: string;
  /** Spoor's version as `source.version` shows it. */
  readonly version: string;
  /** Whether a delete is followed by a record without value, so that a compacted topic forgets the key. */
  readonly tombstones: boolean;
}

/** At most, of a row: what stands around its columns and outside the text of its batch, and its number twice. */
const MAX_ENVELOPE_BYTES = 200;
const BRACE_OPEN = 0x7b;
const BRACE_CLOSE = 0x7d;
const HEADS: Readonly<Record<Letter, Buffer>> = {
  c: ascii('{"op":"c'),
  u: ascii('{"op":"u'),
  d: ascii('{"op":"d'),
  r: ascii('{"op":"r'),
};
const AFTER = ascii(',"after":');
const NULL = ascii('null');

/**
 * The contract's JSON records: key, Debezium's envelope, tombstones, schema records. Rows of a copy have op `r`, and no
 * row number nor operation; of what a repair found deleted there is the delete.
 *
 * A row is never an object: what is the same for a schema, a tablet or an operation is made once, and the cells are
 * written from the log's bytes into the record's. Only applied rows are in a batch, so only these make records.
 * The images are those of the batch: a column that is not set in them is left out.
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

class JsonEncoder {
  readonly #tombstones: boolean;
  readonly #schemas = new WeakMap<TableSchema, RowText>();
  readonly #text: BatchText;

  constructor({ streamName, version, tombstones }: JsonOptions) {
    this.#tombstones = tombstones;
    this.#text = new BatchText({ name: streamName, version });
  }

  encodeRows(batch: ChangeBatch, fromRow: number, records: RecordBatch): number | null {
    const columns = this.#rowText(batch.schema);
    this.#text.compile(batch);
    const { head, toRow, toSequence, millis, bytes } = this.#text;
    const { tabletId, tableName } = batch.tablet;
    const { opId, rowCount, cells, before } = batch;
    const isCopy = batch.copy !== null;
    const position = isCopy ? `base.${batch.hybridTime}` : `${opId.term}.${opId.index}.`;
    records.begin(tableName, `${tabletId}/${position}`, millis);

    for (let row = fromRow; row < rowCount; row++) {
      if (records.isFull) return row;
      const letter = letterOf(batch, row);
      const hasBefore = before?.present[row] === 1;
      let images = 2 * (columns.maxBytes + varLengthBytes(columns, batch, cells, row)); // that of the key alone too
      if (hasBefore) images += columns.maxBytes + varLengthBytes(columns, batch, before.cells, row);
      records.reserve(bytes + MAX_ENVELOPE_BYTES + images);
      const out = records.bytes;
      const keyStart = records.at;
      out[keyStart] = BRACE_OPEN;
      let at = writeColumns(out, keyStart + 1, batch, cells, row, columns, 0, columns.keyColumns);
      const keyEnd = at; // before the closing brace: an image begins with the key
      out[at++] = BRACE_CLOSE;
      const valueStart = at;

      at = copy(out, at, HEADS[letter]);
      at = copy(out, at, head);
      if (hasBefore) at = writeImage(out, at, keyStart, keyEnd, batch, before.cells, row, columns);
      else at = letter === 'd' ? writeKey(out, at, keyStart, valueStart) : copy(out, at, NULL);
      at = copy(out, at, AFTER);
      if (letter === 'd') at = copy(out, at, NULL);
      else at = writeImage(out, at, keyStart, keyEnd, batch, cells, row, columns);
      at = copy(out, at, toRow);
      const number = batch.rowIndexes[row]!;
      at = isCopy ? copy(out, at, NULL) : writeUint(out, at, number);
      at = copy(out, at, toSequence);
      at = writeUint(out, at, number);
      at = copy(out, at, endingOf(batch, row));
      records.add(RecordKind.ROW, isCopy ? null : number, keyStart, valueStart, at);
      if (letter === 'd' && this.#tombstones) records.addTombstone();
    }
    return null;
  }

  #rowText(schema: TableSchema): RowText {
    const known = this.#schemas.get(schema);
    if (known) return known;
    const text = compileRow(schema);
    this.#schemas.set(schema, text);
    return text;
  }
}

function writeKey(out: Buffer, at: number, keyStart: number, keyEnd: number): number {
  out.copyWithin(at, keyStart, keyEnd);
  return at + keyEnd - keyStart;
}

/** The key, as it is written already, and the other columns. */
function writeImage(
  out: Buffer,
  at: number,
  keyStart: number,
  keyEnd: number,
  batch: ChangeBatch,
  cells: Int32Array,
  row: number,
  columns: RowText,
): number {
  at = writeKey(out, at, keyStart, keyEnd);
  at = writeColumns(out, at, batch, cells, row, columns, columns.keyColumns, columns.columns.length);
  out[at] = BRACE_CLOSE;
  return at + 1;
}
