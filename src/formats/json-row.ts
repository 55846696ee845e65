import { Cell, type ChangeBatch } from '../change/change.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../kudu/schema.ts';
import { defaultToJson, writeAutoIncrement, type CellCodec, type CellWriter } from './json-cells.ts';
import { ascii, copy } from './json-text.ts';

/** How the columns of a schema are written, made once for it. */
export interface RowText {
  readonly columns: readonly ColumnText[];
  readonly keyColumns: number;
  /** Places of the var-length columns, and what a value of so many bytes needs at most. */
  readonly varLength: readonly { readonly place: number; readonly maxBytesOf: (valueBytes: number) => number }[];
  /** Of all columns, var-length values left out. */
  readonly maxBytes: number;
}

interface ColumnText {
  /** `"name":`, with the comma that parts it from the column before. */
  readonly name: Buffer;
  readonly write: CellWriter;
  /** Text of the write default; null where it has to be written each time, from `defaultCell`. */
  readonly writeDefault: Buffer | null;
  readonly defaultCell: Buffer;
}

const NULL = ascii('null');
const BRACE_OPEN = 0x7b;
const BRACE_CLOSE = 0x7d;

const NOTHING = Buffer.alloc(0);

/** @throws what `codecOf` throws */
export function compileRow(schema: TableSchema, codecOf: (column: ColumnSchema) => CellCodec): RowText {
  const codecs = schema.columns.map(codecOf);
  const columns = schema.columns.map((column, place): ColumnText => ({
    name: Buffer.from(`${place === 0 ? '' : ','}${JSON.stringify(column.name)}:`),
    write: codecs[place]!.write,
    writeDefault: defaultText(column, codecs[place]!),
    defaultCell: column.writeDefault ?? NOTHING,
  }));
  return {
    columns,
    keyColumns: schema.columns.filter((column) => column.isKey).length,
    varLength: codecs.flatMap((codec, place) =>
      codec.maxBytes === null ? [{ place, maxBytesOf: codec.maxBytesOf }] : [],
    ),
    maxBytes: columns.reduce(
      (sum, column, place) =>
        sum +
        column.name.length +
        Math.max(codecs[place]!.maxBytes ?? 0, column.writeDefault?.length ?? 0, NULL.length),
      0,
    ),
  };
}

/**
 * Writes `"name":value` of the columns from `first` to before `end`, those that are not set left out.
 * @param cells an image of the batch's rows: its own, or that of before
 */
export function writeColumns(
  out: Buffer,
  at: number,
  batch: ChangeBatch,
  cells: Int32Array,
  row: number,
  text: RowText,
  first: number,
  end: number,
): number {
  const { rows, indirect } = batch;
  const base = row * text.columns.length;
  for (let place = first; place < end; place++) {
    const cell = cells[base + place]!;
    if (cell === Cell.UNSET) continue;
    const column = text.columns[place]!;
    at = copy(out, at, column.name);
    if (cell >= 0) at = column.write(out, at, rows, cell, indirect);
    else if (cell === Cell.NULL) at = copy(out, at, NULL);
    else if (cell === Cell.DEFAULT) at = writeDefault(out, at, column);
    else at = writeAutoIncrement(out, at, batch.autoIncrement![row]!);
  }
  return at;
}

function writeDefault(out: Buffer, at: number, { writeDefault: text, write, defaultCell }: ColumnText): number {
  return text === null ? write(out, at, defaultCell, 0, NOTHING) : copy(out, at, text);
}

/** What becomes of a NaN counts, or is refused, at each row and not here. */
function defaultText(column: ColumnSchema, codec: CellCodec): Buffer | null {
  const { type, writeDefault: value } = column;
  if (value === null) return NULL;
  if (type === DataType.FLOAT || type === DataType.DOUBLE) return null;
  return defaultToJson(column, value, codec);
}

/** Writes the columns of the key as an object. */
export function writeKey(out: Buffer, at: number, batch: ChangeBatch, row: number, text: RowText): number {
  out[at] = BRACE_OPEN;
  at = writeColumns(out, at + 1, batch, batch.cells, row, text, 0, text.keyColumns);
  out[at] = BRACE_CLOSE;
  return at + 1;
}

/** What the var-length values of an image of a row take at most. */
export function varLengthBytes(text: RowText, batch: ChangeBatch, cells: Int32Array, row: number): number {
  let bytes = 0;
  const base = row * text.columns.length;
  for (const { place, maxBytesOf } of text.varLength) {
    const cell = cells[base + place]!;
    if (cell >= 0) bytes += maxBytesOf(batch.rows.readUInt32LE(cell + 8));
  }
  return bytes;
}
