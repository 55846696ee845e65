import { DataType, type ColumnSchema } from '../kudu/schema.ts';
import { writeLatin1 } from '../util/ascii-numbers.ts';
import { cellCodec, defaultToJson, type CellCodec } from './json-cells.ts';
import { canonicalText } from './json-values.ts';

/*
 * The canonical text of a value: the same for the same value, whoever wrote it and in whatever format, so that values are
 * compared as bytes. It is the JSON of docs/records.md as `JSON.stringify` writes it, but for the numbers with a point:
 * these are as JavaScript prints them, and `NaN`, `Infinity` and `-Infinity` stand without quotes.
 */

/** Of a value that is null. */
export const NULL_TEXT = 'null';

/** Writes the canonical text of the cells of a column. @throws {RangeError} as {@link cellCodec} */
export function canonicalCodec(column: ColumnSchema): CellCodec {
  const codec = cellCodec(column);
  const { type } = column;
  if (type !== DataType.FLOAT && type !== DataType.DOUBLE) return codec;
  return {
    ...codec,
    write: (out, at, rows, cell, indirect) => {
      const end = codec.write(out, at, rows, cell, indirect);
      return writeLatin1(out, at, canonicalText(type, out.toString('latin1', at, end)));
    },
  };
}

/** The canonical text of a default, which is kept in the form of a cell; null for none. */
export function canonicalDefault(column: ColumnSchema, value: Buffer | null): Buffer {
  const json = value === null ? NULL_TEXT : defaultToJson(column, value).toString();
  return Buffer.from(canonicalText(column.type, json));
}

/** The JSON of a canonical text. */
export function canonicalToJson(text: string): string {
  return text === 'NaN' || text === 'Infinity' || text === '-Infinity' ? `"${text}"` : text;
}
