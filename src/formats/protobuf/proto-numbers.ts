import type { TableSchema } from '../../kudu/schema.ts';

/** Protocol Buffers keeps these to itself. */
const RESERVED_FROM = 19_000;
const RESERVED_COUNT = 1_000;

/**
 * Number of a column's field: its id in Kudu, which is never used again for another column of the table, so that what
 * was written before an ALTER means the same behind it. From 1 on, past what is reserved.
 */
export function fieldNumber(id: number): number {
  const number = id + 1;
  return number < RESERVED_FROM ? number : number + RESERVED_COUNT;
}

/** Numbers of all fields, in the order of the columns. @throws {RangeError} the schema's columns have no ids */
export function fieldNumbers({ columns }: TableSchema): number[] {
  return columns.map(({ id, name }) => {
    if (id === undefined) throw new RangeError(`column ${JSON.stringify(name)} has no id`);
    return fieldNumber(id);
  });
}
