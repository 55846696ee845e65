import { encodeCell, type CellInput } from '../kudu/cell-codec.ts';
import { KuduError } from '../kudu/errors.ts';
import { DataType, type ColumnSchema } from '../kudu/schema.ts';
import { WhereError, type Literal } from './where-syntax.ts';

/** A text is no value of its column; the message says what would be, and shows nothing of the text. */
export class MisfitError extends Error {
  override readonly name = 'MisfitError';
}

const DAY_MS = 86_400_000;
const WHOLE = /^-?\d+$/;
const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.(\d{1,6}))?)?)Z?)?$/;

/** The bytes of a literal of a condition, as {@link encodeCell} has them. @throws {WhereError} it is no value of the column */
export function literalBytes(column: ColumnSchema, { kind, text, at }: Literal): Buffer {
  try {
    return encode(column, valueOf(column, kind, text));
  } catch (error) {
    if (error instanceof MisfitError) throw new WhereError(error.message, at);
    throw error;
  }
}

/** The bytes of a value given as text alone: what a masked column shows. @throws {MisfitError} */
export function maskBytes(column: ColumnSchema, text: string): Buffer {
  const { type } = column;
  if (type === DataType.BINARY) return Buffer.from(text);
  if (type === DataType.STRING || type === DataType.VARCHAR) return encode(column, text);
  return encode(column, valueOf(column, kindOfMask(type, text), text));
}

function kindOfMask(type: DataType, text: string): Literal['kind'] {
  if (type === DataType.BOOL) return 'boolean';
  const isTime = type === DataType.DATE || type === DataType.UNIXTIME_MICROS;
  return isTime && !WHOLE.test(text) ? 'text' : 'number';
}

function encode(column: ColumnSchema, value: Exclude<CellInput, null>): Buffer {
  try {
    return encodeCell(column, value);
  } catch (error) {
    if (error instanceof KuduError) throw new MisfitError(error.message, { cause: error });
    throw error;
  }
}

/** What a literal of that kind is for a column. */
function valueOf(column: ColumnSchema, kind: Literal['kind'], text: string): Exclude<CellInput, null> {
  switch (column.type) {
    case DataType.STRING:
    case DataType.VARCHAR:
      if (kind === 'text') return text;
      throw misfit(column, "a text in single quotes: 'paid'");
    case DataType.BINARY:
      if (kind === 'bytes' && /^(?:[0-9a-fA-F]{2})*$/.test(text)) return Buffer.from(text, 'hex');
      throw misfit(column, "bytes in hexadecimal: X'00ff'");
    case DataType.BOOL:
      if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
      throw misfit(column, 'TRUE or FALSE');
    case DataType.FLOAT:
    case DataType.DOUBLE:
      return floatOf(column, kind, text);
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      if (kind === 'number') return text;
      throw misfit(column, 'a number');
    case DataType.DATE:
      return kind === 'number' ? wholeOf(column, text) : daysOf(column, kind, text);
    case DataType.UNIXTIME_MICROS:
      return kind === 'number' ? wholeOf(column, text) : microsOf(column, kind, text);
    case DataType.INT8:
    case DataType.INT16:
    case DataType.INT32:
    case DataType.INT64:
    case DataType.INT128:
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.IS_DELETED:
      if (kind === 'number') return wholeOf(column, text);
      throw misfit(column, 'a whole number');
  }
}

function wholeOf(column: ColumnSchema, text: string): bigint {
  if (WHOLE.test(text)) return BigInt(text);
  throw misfit(column, 'a whole number');
}

function floatOf(column: ColumnSchema, kind: Literal['kind'], text: string): number {
  const value = kind === 'number' && text.trim() !== '' ? Number(text) : NaN;
  if (Number.isFinite(value)) return value;
  throw misfit(column, 'a number');
}

function daysOf(column: ColumnSchema, kind: Literal['kind'], text: string): number {
  const ms = kind === 'text' && /^\d{4}-\d\d-\d\d$/.test(text) ? dayMs(text) : NaN;
  if (Number.isNaN(ms)) throw misfit(column, "a day, '2026-01-31', or a whole number of days since 1970");
  return ms / DAY_MS;
}

/** UTC, as Kudu has it. */
function microsOf(column: ColumnSchema, kind: Literal['kind'], text: string): bigint {
  const [, day, clock = '00:00', fraction = ''] = (kind === 'text' && TIME.exec(text)) || [];
  const start = day === undefined ? NaN : dayMs(day);
  const [hours = 0, minutes = 0, seconds = 0] = clock.split('.', 1)[0]!.split(':').map(Number);
  if (Number.isNaN(start) || hours > 23 || minutes > 59 || seconds > 59)
    throw misfit(column, "a time in UTC, '2026-01-31T12:00:00.5Z', or a whole number of microseconds since 1970");
  const wholeSeconds = start / 1000 + (hours * 60 + minutes) * 60 + seconds;
  return BigInt(wholeSeconds) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
}

/** NaN for a day that no calendar has; `Date.parse` takes some of these. */
function dayMs(day: string): number {
  const ms = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day) ? ms : NaN;
}

function misfit(column: ColumnSchema, wanted: string): MisfitError {
  return new MisfitError(`column ${JSON.stringify(column.name)} takes ${wanted}`);
}
