import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { cellBytes, encodeCell, isVarLength, type CellInput } from './cell-codec.ts';
import { KuduError } from './errors.ts';
import { ColumnPredicatePBSchema, type ColumnPredicatePB } from './proto/common_pb.ts';
import { DataType, type ColumnSchema, type TableSchema } from './schema.ts';

type Value = Exclude<CellInput, null>;

/** A condition on one column; those of a scan all hold. A NULL cell matches `is-null` and nothing else. */
export type Predicate =
  | { readonly column: string; readonly is: '=' | '<' | '<=' | '>' | '>='; readonly value: Value }
  | { readonly column: string; readonly is: 'in'; readonly values: readonly Value[] }
  | { readonly column: string; readonly is: 'null' | 'not-null' };

/**
 * The predicate in Kudu's form: ranges are inclusive below and exclusive above, so that `<=` and `>` are moved by one
 * step of their type. `'none'`: no row can match.
 *
 * @throws {KuduError} `usage` for a column that the table has not, a value that does not fit, a range of BOOL
 */
export function predicateToPb(schema: TableSchema, predicate: Predicate): ColumnPredicatePB | 'none' {
  const column = schema.columns.find(({ name }) => name === predicate.column);
  if (!column) throw new KuduError('usage', `there is no column ${JSON.stringify(predicate.column)}`, { notRun: true });
  switch (predicate.is) {
    case '=':
      return build(column, { case: 'equality', value: { value: encodeCell(column, predicate.value) } });
    case 'in':
      if (predicate.values.length === 0) return 'none';
      return build(column, { case: 'inList', value: { values: sortedCells(column, predicate.values) } });
    case 'null':
      return column.nullable ? build(column, { case: 'isNull', value: {} }) : 'none';
    case 'not-null':
      return build(column, { case: 'isNotNull', value: {} });
    case '>=':
      return build(column, { case: 'range', value: { lower: encodeCell(column, predicate.value) } });
    case '<':
      return build(column, { case: 'range', value: { upper: encodeCell(column, predicate.value) } });
    case '>': {
      const lower = nextCell(column, predicate.value);
      return lower ? build(column, { case: 'range', value: { lower } }) : 'none';
    }
    case '<=': {
      const upper = nextCell(column, predicate.value);
      return build(column, upper ? { case: 'range', value: { upper } } : { case: 'isNotNull', value: {} });
    }
  }
}

function build(
  column: ColumnSchema,
  predicate: NonNullable<MessageInitShape<typeof ColumnPredicatePBSchema>['predicate']>,
): ColumnPredicatePB {
  return create(ColumnPredicatePBSchema, { column: column.name, predicate });
}

/** The server searches the list by halves, so it wants it sorted, in the order of the type, and without repetitions. */
function sortedCells(column: ColumnSchema, values: readonly Value[]): Buffer[] {
  const cells = values.map((value) => encodeCell(column, value)).sort((a, b) => compareCells(column, a, b));
  return cells.filter((cell, i) => i === 0 || compareCells(column, cells[i - 1]!, cell) !== 0);
}

function compareCells(column: ColumnSchema, a: Buffer, b: Buffer): number {
  if (isVarLength(column.type)) return a.compare(b);
  const [left, right] = [orderOf(column, a), orderOf(column, b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The smallest value above `value`, or null when there is none. */
function nextCell(column: ColumnSchema, value: Value): Buffer | null {
  const bytes = encodeCell(column, value);
  if (isVarLength(column.type)) return Buffer.concat([bytes, Buffer.from([0])]);
  if (column.type === DataType.BOOL) {
    if (bytes[0] === 1) return null;
    return Buffer.from([1]);
  }
  if (column.type === DataType.FLOAT || column.type === DataType.DOUBLE) return nextFloat(bytes);
  const bits = cellBytes(column.type) * 8;
  const next = integerOf(bytes) + 1n;
  return BigInt.asIntN(bits, next) === next ? integerBytes(next, bytes.length) : null;
}

function orderOf(column: ColumnSchema, bytes: Buffer): bigint | number {
  if (column.type === DataType.FLOAT) return bytes.readFloatLE(0);
  if (column.type === DataType.DOUBLE) return bytes.readDoubleLE(0);
  if (column.type === DataType.BOOL) return bytes[0]!;
  return integerOf(bytes);
}

/** The next float up is the next bit pattern up, or down on the negative side. Above Infinity there is nothing. */
function nextFloat(bytes: Buffer): Buffer | null {
  const value = bytes.length === 8 ? bytes.readDoubleLE(0) : bytes.readFloatLE(0);
  if (Number.isNaN(value) || value === Infinity) return null;
  if (value === 0) return integerBytes(1n, bytes.length);
  const pattern = integerOf(bytes);
  return integerBytes(value > 0 ? pattern + 1n : pattern - 1n, bytes.length);
}

function integerOf(bytes: Buffer): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return BigInt.asIntN(bytes.length * 8, value);
}

function integerBytes(value: bigint, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  let rest = BigInt.asUintN(size * 8, value);
  for (let i = 0; i < size; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytes;
}
