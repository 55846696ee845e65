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
  /** By their bytes, as {@link encodeCell} makes them. */
  | { readonly column: string; readonly is: 'in'; readonly cells: readonly Buffer[] }
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
      return inList(
        column,
        'cells' in predicate ? predicate.cells : predicate.values.map((v) => encodeCell(column, v)),
      );
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
function inList(column: ColumnSchema, cells: readonly Buffer[]): ColumnPredicatePB | 'none' {
  if (cells.length === 0) return 'none';
  const values = isVarLength(column.type)
    ? cells.toSorted((a, b) => a.compare(b))
    : cells
        .map((cell) => ({ cell, order: orderOf(column, cell) }))
        .sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0))
        .map(({ cell }) => cell);
  const distinct = values.filter((cell, i) => i === 0 || !isSame(column, values[i - 1]!, cell));
  return build(column, { case: 'inList', value: { values: distinct } });
}

/** In the type's order: -0 is 0. */
function isSame(column: ColumnSchema, a: Buffer, b: Buffer): boolean {
  return isVarLength(column.type) ? a.equals(b) : orderOf(column, a) === orderOf(column, b);
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
