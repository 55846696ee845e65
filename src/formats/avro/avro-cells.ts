import { isUtf8 } from 'node:buffer';
import { DataType, type ColumnSchema } from '../../kudu/schema.ts';
import { copyBytes } from '../../util/byte-arena.ts';
import {
  MAX_VARINT32_BYTES,
  MAX_VARINT64_BYTES,
  writeZigzag32,
  writeZigzag64,
  writeZigzagBigInt,
} from '../../util/varints.ts';
import { cellCodec, type CellCodec, type CellWriter } from '../json-cells.ts';
import { MAX_BIG_ENDIAN_BYTES, writeBigEndian } from '../big-endian.ts';
import { MAX_ISO_CHARS, microsToMillis, writeIsoDate, writeIsoMicros } from '../iso-time.ts';
import type { TypeOptions } from './avro-types.ts';

/**
 * How the values of a column become Avro, without the branch of a union: as {@link avroType} says.
 * @throws {RangeError} a column of a type that has no rule. The writers throw {@link RangeError} where a text is no UTF-8
 */
export function avroCell(column: ColumnSchema, { decimals, time }: TypeOptions): CellCodec {
  switch (column.type) {
    case DataType.BOOL:
      return fixed(1, (out, at, rows, cell) => {
        out[at] = rows[cell] === 0 ? 0 : 1;
        return at + 1;
      });
    case DataType.INT8:
      return fixed(2, (out, at, rows, cell) => writeZigzag32(out, at, (rows[cell]! << 24) >> 24));
    case DataType.INT16:
      return fixed(3, (out, at, rows, cell) => writeZigzag32(out, at, ((rows[cell + 1]! << 24) >> 16) | rows[cell]!));
    case DataType.INT32:
      return fixed(MAX_VARINT32_BYTES, writeInt);
    case DataType.INT64:
      return fixed(MAX_VARINT64_BYTES, writeLong);
    case DataType.FLOAT:
      return fixed(4, (out, at, rows, cell) => copyFew(out, at, rows, cell, 4));
    case DataType.DOUBLE:
      return fixed(8, (out, at, rows, cell) => copyFew(out, at, rows, cell, 8));
    case DataType.STRING:
    case DataType.VARCHAR:
      return { write: textWriter(column.name), maxBytes: null, maxBytesOf: lengthPrefixed };
    case DataType.BINARY:
      return { write: writeBytes, maxBytes: null, maxBytesOf: lengthPrefixed };
    case DataType.UNIXTIME_MICROS:
      if (time === 'adaptive') return fixed(MAX_VARINT64_BYTES, writeLong);
      return time === 'connect' ? fixed(MAX_VARINT64_BYTES, writeMillis) : shortText(MAX_ISO_CHARS, writeIsoMicros);
    case DataType.DATE:
      return time === 'isostring' ? shortText(MAX_ISO_CHARS, writeIsoDate) : fixed(MAX_VARINT32_BYTES, writeInt);
    case DataType.DECIMAL32:
      return decimalCodec(column, decimals, 4);
    case DataType.DECIMAL64:
      return decimalCodec(column, decimals, 8);
    case DataType.DECIMAL128:
      return decimalCodec(column, decimals, 16);
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new RangeError(`column ${JSON.stringify(column.name)} has Kudu's data type ${column.type}`);
  }
}

/** A default as it would be written, where it is kept in the form of a cell, a var-length one as the bytes themselves. */
export function defaultBytes({ write, maxBytes, maxBytesOf }: CellCodec, value: Buffer): Buffer {
  const out = Buffer.alloc(maxBytesOf(value.length));
  if (maxBytes !== null) return out.subarray(0, write(out, 0, value, 0, value));
  const pointer = Buffer.alloc(16);
  pointer.writeUInt32LE(value.length, 8);
  return out.subarray(0, write(out, 0, pointer, 0, value));
}

/** What a format says of bytes that no text of it may hold. */
export function notUtf8(column: string): RangeError {
  return new RangeError(
    `column ${JSON.stringify(column)} holds bytes that are no UTF-8, which this format has no text for`,
  );
}

function fixed(maxBytes: number, write: CellWriter): CellCodec {
  return { write, maxBytes, maxBytesOf: () => maxBytes };
}

function lengthPrefixed(valueBytes: number): number {
  return MAX_VARINT32_BYTES + valueBytes;
}

function writeInt(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeZigzag32(out, at, readInt32(rows, cell));
}

function writeLong(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeZigzag64(out, at, readInt32(rows, cell + 4), readInt32(rows, cell));
}

function writeMillis(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeZigzagBigInt(out, at, microsToMillis(rows.readBigInt64LE(cell)));
}

function writeBytes(out: Buffer, at: number, rows: Buffer, cell: number, indirect: Buffer): number {
  const from = readInt32(rows, cell);
  const length = readInt32(rows, cell + 8);
  return copyBytes(out, writeZigzag32(out, at, length), indirect, from, from + length);
}

/** Below so many bytes a loop that looks at each is faster than a call into the engine. */
const FEW_BYTES = 64;

function textWriter(column: string): CellWriter {
  return (out, at, rows, cell, indirect) => {
    const from = readInt32(rows, cell);
    const end = from + readInt32(rows, cell + 8);
    at = writeZigzag32(out, at, end - from);
    if (end - from >= FEW_BYTES) {
      const text = indirect.subarray(from, end);
      if (!isUtf8(text)) throw notUtf8(column);
      out.set(text, at);
      return at + text.length;
    }
    let bits = 0;
    for (let i = from; i < end; i++) {
      const byte = indirect[i]!;
      bits |= byte;
      out[at++] = byte;
    }
    if (bits >= 0x80 && !isUtf8(indirect.subarray(from, end))) throw notUtf8(column);
    return at;
  };
}

/** A text whose length takes one byte. */
function shortText(maxChars: number, write: CellWriter): CellCodec {
  return fixed(1 + maxChars, (out, at, rows, cell, indirect) => {
    const end = write(out, at + 1, rows, cell, indirect);
    out[at] = 2 * (end - at - 1);
    return end;
  });
}

function decimalCodec(column: ColumnSchema, decimals: TypeOptions['decimals'], size: number): CellCodec {
  if (decimals === 'precise')
    return fixed(MAX_BIG_ENDIAN_BYTES, (out, at, rows, cell) => {
      const end = writeBigEndian(out, at + 1, rows, cell, size);
      out[at] = 2 * (end - at - 1);
      return end;
    });
  const json = cellCodec(column); // a quoted text of less than 62 characters
  if (decimals === 'string')
    return fixed(json.maxBytes!, (out, at, rows, cell, indirect) => {
      const end = json.write(out, at, rows, cell, indirect);
      out[at] = 2 * (end - at - 2);
      return end - 1;
    });
  const text = Buffer.alloc(json.maxBytes!);
  return fixed(8, (out, at, rows, cell, indirect) => {
    const end = json.write(text, 0, rows, cell, indirect);
    return out.writeDoubleLE(Number(text.toString('latin1', 1, end - 1)), at);
  });
}

function copyFew(out: Buffer, at: number, from: Buffer, start: number, count: number): number {
  for (let i = 0; i < count; i++) out[at + i] = from[start + i]!;
  return at + count;
}

function readInt32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
