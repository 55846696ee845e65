import { Cell, type ChangeBatch } from '../../src/change/change.ts';
import { isVarLength } from '../../src/kudu/cell-codec.ts';
import type { TestCell } from './row-bytes.ts';

/** An image by place in the schema; null: there is no row. A cell that is undefined is not set. */
export type TestImage = readonly TestCell[] | null;

/** A batch whose rows have whole images, as if they had been read from the table; of those that were deleted only `before`. */
export function withImages(
  batch: ChangeBatch,
  images: readonly { readonly before: TestImage; readonly after: TestImage }[],
  kind: 'after' | 'full',
): ChangeBatch {
  const { columns } = batch.schema;
  const rows = [batch.rows];
  const indirect = [batch.indirect];
  let [at, indirectAt] = [batch.rows.length, batch.indirect.length];
  const put = (cell: TestCell, place: number): number => {
    if (cell === undefined) return Cell.UNSET;
    if (cell === null) return Cell.NULL;
    const start = at;
    let bytes = cell;
    if (isVarLength(columns[place]!.type)) {
      bytes = Buffer.alloc(16);
      bytes.writeBigUInt64LE(BigInt(indirectAt), 0);
      bytes.writeBigUInt64LE(BigInt(cell.length), 8);
      indirect.push(cell);
      indirectAt += cell.length;
    }
    rows.push(bytes);
    at += bytes.length;
    return start;
  };
  const none = columns.map(() => Cell.UNSET);
  const cells = images.flatMap(({ after }, row) =>
    after ? after.map(put) : [...batch.cells.subarray(row * columns.length, (row + 1) * columns.length)],
  );
  const before = images.flatMap(({ before }) => (before ? before.map(put) : none));
  return {
    ...batch,
    cells: Int32Array.from(cells),
    rows: Buffer.concat(rows),
    indirect: Buffer.concat(indirect),
    before:
      kind === 'full'
        ? { present: Uint8Array.from(images, ({ before }) => Number(before !== null)), cells: Int32Array.from(before) }
        : null,
  };
}
