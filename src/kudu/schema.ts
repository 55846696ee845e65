/**
 * Kudu's column types as it numbers them. Source: kudu/common/common.proto DataType.
 */
export const DataType = {
  UINT8: 0,
  INT8: 1,
  UINT16: 2,
  INT16: 3,
  UINT32: 4,
  INT32: 5,
  UINT64: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT: 10,
  DOUBLE: 11,
  BINARY: 12,
  UNIXTIME_MICROS: 13,
  INT128: 14,
  DECIMAL32: 15,
  DECIMAL64: 16,
  DECIMAL128: 17,
  IS_DELETED: 18,
  VARCHAR: 19,
  DATE: 20,
} as const;
export type DataType = (typeof DataType)[keyof typeof DataType];
export type DataTypeName = keyof typeof DataType;

/** In characters, by default. Source: kudu/master/catalog_manager.cc max_identifier_length. */
export const MAX_TABLE_NAME_LENGTH = 256;

export interface ColumnSchema {
  /** Never used again for another column of the table; absent in a schema that a client sends. */
  readonly id?: number;
  readonly name: string;
  readonly type: DataType;
  readonly isKey: boolean;
  readonly nullable: boolean;
  /** Cell bytes in the form of a row cell (var-length: the bytes themselves), or null for none. */
  readonly readDefault: Buffer | null;
  readonly writeDefault: Buffer | null;
  /** Decimals: digits in all, and digits after the point. */
  readonly precision?: number;
  readonly scale?: number;
  /** VARCHAR: characters. */
  readonly length?: number;
  readonly immutable: boolean;
  readonly autoIncrementing: boolean;
  readonly comment: string;
  /** Source: kudu/common/common.proto EncodingType, CompressionType; 0 and 0 mean the server's choice. */
  readonly encoding: number;
  readonly compression: number;
}

export interface TableSchema {
  readonly columns: readonly ColumnSchema[];
}
