import { cellBytes } from '../kudu/cell-codec.ts';
import { DataType, type ColumnSchema } from '../kudu/schema.ts';
import { decodeRawString } from './raw-json.ts';

/*
 * What the JSON of a value in a record means, by the type of its column: other programs may have printed it otherwise than
 * we do.
 */

/** The canonical text (canonical.ts) of a value. @throws {SyntaxError} a string that is none */
export function canonicalText(type: DataType, raw: string): string {
  if (raw === 'null') return raw;
  if (type === DataType.FLOAT || type === DataType.DOUBLE) {
    const text = raw.startsWith('"') ? decodeRawString(raw) : raw;
    const number = Number(text);
    if (Number.isNaN(number) && text !== 'NaN') return raw; // a value of another type: different from any number
    return Object.is(number, -0) ? '-0' : String(number);
  }
  return raw.includes('\\') ? JSON.stringify(decodeRawString(raw)) : raw;
}

const WHOLE_NUMBER = /^-?\d+$/;
const NUMBER = /^(-?\d|"(NaN|-?Infinity)"$)/;
const DECIMAL = /^"-?\d+(\.\d+)?"$/;

/** How a record writes the values of a type; `none`, of a type that no column of a table has. */
function formOf(type: DataType): 'text' | 'base64' | 'bool' | 'number' | 'decimal' | 'integer' | 'none' {
  switch (type) {
    case DataType.STRING:
    case DataType.VARCHAR:
      return 'text';
    case DataType.BINARY:
      return 'base64';
    case DataType.BOOL:
      return 'bool';
    case DataType.FLOAT:
    case DataType.DOUBLE:
      return 'number';
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return 'decimal';
    case DataType.INT8:
    case DataType.INT16:
    case DataType.INT32:
    case DataType.INT64:
    case DataType.INT128:
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.UNIXTIME_MICROS:
    case DataType.DATE:
      return 'integer';
    case DataType.IS_DELETED:
      return 'none';
  }
}

/** Whether the text of a record can be a value of a column of that type; `null` can be one of any. */
export function isOfType(type: DataType, raw: string): boolean {
  if (raw === 'null') return true;
  switch (formOf(type)) {
    case 'text':
    case 'base64':
      return raw.startsWith('"');
    case 'bool':
      return raw === 'true' || raw === 'false';
    case 'number':
      return NUMBER.test(raw);
    case 'decimal':
      return DECIMAL.test(raw);
    case 'integer':
      return WHOLE_NUMBER.test(raw);
    case 'none':
      return false;
  }
}

/**
 * The bytes of a cell as a scan gives them. Not the client's `encodeCell`, which refuses what Kudu has stored all the same:
 * strings that are no UTF-8 or too long, decimals of too many digits.
 * @throws {SyntaxError} a text that is no value of a key column of that type
 */
export function keyCell({ type }: ColumnSchema, raw: string): Buffer {
  switch (formOf(type)) {
    case 'text':
      return bytesOfText(stringOf(raw));
    case 'base64':
      return Buffer.from(stringOf(raw), 'base64');
    case 'bool':
      if (raw !== 'true' && raw !== 'false') throw misfit(type);
      return Buffer.from([raw === 'true' ? 1 : 0]);
    case 'decimal':
      return integer(type, stringOf(raw).replace('.', ''));
    case 'integer':
      return integer(type, raw);
    case 'number':
    case 'none':
      throw misfit(type);
  }
}

function stringOf(raw: string): string {
  if (!raw.startsWith('"')) throw new SyntaxError('a key has a value that is no string');
  return decodeRawString(raw);
}

/** Undoes what json-bytes.ts does with bytes that are no UTF-8: each is a lone low surrogate. */
function bytesOfText(text: string): Buffer {
  if (!LONE.test(text)) return Buffer.from(text);
  return Buffer.concat(
    Array.from(text, (char) => {
      const code = char.codePointAt(0)!;
      return code >= 0xdc80 && code <= 0xdcff ? Buffer.from([code & 0xff]) : Buffer.from(char);
    }),
  );
}

const LONE = /\p{Surrogate}/u;

function integer(type: DataType, digits: string): Buffer {
  if (!/^-?\d{1,40}$/.test(digits)) throw misfit(type);
  const size = cellBytes(type);
  const bytes = Buffer.alloc(size);
  if (size <= 4) {
    const value = Number(digits);
    if (value < -(2 ** (size * 8 - 1)) || value >= 2 ** (size * 8)) throw misfit(type);
    bytes.writeUIntLE(value < 0 ? value + 2 ** (size * 8) : value, 0, size);
    return bytes;
  }
  const value = BigInt(digits);
  const bits = BigInt(size * 8);
  if (value < -(1n << (bits - 1n)) || value >= 1n << bits) throw misfit(type);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value), 0);
  if (size === 16) bytes.writeBigUInt64LE(BigInt.asUintN(64, value >> 64n), 8);
  return bytes;
}

function misfit(type: DataType): SyntaxError {
  return new SyntaxError(`a key has a value that is none of Kudu's data type ${type}`);
}
