import { Cell, type ChangeBatch } from '../change/change.ts';
import { canonicalCodec, canonicalDefault, NULL_TEXT } from '../formats/canonical.ts';
import type { TableSchema } from '../kudu/schema.ts';

/** Writes the columns of a row by which it is placed. The bytes are valid until the next call. */
export type RouteWriter = (batch: ChangeBatch, row: number) => Buffer;

/**
 * The JSON object of some columns, in the order in which they are named: `{"region":"eu","id":7}`, the values as the
 * canonical text has them, whatever the stream's format. Of a column that neither an operation nor an image says, nothing is
 * in it.
 */
export function compileRoute(schema: TableSchema, names: readonly string[]): RouteWriter {
  const columns = names.map((name) => {
    const place = schema.columns.findIndex((column) => column.name === name);
    const column = schema.columns[place]!;
    return {
      place,
      codec: canonicalCodec(column),
      label: JSON.stringify(name),
      ofDefault: canonicalDefault(column, column.writeDefault),
    };
  });
  const width = schema.columns.length;
  let out = Buffer.allocUnsafe(256);
  return (batch, row) => {
    const { rows, indirect, cells, before, autoIncrement } = batch;
    let at = 0;
    const text = (written: string): void => {
      reserve(written.length * 3);
      at += out.write(written, at);
    };
    const reserve = (bytes: number): void => {
      if (at + bytes <= out.length) return;
      const larger = Buffer.allocUnsafe(2 * (at + bytes));
      out.copy(larger, 0, 0, at);
      out = larger;
    };
    for (const { place, codec, label, ofDefault } of columns) {
      let cell = cells[row * width + place]!;
      if (cell === Cell.UNSET && before?.present[row] === 1) cell = before.cells[row * width + place]!;
      if (cell === Cell.UNSET) continue;
      text(`${at === 0 ? '{' : ','}${label}:`);
      if (cell >= 0) {
        reserve(codec.maxBytes ?? codec.maxBytesOf(rows.readUInt32LE(cell + 8)));
        at = codec.write(out, at, rows, cell, indirect);
      } else if (cell === Cell.NULL) text(NULL_TEXT);
      else if (cell === Cell.DEFAULT) text(ofDefault.toString());
      else text(String(autoIncrement![row]));
    }
    text(at === 0 ? '{}' : '}');
    return out.subarray(0, at);
  };
}
