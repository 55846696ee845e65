import type { PartitionPB, PartitionSchemaPB } from './proto/common_pb.ts';

/** One dimension of hash partitioning: the columns that are hashed together, and into how many buckets. */
export interface HashDimension {
  readonly columnIds: readonly number[];
  readonly buckets: number;
  readonly seed: number;
}

/** A range of a table that is hashed otherwise than the rest. The bounds are packed row operations. */
export interface CustomHashRange {
  readonly bounds: { readonly rows: Buffer; readonly indirect: Buffer };
  readonly hash: readonly HashDimension[];
}

/** How a table's rows are spread over its tablets. Source: kudu/common/partition.h */
export interface PartitionSchema {
  readonly hash: readonly HashDimension[];
  /** Empty: the table is not range partitioned. */
  readonly rangeColumnIds: readonly number[];
  readonly customHashRanges: readonly CustomHashRange[];
}

/** The part of a table that one tablet holds. */
export interface Partition {
  /** One bucket for each hash dimension. */
  readonly hashBuckets: readonly number[];
  /** Encoded partition keys: inclusive, empty for the beginning. */
  readonly start: Buffer;
  /** Exclusive, empty for the end. */
  readonly end: Buffer;
}

export function partitionFromPb(pb: PartitionPB): Partition {
  return {
    hashBuckets: [...pb.hashBuckets],
    start: Buffer.from(pb.partitionKeyStart),
    end: Buffer.from(pb.partitionKeyEnd),
  };
}

/** @throws {RangeError} when a column is named and not numbered, which the master never does */
export function partitionSchemaFromPb(pb: PartitionSchemaPB): PartitionSchema {
  return {
    hash: pb.hashSchema.map(hashDimensionFromPb),
    rangeColumnIds: (pb.rangeSchema?.columns ?? []).map(columnIdFromPb),
    customHashRanges: pb.customHashSchemaRanges.map((range) => ({
      bounds: {
        rows: Buffer.from(range.rangeBounds?.rows ?? []),
        indirect: Buffer.from(range.rangeBounds?.indirectData ?? []),
      },
      hash: range.hashSchema.map(hashDimensionFromPb),
    })),
  };
}

function hashDimensionFromPb(pb: PartitionSchemaPB['hashSchema'][number]): HashDimension {
  return { columnIds: pb.columns.map(columnIdFromPb), buckets: pb.numBuckets, seed: pb.seed };
}

function columnIdFromPb(pb: { readonly identifier: { case?: string | undefined; value?: unknown } }): number {
  const { identifier } = pb;
  if (identifier.case !== 'id' || typeof identifier.value !== 'number')
    throw new RangeError('a partition schema of the master names a column by something else than its id');
  return identifier.value;
}
