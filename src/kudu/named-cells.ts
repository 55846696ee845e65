import type { CellInput, CellValue } from './cell-codec.ts';

/*
 * Rows as objects by column names. A column may be called `constructor` or `__proto__`: what an object has of JavaScript
 * is no cell, and a cell is never JavaScript's.
 */

/** What the row itself has for a column. */
export function cellOf(row: Readonly<Record<string, CellInput | undefined>>, column: string): CellInput | undefined {
  return Object.hasOwn(row, column) ? row[column] : undefined;
}

export function rowOf<Value extends CellInput | CellValue>(
  cells: Iterable<readonly [column: string, value: Value]>,
): Record<string, Value> {
  return Object.fromEntries(cells);
}
