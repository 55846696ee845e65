import { decimalToString } from '../../src/kudu/decimal.ts';
import { DataType, type TableSchema } from '../../src/kudu/schema.ts';
import { column, float32, float64, int128, int32, int64 } from './row-bytes.ts';

/** One column of every type that a user can make, the key first. */
export const EDGE_SCHEMA: TableSchema = {
  columns: [
    column('id', DataType.INT64, { isKey: true, id: 0 }),
    column('i8', DataType.INT8, { nullable: true, id: 1 }),
    column('i16', DataType.INT16, { nullable: true, id: 2 }),
    column('i32', DataType.INT32, { nullable: true, id: 3 }),
    column('i64', DataType.INT64, { nullable: true, id: 4 }),
    column('yes', DataType.BOOL, { nullable: true, id: 5 }),
    column('f32', DataType.FLOAT, { nullable: true, id: 6 }),
    column('f64', DataType.DOUBLE, { nullable: true, id: 7 }),
    column('text', DataType.STRING, { nullable: true, id: 8 }),
    column('short', DataType.VARCHAR, { nullable: true, id: 9, length: 20 }),
    column('bytes', DataType.BINARY, { nullable: true, id: 10 }),
    column('at', DataType.UNIXTIME_MICROS, { nullable: true, id: 11 }),
    column('day', DataType.DATE, { nullable: true, id: 12 }),
    column('d32', DataType.DECIMAL32, { nullable: true, id: 13, precision: 9, scale: 2 }),
    column('d64', DataType.DECIMAL64, { nullable: true, id: 14, precision: 18, scale: 18 }),
    column('d128', DataType.DECIMAL128, { nullable: true, id: 15, precision: 38, scale: 0 }),
  ],
};

const byte = (value: number): Buffer => Buffer.from([value & 0xff]);
const int16 = (value: number): Buffer => int32(value).subarray(0, 2);
const nan = Buffer.from('010000000000f87f', 'hex'); // with a payload

/** Cells at the edges of each type, by the column's name. */
export const EDGES: Readonly<Record<string, readonly Buffer[]>> = {
  id: [0n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)].map(int64),
  i8: [0, -1, 127, -128].map(byte),
  i16: [0, -1, 32767, -32768, 255, 256].map(int16),
  i32: [0, -1, 2 ** 31 - 1, -(2 ** 31), 63, 64, -64, -65].map(int32),
  i64: [0n, -1n, 2n ** 31n, 2n ** 32n, -(2n ** 32n), 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)].map(int64),
  yes: [byte(0), byte(1)],
  f32: [0, -0, 1.5, 3.4028234663852886e38, 1e-45, NaN, Infinity, -Infinity].map(float32),
  f64: [...[0, -0, 0.1, 5e-324, 1.7976931348623157e308, NaN, Infinity, -Infinity].map(float64), nan],
  text: ['', 'a', 'é"\\\n', '😀', '\0', '\u2028', 'x'.repeat(63), 'é'.repeat(32), 'ü'.repeat(10_000)].map((t) =>
    Buffer.from(t),
  ),
  short: ['', 'zwanzig Zeichen hier'].map((t) => Buffer.from(t)),
  bytes: [Buffer.alloc(0), Buffer.from([0, 0xff, 0x80]), Buffer.alloc(300, 0xfe)],
  at: [0n, -1n, 1795340944066750n, 253402300799999999n, -62135596800000000n].map(int64),
  day: [0, -1, 20786, 2932896, -719162].map(int32),
  d32: [0, -1, 999_999_999, -999_999_999, 127, 128, -128, -129].map(int32),
  d64: [0n, -1n, 999_999_999_999_999_999n, -999_999_999_999_999_999n].map(int64),
  d128: [0n, -1n, 10n ** 38n - 1n, 1n - 10n ** 38n, 255n, 256n, -256n, 2n ** 64n, -(2n ** 64n)].map(int128),
};

/** Rows in which each edge comes once, and one with nothing but nulls. */
export function edgeRows(): (Buffer | null)[][] {
  const names = EDGE_SCHEMA.columns.map(({ name }) => name);
  const count = Math.max(...names.map((name) => EDGES[name]!.length));
  const rows = Array.from({ length: count }, (_, row) => names.map((name) => EDGES[name]![row % EDGES[name]!.length]!));
  return [...rows, [int64(7n), ...names.slice(1).map(() => null)]];
}

/** What a cell of a type means, as numbers, bigints and text. */
export const EDGE_READERS: Readonly<Partial<Record<DataType, (cell: Buffer, scale: number) => unknown>>> = {
  [DataType.INT8]: (cell) => cell.readInt8(),
  [DataType.INT16]: (cell) => cell.readInt16LE(),
  [DataType.INT32]: (cell) => cell.readInt32LE(),
  [DataType.DATE]: (cell) => cell.readInt32LE(),
  [DataType.INT64]: (cell) => cell.readBigInt64LE(),
  [DataType.UNIXTIME_MICROS]: (cell) => cell.readBigInt64LE(),
  [DataType.BOOL]: (cell) => cell[0] === 1,
  [DataType.FLOAT]: (cell) => cell.readFloatLE(),
  [DataType.DOUBLE]: (cell) => cell.readDoubleLE(),
  [DataType.STRING]: (cell) => cell.toString(),
  [DataType.VARCHAR]: (cell) => cell.toString(),
  [DataType.BINARY]: (cell) => cell,
  [DataType.DECIMAL32]: (cell, scale) => decimalToString(BigInt(cell.readInt32LE()), scale),
  [DataType.DECIMAL64]: (cell, scale) => decimalToString(cell.readBigInt64LE(), scale),
  [DataType.DECIMAL128]: (cell, scale) =>
    decimalToString((cell.readBigInt64LE(8) << 64n) | cell.readBigUInt64LE(0), scale),
};
