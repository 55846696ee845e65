import { DataType, type ColumnSchema, type TableSchema } from '../../src/kudu/schema.ts';

/** A column of a type, NOT NULL and without a default unless told otherwise. */
export function column(name: string, type: DataType, rest: Partial<ColumnSchema> = {}): ColumnSchema {
  return {
    name,
    type,
    isKey: false,
    nullable: false,
    readDefault: null,
    writeDefault: null,
    immutable: false,
    autoIncrementing: false,
    comment: '',
    encoding: 0,
    compression: 0,
    ...rest,
  };
}

/** Every type that a user can make a column of; the first is the key. */
export const EVERY_TYPE: TableSchema = {
  columns: [
    column('int64', DataType.INT64, { isKey: true }),
    column('int8', DataType.INT8, { nullable: true }),
    column('int16', DataType.INT16, { nullable: true }),
    column('int32', DataType.INT32, { nullable: true }),
    column('bool', DataType.BOOL, { nullable: true }),
    column('float', DataType.FLOAT, { nullable: true }),
    column('double', DataType.DOUBLE, { nullable: true }),
    column('string', DataType.STRING, { nullable: true }),
    column('varchar', DataType.VARCHAR, { nullable: true, length: 20 }),
    column('binary', DataType.BINARY, { nullable: true }),
    column('time', DataType.UNIXTIME_MICROS, { nullable: true }),
    column('date', DataType.DATE, { nullable: true }),
    column('decimal32', DataType.DECIMAL32, { nullable: true, precision: 9, scale: 2 }),
    column('decimal64', DataType.DECIMAL64, { nullable: true, precision: 18, scale: 18 }),
    column('decimal128', DataType.DECIMAL128, { nullable: true, precision: 38, scale: 10 }),
  ],
};
