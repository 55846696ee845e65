import { DataType, type ColumnSchema } from '../../kudu/schema.ts';
import { writeUvarint } from '../../util/varints.ts';
import { avroCell } from '../avro/avro-cells.ts';
import { MAX_BIG_ENDIAN_BYTES, writeBigEndian } from '../big-endian.ts';
import { MAX_ISO_CHARS, writeIsoDate, writeIsoMicros } from '../iso-time.ts';
import type { CellCodec } from '../json-cells.ts';
import {
  bytesCodec,
  decimalDoubleCodec,
  decimalTextCodec,
  fixed,
  shortTextCodec,
  textCodec,
} from '../typed/text-cells.ts';
import { DECIMAL, type ProtoTypes } from './proto-schema.ts';

/** Types of the wire, which every field says beside its number. */
export const Wire = { VARINT: 0, FIXED64: 1, RUN: 2, FIXED32: 5 } as const;

/** How the values of a column are written, without their tags. @throws {RangeError} a column of a type that has no rule */
export function protoCell(column: ColumnSchema, { decimals, time }: ProtoTypes): CellCodec {
  // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- Avro knows every other
  switch (column.type) {
    case DataType.STRING:
    case DataType.VARCHAR:
      return textCodec(column, writeUvarint);
    case DataType.BINARY:
      return bytesCodec(writeUvarint);
    case DataType.DECIMAL32:
      return decimalCodec(column, decimals, 4);
    case DataType.DECIMAL64:
      return decimalCodec(column, decimals, 8);
    case DataType.DECIMAL128:
      return decimalCodec(column, decimals, 16);
    case DataType.UNIXTIME_MICROS:
      if (time === 'isostring') return shortTextCodec(MAX_ISO_CHARS, writeIsoMicros, writeUvarint);
      break;
    case DataType.DATE:
      if (time === 'isostring') return shortTextCodec(MAX_ISO_CHARS, writeIsoDate, writeUvarint);
      break;
    default:
  }
  // Numbers and booleans are in Avro as they are here: zigzag varints, and floating point numbers little-endian.
  return avroCell(column, { decimals: 'precise', time });
}

function decimalCodec(column: ColumnSchema, decimals: ProtoTypes['decimals'], size: number): CellCodec {
  switch (decimals) {
    case 'string':
      return decimalTextCodec(column, writeUvarint);
    case 'double':
      return decimalDoubleCodec(column);
    case 'precise': {
      const { precision = 38, scale = 0 } = column;
      const valueTag = tagOf(DECIMAL.value, Wire.RUN)[0]!;
      // As other encoders have it: a number that is 0 is not written.
      const rest = Buffer.concat([
        tagOf(DECIMAL.precision, Wire.VARINT),
        Buffer.of(precision),
        ...(scale === 0 ? [] : [tagOf(DECIMAL.scale, Wire.VARINT), Buffer.of(scale)]),
      ]);
      return fixed(3 + MAX_BIG_ENDIAN_BYTES + rest.length, (out, at, rows, cell) => {
        const start = at + 3;
        let end = writeBigEndian(out, start, rows, cell, size);
        out[at + 1] = valueTag;
        out[at + 2] = end - start;
        for (let i = 0; i < rest.length; i++) out[end++] = rest[i]!;
        out[at] = end - at - 1;
        return end;
      });
    }
  }
}

/** Which of {@link Wire} a column's values are. */
export function wireOf({ type }: ColumnSchema, { decimals, time }: ProtoTypes): number {
  // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- all others are varints
  switch (type) {
    case DataType.FLOAT:
      return Wire.FIXED32;
    case DataType.DOUBLE:
      return Wire.FIXED64;
    case DataType.STRING:
    case DataType.VARCHAR:
    case DataType.BINARY:
      return Wire.RUN;
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return decimals === 'double' ? Wire.FIXED64 : Wire.RUN;
    case DataType.UNIXTIME_MICROS:
    case DataType.DATE:
      return time === 'isostring' ? Wire.RUN : Wire.VARINT;
    default:
      return Wire.VARINT;
  }
}

/** What stands before a value: the number of its field, and how it is written. */
export function tagOf(number: number, wire: number): Buffer {
  const out = Buffer.alloc(5);
  return out.subarray(0, writeUvarint(out, 0, (number << 3) | wire));
}
