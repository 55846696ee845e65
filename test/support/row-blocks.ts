import { cellBytes, isVarLength } from '../../src/kudu/cell-codec.ts';
import { RowBlock } from '../../src/kudu/row-block.ts';
import type { TableSchema } from '../../src/kudu/schema.ts';

/** Rows as a scan answers them (kudu-facts 3.4); a cell is its bytes, a var-length one the value itself. */
export function blockOfRows(schema: TableSchema, rows: readonly (readonly (Buffer | null)[])[]): RowBlock {
  const hasNulls = schema.columns.some(({ nullable }) => nullable);
  const indirect: Buffer[] = [];
  let indirectAt = 0;
  const fixed = rows.flatMap((cells) => {
    const nulls = Buffer.alloc(Math.ceil(schema.columns.length / 8));
    const out = schema.columns.map(({ type }, place) => {
      const cell = cells[place] ?? null;
      if (cell === null) nulls[place >> 3]! |= 1 << (place & 7);
      if (!isVarLength(type)) return cell ?? Buffer.alloc(cellBytes(type));
      const pointer = Buffer.alloc(16);
      if (cell === null) return pointer;
      pointer.writeBigUInt64LE(BigInt(indirectAt), 0);
      pointer.writeBigUInt64LE(BigInt(cell.length), 8);
      indirect.push(cell);
      indirectAt += cell.length;
      return pointer;
    });
    return hasNulls ? [...out, nulls] : out;
  });
  return new RowBlock(schema, rows.length, Buffer.concat(fixed), Buffer.concat(indirect));
}
