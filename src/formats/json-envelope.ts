import type { ChangeBatch } from '../change/change.ts';
import { RecordKind, type RecordBatch } from '../change/record-batch.ts';
import { writeUint } from '../util/ascii-numbers.ts';
import { endingOf } from './json-ops.ts';
import { letterOf, type OpLetter } from './op-words.ts';
import { varLengthBytes, writeColumns, writeKey, type RowText } from './json-row.ts';
import { BatchText } from './json-source.ts';
import type { TableTexts } from './json-tables.ts';
import { again, ascii, copy } from './json-text.ts';

/** At most, of a row: what stands around its columns and outside the text of its batch, and its number twice. */
const MAX_ENVELOPE_BYTES = 200;
const BRACE_CLOSE = 0x7d;
const HEADS: Readonly<Record<OpLetter, Buffer>> = {
  c: ascii('{"op":"c'),
  u: ascii('{"op":"u'),
  d: ascii('{"op":"d'),
  r: ascii('{"op":"r'),
};
const AFTER = ascii(',"after":');
const NULL = ascii('null');

/**
 * Rows in Debezium's envelope. A row is never an object: what is the same for a schema, a tablet or an operation is made
 * once, and the cells are written from the log's bytes into the record's. The images are those of the batch: a column that
 * is not set in them is left out.
 */
export class EnvelopeEncoder {
  readonly #tables: TableTexts;
  readonly #tombstones: boolean;
  readonly #text: BatchText;

  constructor(
    tables: TableTexts,
    stream: { readonly name: string; readonly version: string; readonly tombstones: boolean },
  ) {
    this.#tables = tables;
    this.#tombstones = stream.tombstones;
    this.#text = new BatchText(stream);
  }

  encodeRows(batch: ChangeBatch, fromRow: number, records: RecordBatch): number | null {
    const { columns, frame } = this.#tables.of(batch);
    this.#text.compile(batch);
    const { head, toRow, toSequence, millis, bytes } = this.#text;
    const { tabletId, tableName } = batch.tablet;
    const { opId, rowCount, cells, before } = batch;
    const isCopy = batch.copy !== null;
    const position = isCopy ? `base.${batch.hybridTime}` : `${opId.term}.${opId.index}.`;
    records.begin(tableName, `${tabletId}/${position}`, millis);
    const { keyHead, end } = frame;
    const around = bytes + MAX_ENVELOPE_BYTES + frame.maxBytes;

    for (let row = fromRow; row < rowCount; row++) {
      if (records.isFull) return row;
      const letter = letterOf(batch, row);
      const hasBefore = before?.present[row] === 1;
      let images = 2 * (columns.maxBytes + varLengthBytes(columns, batch, cells, row)); // that of the key alone too
      if (hasBefore) images += columns.maxBytes + varLengthBytes(columns, batch, before.cells, row);
      records.reserve(around + images);
      const out = records.bytes;
      const recordStart = records.at;
      const keyStart = copy(out, recordStart, keyHead);
      const keyEnd = writeKey(out, keyStart, batch, row, columns);
      let at = copy(out, keyEnd, end);
      const valueStart = at;

      at = copy(out, at, frame.valueHead(batch, row, letter === 'd'));
      at = copy(out, at, HEADS[letter]);
      at = copy(out, at, head);
      if (hasBefore) at = writeImage(out, at, keyStart, keyEnd, batch, before.cells, row, columns);
      else at = letter === 'd' ? again(out, at, keyStart, keyEnd) : copy(out, at, NULL);
      at = copy(out, at, AFTER);
      if (letter === 'd') at = copy(out, at, NULL);
      else at = writeImage(out, at, keyStart, keyEnd, batch, cells, row, columns);
      at = copy(out, at, toRow);
      const number = batch.rowIndexes[row]!;
      if (!isCopy) {
        at = writeUint(out, at, number);
        at = copy(out, at, toSequence);
        at = writeUint(out, at, number);
      }
      at = copy(out, at, endingOf(batch, row));
      at = copy(out, at, end);
      records.add(RecordKind.ROW, isCopy ? null : number, recordStart, valueStart, at);
      if (letter === 'd' && this.#tombstones) records.addTombstone();
    }
    return null;
  }
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
  at = again(out, at, keyStart, keyEnd - 1); // without its closing brace
  at = writeColumns(out, at, batch, cells, row, columns, columns.keyColumns, columns.columns.length);
  out[at] = BRACE_CLOSE;
  return at + 1;
}
