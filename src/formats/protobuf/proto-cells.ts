import { DataType, type ColumnSchema } from '../../kudu/schema.ts';
import { writeUvarint } from '../../util/varints.ts';
import { avroCell } from '../avro/avro-cells.ts';
import type { CellCodec } from '../json-cells.ts';
import { bytesCodec, decimalDoubleCodec, decimalTextCodec, textCodec } from '../typed/text-cells.ts';
import type { ProtoTypes } from './proto-schema.ts';

/** Types of the wire, which every field says beside its number. */
export const Wire = { VARINT: 0, FIXED64: 1, RUN: 2, FIXED32: 5 } as const;

/** Numbers and booleans are in Avro as they are here: zigzag varints, and floating point numbers little-endian. */
const AS_AVRO = { decimals: 'precise', time: 'adaptive' } as const;

/** How the values of a column are written, without their tags. @throws {RangeError} a column of a type that has no rule */
export function protoCell(column: ColumnSchema, { decimals }: ProtoTypes): CellCodec {
  // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- Avro knows every other
  switch (column.type) {
    case DataType.STRING:
    case DataType.VARCHAR:
      return textCodec(column, writeUvarint);
    case DataType.BINARY:
      return bytesCodec(writeUvarint);
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return decimals === 'string' ? decimalTextCodec(column, writeUvarint) : decimalDoubleCodec(column);
    default:
      return avroCell(column, AS_AVRO);
  }
}

/** Which of {@link Wire} a column's values are. */
export function wireOf({ type }: ColumnSchema, { decimals }: ProtoTypes): number {
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
      return decimals === 'string' ? Wire.RUN : Wire.FIXED64;
    default:
      return Wire.VARINT;
  }
}

/** What stands before a value: the number of its field, and how it is written. */
export function tagOf(number: number, wire: number): Buffer {
  const out = Buffer.alloc(5);
  return out.subarray(0, writeUvarint(out, 0, (number << 3) | wire));
}
