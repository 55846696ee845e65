import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { encodeCell, type CellInput } from './cell-codec.ts';
import { KuduError } from './errors.ts';
import {
  PartitionSchemaPBSchema,
  type PartitionSchemaPB,
  type RowOperationsPB,
  RowOperationsPBSchema,
} from './proto/common_pb.ts';
import type { AlterTableRequestPB_StepSchema, CreateTableRequestPBSchema } from './proto/master_pb.ts';
import { RowOperationsEncoder, RowOpType, type RowInput } from './row-operations.ts';
import { columnToPb, schemaToPb } from './schema-codec.ts';
import { DataType, type ColumnSchema, type TableSchema } from './schema.ts';

/** Source: kudu/common/common.proto EncodingType. */
export const ColumnEncoding = { AUTO: 0, PLAIN: 1, PREFIX: 2, RLE: 4, DICT: 5, BIT_SHUFFLE: 6 } as const;
/** Source: kudu/util/compression/compression.proto CompressionType. */
export const ColumnCompression = { DEFAULT: 0, NONE: 1, SNAPPY: 2, LZ4: 3, ZLIB: 4 } as const;

export type ColumnTypeName =
  | 'INT8'
  | 'INT16'
  | 'INT32'
  | 'INT64'
  | 'STRING'
  | 'BOOL'
  | 'FLOAT'
  | 'DOUBLE'
  | 'BINARY'
  | 'UNIXTIME_MICROS'
  | 'DECIMAL'
  | 'VARCHAR'
  | 'DATE';

/** A column to make. Key columns come first in a table, and are never nullable. */
export interface ColumnSpec {
  readonly name: string;
  readonly type: ColumnTypeName;
  readonly key?: boolean;
  /** Default: false. */
  readonly nullable?: boolean;
  /** What rows get that do not set it, and what existing rows show when the column is added. */
  readonly default?: Exclude<CellInput, null>;
  /** DECIMAL: 1 to 38 digits, of which `scale` stand after the point. */
  readonly precision?: number;
  readonly scale?: number;
  /** VARCHAR: 1 to 65535 characters. */
  readonly length?: number;
  readonly immutable?: boolean;
  readonly comment?: string;
  readonly encoding?: (typeof ColumnEncoding)[keyof typeof ColumnEncoding];
  readonly compression?: (typeof ColumnCompression)[keyof typeof ColumnCompression];
}

/** A bound of a range partition: values for the first, or all, of the range columns; empty for no bound. */
export interface RangePartitionSpec {
  readonly lower: RowInput;
  readonly upper: RowInput;
  /** Default: true. */
  readonly lowerInclusive?: boolean;
  /** Default: false. */
  readonly upperInclusive?: boolean;
  /** How this range is hashed (Kudu 1.17 and later). Default: as the table. */
  readonly hash?: readonly HashSpec[];
}

/** One dimension of hash partitioning. */
export interface HashSpec {
  readonly columns: readonly string[];
  readonly buckets: number;
  readonly seed?: number;
}

export interface TableSpec {
  readonly name: string;
  readonly columns: readonly ColumnSpec[];
  /**
   * Adds the key column `auto_incrementing_id`, which Kudu counts up by itself; the given key need not be unique then.
   */
  readonly autoIncrementing?: boolean;
  /** Dimensions of hash partitioning. Default: none. */
  readonly hash?: readonly HashSpec[];
  /** Range partitioning: the columns, and the ranges; without ranges there is one without bounds. Default: none. */
  readonly range?: { readonly columns: readonly string[]; readonly partitions?: readonly RangePartitionSpec[] };
  /** Default: the master's (3). */
  readonly numReplicas?: number;
  readonly owner?: string;
  readonly comment?: string;
  /** For example `kudu.table.history_max_age_sec`. */
  readonly extraConfigs?: Readonly<Record<string, string>>;
}

/** One step of an ALTER. All steps of a call are done together. */
export type AlterStep =
  | { readonly add: ColumnSpec }
  | { readonly drop: string }
  | { readonly rename: string; readonly to: string }
  /** The default of rows to come; null takes it away. */
  | { readonly changeDefault: string; readonly value: CellInput }
  | { readonly addRange: RangePartitionSpec }
  | { readonly dropRange: RangePartitionSpec };

export interface TableAlteration {
  readonly steps?: readonly AlterStep[];
  readonly renameTo?: string;
  readonly extraConfigs?: Readonly<Record<string, string>>;
}

/** Source: kudu/client/schema.cc KuduSchema::kAutoIncrementingColumnName. */
const AUTO_INCREMENTING_COLUMN = 'auto_incrementing_id';

/** Features that a master must have, so that an older one refuses instead of making another table. */
const MasterFeature = {
  RANGE_PARTITION_BOUNDS: 1,
  ADD_DROP_RANGE_PARTITIONS: 2,
  RANGE_SPECIFIC_HASH_SCHEMA: 8,
  IMMUTABLE_COLUMN_ATTRIBUTE: 10,
  AUTO_INCREMENTING_COLUMN: 11,
} as const;

/** @throws {KuduError} `usage` when the columns do not make a table */
function schemaOfSpec(spec: TableSpec): TableSchema {
  const keys = spec.columns.filter((column) => column.key);
  const values = spec.columns.filter((column) => !column.key);
  if (keys.length === 0) throw usage(`table ${JSON.stringify(spec.name)} has no key column`);
  const columns = keys.map(columnOfSpec);
  if (spec.autoIncrementing)
    columns.push({
      ...columnOfSpec({ name: AUTO_INCREMENTING_COLUMN, type: 'INT64', key: true }),
      autoIncrementing: true,
    });
  return { columns: [...columns, ...values.map(columnOfSpec)] };
}

function columnOfSpec(spec: ColumnSpec): ColumnSchema {
  if (spec.key && spec.nullable) throw usage(`key column ${JSON.stringify(spec.name)} cannot be nullable`);
  const column: ColumnSchema = {
    name: spec.name,
    type: typeOfSpec(spec),
    isKey: spec.key ?? false,
    nullable: spec.nullable ?? false,
    readDefault: null,
    writeDefault: null,
    ...(spec.type === 'DECIMAL' ? { precision: spec.precision ?? 0, scale: spec.scale ?? 0 } : {}),
    ...(spec.type === 'VARCHAR' ? { length: spec.length ?? 0 } : {}),
    immutable: spec.immutable ?? false,
    autoIncrementing: false,
    comment: spec.comment ?? '',
    encoding: spec.encoding ?? ColumnEncoding.AUTO,
    compression: spec.compression ?? ColumnCompression.DEFAULT,
  };
  if (spec.default === undefined) return column;
  const bytes = encodeCell(column, spec.default);
  return { ...column, readDefault: bytes, writeDefault: bytes };
}

/** @throws {KuduError} `usage` for what cannot be; the master refuses the rest */
export function createTableRequest(spec: TableSpec): {
  readonly request: MessageInitShape<typeof CreateTableRequestPBSchema>;
  readonly requiredFeatures: readonly number[];
} {
  const schema = schemaOfSpec(spec);
  const ranges = spec.range?.partitions ?? [];
  // As soon as one range is hashed in its own way, the master wants every range told with its hashing.
  const hasOwnHash = ranges.some(({ hash }) => hash !== undefined);
  const partitionSchema: PartitionSchemaPB = create(PartitionSchemaPBSchema, {
    hashSchema: (spec.hash ?? []).map(hashDimension),
    customHashSchemaRanges: (hasOwnHash ? ranges : []).map((range) => ({
      rangeBounds: rangeBounds(schema, [range]),
      hashSchema: (range.hash ?? spec.hash ?? []).map(hashDimension),
    })),
    // Left out it would mean: by the whole primary key.
    rangeSchema: { columns: (spec.range?.columns ?? []).map(byName) },
  });
  return {
    request: {
      name: spec.name,
      schema: schemaToPb(schema, { withIds: false }),
      partitionSchema,
      ...(ranges.length === 0 || hasOwnHash ? {} : { splitRowsRangeBounds: rangeBounds(schema, ranges) }),
      ...(spec.numReplicas === undefined ? {} : { numReplicas: spec.numReplicas }),
      ...(spec.owner === undefined ? {} : { owner: spec.owner }),
      ...(spec.comment === undefined ? {} : { comment: spec.comment }),
      extraConfigs: { ...spec.extraConfigs },
    },
    requiredFeatures: [
      ...(ranges.length === 0 ? [] : [MasterFeature.RANGE_PARTITION_BOUNDS]),
      ...(hasOwnHash ? [MasterFeature.RANGE_SPECIFIC_HASH_SCHEMA] : []),
      ...(schema.columns.some(({ immutable }) => immutable) ? [MasterFeature.IMMUTABLE_COLUMN_ATTRIBUTE] : []),
      ...(spec.autoIncrementing ? [MasterFeature.AUTO_INCREMENTING_COLUMN] : []),
    ],
  };
}

/** @param schema the table's schema now: range bounds and defaults are written by it */
export function alterSteps(
  schema: TableSchema,
  steps: readonly AlterStep[],
): { readonly steps: MessageInitShape<typeof AlterTableRequestPB_StepSchema>[]; readonly requiredFeatures: number[] } {
  const hasRange = steps.some((step) => 'addRange' in step || 'dropRange' in step);
  const hasOwnHash = steps.some((step) => 'addRange' in step && step.addRange.hash !== undefined);
  return {
    steps: steps.map((step) => alterStep(schema, step)),
    requiredFeatures: [
      ...(hasRange ? [MasterFeature.ADD_DROP_RANGE_PARTITIONS] : []),
      ...(hasOwnHash ? [MasterFeature.RANGE_SPECIFIC_HASH_SCHEMA] : []),
    ],
  };
}

/** Source of the type numbers: kudu/master/master.proto AlterTableRequestPB.StepType. */
function alterStep(schema: TableSchema, step: AlterStep): MessageInitShape<typeof AlterTableRequestPB_StepSchema> {
  if ('add' in step) return { type: 1, addColumn: { schema: columnToPb(columnOfSpec(step.add), { withIds: false }) } };
  if ('drop' in step) return { type: 2, dropColumn: { name: step.drop } };
  if ('rename' in step) return { type: 3, renameColumn: { oldName: step.rename, newName: step.to } };
  if ('changeDefault' in step) {
    const column = schema.columns.find(({ name }) => name === step.changeDefault);
    if (!column) throw usage(`there is no column ${JSON.stringify(step.changeDefault)}`);
    const change = step.value === null ? { removeDefault: true } : { defaultValue: encodeCell(column, step.value) };
    return { type: 4, alterColumn: { delta: { name: column.name, ...change } } };
  }
  if ('addRange' in step) {
    const { hash } = step.addRange;
    const own = hash ? { customHashSchema: { hashSchema: hash.map(hashDimension) } } : {};
    return { type: 5, addRangePartition: { rangeBounds: rangeBounds(schema, [step.addRange]), ...own } };
  }
  return { type: 6, dropRangePartition: { rangeBounds: rangeBounds(schema, [step.dropRange]) } };
}

function rangeBounds(schema: TableSchema, ranges: readonly RangePartitionSpec[]): RowOperationsPB {
  const encoder = new RowOperationsEncoder(schema);
  for (const { lower, upper, lowerInclusive = true, upperInclusive = false } of ranges) {
    encoder.add(lowerInclusive ? RowOpType.RANGE_LOWER_BOUND : RowOpType.EXCLUSIVE_RANGE_LOWER_BOUND, lower);
    encoder.add(upperInclusive ? RowOpType.INCLUSIVE_RANGE_UPPER_BOUND : RowOpType.RANGE_UPPER_BOUND, upper);
  }
  const { rows, indirect } = encoder.finish();
  return create(RowOperationsPBSchema, { rows, indirectData: indirect });
}

function hashDimension({ columns, buckets, seed }: HashSpec) {
  return { columns: columns.map(byName), numBuckets: buckets, ...(seed === undefined ? {} : { seed }) };
}

/** A decimal is kept in the smallest of three sizes that has room for its digits (kudu/common/types.h). */
function typeOfSpec({ name, type, precision = 0 }: ColumnSpec): DataType {
  if (type !== 'DECIMAL') return DataType[type];
  if (precision < 1 || precision > 38) throw usage(`column ${JSON.stringify(name)}: a decimal has 1 to 38 digits`);
  if (precision <= 9) return DataType.DECIMAL32;
  return precision <= 18 ? DataType.DECIMAL64 : DataType.DECIMAL128;
}

function byName(name: string): { identifier: { case: 'name'; value: string } } {
  return { identifier: { case: 'name', value: name } };
}

function usage(message: string): KuduError {
  return new KuduError('usage', message, { notRun: true });
}
