import { DataType } from '../kudu/schema.ts';

/** What a format has options for; `other`: it is written in one way. */
export type ValueKind = 'decimal' | 'time' | 'date' | 'binary' | 'float' | 'other';

const KINDS: ReadonlyMap<DataType, ValueKind> = new Map([
  [DataType.DECIMAL32, 'decimal'],
  [DataType.DECIMAL64, 'decimal'],
  [DataType.DECIMAL128, 'decimal'],
  [DataType.UNIXTIME_MICROS, 'time'],
  [DataType.DATE, 'date'],
  [DataType.BINARY, 'binary'],
  [DataType.FLOAT, 'float'],
  [DataType.DOUBLE, 'float'],
]);

export function valueKind(type: DataType): ValueKind {
  return KINDS.get(type) ?? 'other';
}
