import { cellBytes, isVarLength } from '../kudu/cell-codec.ts';
import { keyColumnsOf } from '../kudu/key-columns.ts';
import { encodeKeyCells } from '../kudu/key-encoder.ts';
import type { ColumnSchema } from '../kudu/schema.ts';
import { Cell, type ChangeBatch } from './change.ts';
import { sliceRows } from './slice-rows.ts';

/** The encoded primary key of a row of a batch. */
export function rowKey(batch: ChangeBatch, row: number): Buffer {
  const { columns, places } = keyColumnsOf(batch.schema);
  const base = row * batch.schema.columns.length;
  return encodeKeyCells(
    columns,
    places.map((place, i) => keyCell(batch, row, columns[i]!, batch.cells[base + place]!)),
  );
}

/** The rows of a batch that have one of these encoded primary keys, in hexadecimal, each as a batch of its own. */
export function rowsWithKeys(batch: ChangeBatch, keys: ReadonlySet<string>): ChangeBatch[] {
  return Array.from({ length: batch.rowCount }, (_, row) => row)
    .filter((row) => keys.has(rowKey(batch, row).toString('hex')))
    .map((row) => sliceRows(batch, row, row + 1));
}

/** As a scan would give it. A key column is always set: by the writer, by its default or by Kudu's counter. */
function keyCell(batch: ChangeBatch, row: number, { type, writeDefault }: ColumnSchema, cell: number): Buffer {
  if (cell === Cell.DEFAULT) return writeDefault!;
  if (cell === Cell.AUTO) {
    const counter = Buffer.alloc(8);
    counter.writeBigInt64LE(batch.autoIncrement![row]!);
    return counter;
  }
  if (!isVarLength(type)) return batch.rows.subarray(cell, cell + cellBytes(type));
  const start = batch.rows.readUInt32LE(cell);
  return batch.indirect.subarray(start, start + batch.rows.readUInt32LE(cell + 8));
}
