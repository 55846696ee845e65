import { Cell, type ChangeBatch } from '../change/change.ts';
import { isVarLength } from '../kudu/cell-codec.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../kudu/schema.ts';
import { compileLike } from './like.ts';
import { literalBytes } from './literals.ts';
import { WhereError, type ColumnName, type Comparison, type Condition, type Literal } from './where-syntax.ts';

/** What a condition is for a row: a value that is NULL makes it neither true nor false. */
export const Truth = { FALSE: 0, TRUE: 1, UNKNOWN: -1 } as const;
export type Truth = (typeof Truth)[keyof typeof Truth];

/** A condition for the cells of a row, which are those of {@link ChangeBatch.cells} or of its images before. */
export type RowTest = (batch: ChangeBatch, row: number, cells: Int32Array) => Truth;

/**
 * Compares the value of a cell with a literal: negative, 0 or positive; NaN where neither is less, nor are they equal.
 * For one of fixed size the bytes are `bytes` from `at`; for another they are `bytes` from `at` to `to`.
 */
type Comparator = (bytes: Buffer, at: number, to: number) => number;
/** As {@link Comparator}, of a value that is there. */
type ValueTest = (bytes: Buffer, at: number, to: number) => boolean;

/** The names of the columns that a condition asks for. */
export function columnsOf(condition: Condition): Set<string> {
  if ('column' in condition) return new Set([condition.column.name]);
  const parts = condition.kind === 'not' ? [condition.of] : condition.of;
  return new Set(parts.flatMap((part) => [...columnsOf(part)]));
}

/**
 * Compiles a condition for the rows of a table.
 * @throws {WhereError} the table has no such column, or a literal is no value of its column
 */
export function compileWhere(condition: Condition, schema: TableSchema): RowTest {
  switch (condition.kind) {
    case 'and': {
      const [one, other] = condition.of.map((part) => compileWhere(part, schema)) as [RowTest, RowTest];
      return (batch, row, cells) => {
        const first = one(batch, row, cells);
        if (first === Truth.FALSE) return first;
        const second = other(batch, row, cells);
        return second === Truth.TRUE ? first : second;
      };
    }
    case 'or': {
      const [one, other] = condition.of.map((part) => compileWhere(part, schema)) as [RowTest, RowTest];
      return (batch, row, cells) => {
        const first = one(batch, row, cells);
        if (first === Truth.TRUE) return first;
        const second = other(batch, row, cells);
        return second === Truth.FALSE ? first : second;
      };
    }
    case 'not': {
      const test = compileWhere(condition.of, schema);
      return (batch, row, cells) => {
        const truth = test(batch, row, cells);
        return truth === Truth.UNKNOWN ? truth : truth === Truth.TRUE ? Truth.FALSE : Truth.TRUE;
      };
    }
    case 'null': {
      const { place, width } = placeOf(condition.column, schema);
      return (_, row, cells) => (isNull(cells[row * width + place]!) ? Truth.TRUE : Truth.FALSE);
    }
    case 'compare': {
      const { column } = placeOf(condition.column, schema);
      return compileValue(condition.column, schema, comparing(column, condition.by, condition.with));
    }
    case 'in': {
      const { column } = placeOf(condition.column, schema);
      const tests = condition.of.map((literal) => comparing(column, '=', literal));
      return compileValue(condition.column, schema, (bytes, at, to) => tests.some((test) => test(bytes, at, to)));
    }
    case 'like': {
      const { column } = placeOf(condition.column, schema);
      if (column.type !== DataType.STRING && column.type !== DataType.VARCHAR)
        throw new WhereError(`LIKE is for STRING and VARCHAR columns`, condition.column.at);
      return compileValue(condition.column, schema, likeOf(condition.pattern));
    }
  }
}

function placeOf(
  { name, at }: ColumnName,
  { columns }: TableSchema,
): { column: ColumnSchema; place: number; width: number } {
  const place = columns.findIndex((column) => column.name === name);
  const column = columns[place];
  if (!column) throw new WhereError(`the table has no column ${JSON.stringify(name)}`, at);
  return { column, place, width: columns.length };
}

function isNull(cell: number): boolean {
  return cell === Cell.NULL || cell === Cell.UNSET;
}

/** Applies a test to what the cell has, wherever that lies. */
function compileValue(name: ColumnName, schema: TableSchema, test: ValueTest): RowTest {
  const { column, place, width } = placeOf(name, schema);
  const { writeDefault } = column;
  const isVar = isVarLength(column.type);
  const ofDefault = writeDefault === null ? Truth.UNKNOWN : truthOf(test(writeDefault, 0, writeDefault.length));
  const counter = Buffer.alloc(8);
  return (batch, row, cells) => {
    const cell = cells[row * width + place]!;
    if (cell >= 0) {
      if (!isVar) return truthOf(test(batch.rows, cell, 0));
      const from = batch.rows.readUInt32LE(cell);
      return truthOf(test(batch.indirect, from, from + batch.rows.readUInt32LE(cell + 8)));
    }
    if (cell === Cell.DEFAULT) return ofDefault;
    if (cell !== Cell.AUTO) return Truth.UNKNOWN;
    counter.writeBigInt64LE(batch.autoIncrement![row]!);
    return truthOf(test(counter, 0, 0));
  };
}

function truthOf(is: boolean): Truth {
  return is ? Truth.TRUE : Truth.FALSE;
}

function likeOf(pattern: Literal): ValueTest {
  if (pattern.kind !== 'text') throw new WhereError('LIKE takes a text in single quotes', pattern.at);
  try {
    return compileLike(pattern.text);
  } catch (error) {
    if (error instanceof RangeError) throw new WhereError(error.message, pattern.at);
    throw error;
  }
}

function comparing(column: ColumnSchema, by: Comparison, literal: Literal): ValueTest {
  const compare = comparator(column, literalBytes(column, literal));
  if (column.type === DataType.BOOL && by !== '=' && by !== '!=')
    throw new WhereError('a BOOL is compared by = and != alone', literal.at);
  switch (by) {
    case '=':
      return (bytes, at, to) => compare(bytes, at, to) === 0;
    case '!=':
      return (bytes, at, to) => compare(bytes, at, to) !== 0;
    case '<':
      return (bytes, at, to) => compare(bytes, at, to) < 0;
    case '<=':
      return (bytes, at, to) => compare(bytes, at, to) <= 0;
    case '>':
      return (bytes, at, to) => compare(bytes, at, to) > 0;
    case '>=':
      return (bytes, at, to) => compare(bytes, at, to) >= 0;
  }
}

/** Strings compare by their bytes, as Kudu orders them. */
function comparator({ type }: ColumnSchema, literal: Buffer): Comparator {
  switch (type) {
    case DataType.STRING:
    case DataType.VARCHAR:
    case DataType.BINARY:
      return (bytes, at, to) => bytes.compare(literal, 0, literal.length, at, to);
    case DataType.FLOAT:
      return byNumber((bytes, at) => bytes.readFloatLE(at), literal);
    case DataType.DOUBLE:
      return byNumber((bytes, at) => bytes.readDoubleLE(at), literal);
    case DataType.BOOL:
      return byNumber((bytes, at) => Number(bytes[at] !== 0), literal);
    case DataType.INT8:
      return byNumber((bytes, at) => bytes.readInt8(at), literal);
    case DataType.INT16:
      return byNumber((bytes, at) => bytes.readInt16LE(at), literal);
    case DataType.INT32:
    case DataType.INT64:
    case DataType.INT128:
    case DataType.DATE:
    case DataType.UNIXTIME_MICROS:
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return byWords(literal);
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.IS_DELETED:
      throw new RangeError('no table has columns of that type');
  }
}

function byNumber(read: (bytes: Buffer, at: number) => number, literal: Buffer): Comparator {
  const value = read(literal, 0);
  return (bytes, at) => read(bytes, at) - value;
}

/** A whole number of 4, 8 or 16 bytes: the highest 32 bits have the sign. */
function byWords(literal: Buffer): Comparator {
  const last = literal.length - 4;
  const high = literal.readInt32LE(last);
  return (bytes, at) => {
    const difference = bytes.readInt32LE(at + last) - high;
    if (difference !== 0) return difference;
    for (let word = last - 4; word >= 0; word -= 4) {
      const lower = bytes.readUInt32LE(at + word) - literal.readUInt32LE(word);
      if (lower !== 0) return lower;
    }
    return 0;
  };
}
