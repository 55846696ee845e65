import { Cell, type ChangeBatch, type TabletRef } from '../../src/change/change.ts';
import { encodeCell, isVarLength, type CellInput, decodeCell, cellBytes } from '../../src/kudu/cell-codec.ts';
import type { TableSchema } from '../../src/kudu/schema.ts';

/** A row by its columns; one that is not named is not set. */
export type RowValues = Readonly<Record<string, CellInput>>;

export interface ImagedRow {
  /** RowOp or CopyOp. */
  readonly op: number;
  /** What its cells say: the whole row after, of a delete its key. */
  readonly values: RowValues;
  /** The row before; null where there was none. */
  readonly before?: RowValues | null;
}

export const IMAGED_TABLET: TabletRef = { tableId: 'table1', tabletId: 'tablet1', tableName: 'shop.orders' };

/** A batch as a format is given it, images and all. @param more what is otherwise; `before: null` for no images */
export function imagedBatch(
  schema: TableSchema,
  rows: readonly ImagedRow[],
  more: Partial<ChangeBatch> = {},
): ChangeBatch {
  const writer = new CellWriter(schema);
  const cells = rows.flatMap(({ values }) => writer.row(values));
  // Of a row that was not there the cells mean nothing.
  const before = rows.flatMap(({ before }) => (before ? writer.row(before) : schema.columns.map((_, place) => place)));
  return {
    kind: 'rows',
    tablet: IMAGED_TABLET,
    opId: { term: 1n, index: 1n },
    hybridTime: 7353716506897408000n,
    copy: null,
    schema,
    rowCount: rows.length,
    ops: Uint8Array.from(rows, ({ op }) => op),
    rowIndexes: Int32Array.from(rows.keys()),
    cells: Int32Array.from(cells),
    ...writer.bytes(),
    autoIncrement: null,
    before: {
      present: Uint8Array.from(rows, (row) => Number(row.before !== undefined && row.before !== null)),
      cells: Int32Array.from(before),
    },
    partial: null,
    ...more,
  };
}

/** The values of a row of a batch; a column that is not set is not there. */
export function valuesOf(batch: ChangeBatch, row: number, cells = batch.cells): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  const { columns } = batch.schema;
  for (const [place, column] of columns.entries()) {
    const cell = cells[row * columns.length + place]!;
    if (cell === Cell.UNSET) continue;
    if (cell === Cell.NULL) values[column.name] = null;
    else if (cell === Cell.DEFAULT) values[column.name] = decodeCell(column, column.writeDefault!);
    else if (cell === Cell.AUTO) values[column.name] = batch.autoIncrement![row];
    else if (isVarLength(column.type)) {
      const from = batch.rows.readUInt32LE(cell);
      values[column.name] = decodeCell(column, batch.indirect.subarray(from, from + batch.rows.readUInt32LE(cell + 8)));
    } else values[column.name] = decodeCell(column, batch.rows.subarray(cell, cell + cellBytes(column.type)));
  }
  return values;
}

/** Bytes of somebody else's lie before, between and behind the cells. */
class CellWriter {
  readonly #schema: TableSchema;
  #rows = Buffer.from('other');
  #indirect = Buffer.from('others');

  constructor(schema: TableSchema) {
    this.#schema = schema;
  }

  row(values: RowValues): number[] {
    return this.#schema.columns.map((column) => {
      const value = values[column.name];
      if (value === undefined) return Cell.UNSET;
      if (value === null) return Cell.NULL;
      let bytes = encodeCell(column, value);
      if (isVarLength(column.type)) {
        const pointer = Buffer.alloc(16);
        pointer.writeUInt32LE(this.#indirect.length, 0);
        pointer.writeUInt32LE(bytes.length, 8);
        this.#indirect = Buffer.concat([this.#indirect, bytes, Buffer.from('x')]);
        bytes = pointer;
      }
      const at = this.#rows.length;
      this.#rows = Buffer.concat([this.#rows, bytes, Buffer.from('y')]);
      return at;
    });
  }

  bytes(): { readonly rows: Buffer; readonly indirect: Buffer } {
    return { rows: this.#rows, indirect: this.#indirect };
  }
}
