import { Cell, type ChangeBatch, type RowsBefore } from '../change/change.ts';
import { isVarLength } from '../kudu/cell-codec.ts';
import { changedValue, endOfCharacters, type ColumnPlan, type ValueChange } from './column-plan.ts';

const POINTER_BYTES = 16;

/**
 * The rows of a batch as a plan shows them. Cells are laid anew, and the bytes that they lie in are the batch's own where no
 * value changes; else the part of them that its rows use is copied, with the new values behind it.
 */
export function projectRows(batch: ChangeBatch, plan: ColumnPlan): ChangeBatch {
  const { schema, places, changes } = plan;
  const width = batch.schema.columns.length;
  const { before } = batch;
  const projected: ChangeBatch = {
    ...batch,
    schema,
    cells: projectCells(batch.cells, width, places),
    before: before && { ...before, cells: projectCells(before.cells, width, places) },
  };
  if (projected.before) clearAbsent(projected.before, places.length);
  if (changes.every((change) => change === null)) return projected;
  const values = new ChangedValues(
    projected,
    changes.map((_, column) => isVarLength(batch.schema.columns[places[column]!]!.type)),
  );
  values.change(projected.cells, changes);
  if (projected.before) values.change(projected.before.cells, changes);
  return { ...projected, ...values.bytes() };
}

/** Where there was no row, its cells mean nothing, and must not be read. */
function clearAbsent({ present, cells }: RowsBefore, width: number): void {
  for (let row = 0; row < present.length; row++)
    if (present[row] === 0) cells.fill(Cell.UNSET, row * width, (row + 1) * width);
}

function projectCells(cells: Int32Array, width: number, places: Int32Array): Int32Array {
  const own = places.length;
  const rows = cells.length / width;
  const projected = new Int32Array(rows * own);
  for (let row = 0, at = 0; row < rows; row++)
    for (let column = 0; column < own; column++) projected[at++] = cells[row * width + places[column]!]!;
  return projected;
}

/** A part of some bytes, as far as it is used. */
class Window {
  from = Number.MAX_SAFE_INTEGER;
  to = 0;

  uses(from: number, to: number): void {
    if (from < this.from) this.from = from;
    if (to > this.to) this.to = to;
  }

  get length(): number {
    return Math.max(0, this.to - this.from);
  }
}

/** Bytes of rows in which values were changed. A cell that lies where another does is changed with it, and once. */
class ChangedValues {
  readonly #batch: ChangeBatch;
  readonly #isVar: readonly boolean[];
  readonly #rows = new Window();
  readonly #indirect = new Window();
  /** What lies behind the windows: cells and pointers, and the bytes of the latter. */
  readonly #newCells: Buffer[] = [];
  readonly #newValues: Buffer[] = [];
  #cellsEnd: number;
  #valuesEnd: number;
  /** Where the constant of a masked column lies. */
  readonly #masks = new Map<ValueChange, number>();
  /** Where the pointers to bytes that stay are: they move with these. */
  readonly #kept: number[] = [];

  /** @param isVar for each column of the batch whether its cells are pointers */
  constructor(batch: ChangeBatch, isVar: readonly boolean[]) {
    this.#batch = batch;
    this.#isVar = isVar;
    for (const cells of [batch.cells, batch.before?.cells ?? NO_CELLS]) this.#measure(cells);
    this.#cellsEnd = this.#rows.length;
    this.#valuesEnd = this.#indirect.length;
  }

  /** Puts the changed values behind what there is, and the cells where these are. */
  change(cells: Int32Array, changes: readonly (ValueChange | null)[]): void {
    const width = changes.length;
    const rowsFrom = this.#rows.from;
    for (let at = 0; at < cells.length; at++) {
      const cell = cells[at]!;
      if (cell < 0) continue;
      const column = at % width;
      const change = changes[column] ?? null;
      if (change !== null) cells[at] = this.#changed(change, cell, this.#isVar[column]!);
      else {
        if (this.#isVar[column]) this.#kept.push(cell);
        cells[at] = cell - rowsFrom;
      }
    }
  }

  bytes(): Pick<ChangeBatch, 'rows' | 'indirect'> {
    const { rows: ownRows, indirect: ownIndirect } = this.#batch;
    const rows = Buffer.concat([part(ownRows, this.#rows), ...this.#newCells]);
    for (const cell of this.#kept)
      rows.writeUInt32LE(ownRows.readUInt32LE(cell) - this.#indirect.from, cell - this.#rows.from);
    return { rows, indirect: Buffer.concat([part(ownIndirect, this.#indirect), ...this.#newValues]) };
  }

  /** A little more than is used may be counted: a cell is 16 bytes at most. */
  #measure(cells: Int32Array): void {
    const { rows } = this.#batch;
    const width = this.#isVar.length;
    for (let at = 0; at < cells.length; at++) {
      const cell = cells[at]!;
      if (cell < 0) continue;
      this.#rows.uses(cell, Math.min(rows.length, cell + POINTER_BYTES));
      if (!this.#isVar[at % width]) continue;
      const from = rows.readUInt32LE(cell);
      this.#indirect.uses(from, from + rows.readUInt32LE(cell + 8));
    }
  }

  #changed(change: ValueChange, cell: number, isVar: boolean): number {
    if (change.kind === 'mask') {
      const known = this.#masks.get(change);
      if (known !== undefined) return known;
      const at = isVar ? this.#addValue(change.bytes) : this.#addCell(change.bytes);
      this.#masks.set(change, at);
      return at;
    }
    const { rows, indirect } = this.#batch;
    const from = rows.readUInt32LE(cell);
    const to = from + rows.readUInt32LE(cell + 8);
    if (change.kind === 'truncate') {
      const end = endOfCharacters(indirect, from, to, change.characters);
      return this.#addPointer(from - this.#indirect.from, end - from);
    }
    return this.#addValue(changedValue(change, indirect.subarray(from, to)));
  }

  #addValue(bytes: Buffer): number {
    const from = this.#valuesEnd;
    this.#newValues.push(bytes);
    this.#valuesEnd += bytes.length;
    return this.#addPointer(from, bytes.length);
  }

  #addPointer(from: number, length: number): number {
    const pointer = Buffer.alloc(POINTER_BYTES);
    pointer.writeUInt32LE(from, 0);
    pointer.writeUInt32LE(length, 8);
    return this.#addCell(pointer);
  }

  #addCell(bytes: Buffer): number {
    const at = this.#cellsEnd;
    this.#newCells.push(bytes);
    this.#cellsEnd += bytes.length;
    return at;
  }
}

const NO_CELLS = new Int32Array(0);

function part(bytes: Buffer, { from, to, length }: Window): Buffer {
  return length === 0 ? Buffer.alloc(0) : bytes.subarray(from, to);
}
