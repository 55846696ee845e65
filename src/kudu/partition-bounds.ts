import type { CellValue } from './cell-codec.ts';
import type { TableDescription } from './catalog.ts';
import { KuduError } from './errors.ts';
import { decodeKey } from './key-encoder.ts';
import type { HashDimension, Partition } from './partition.ts';
import type { ColumnSchema } from './schema.ts';

const BUCKET_BYTES = 4;
/** What of its table a tablet has. */
export interface PartitionBounds {
  /** One a hash dimension. */
  readonly hash: readonly { readonly columns: readonly string[]; readonly bucket: number; readonly buckets: number }[];
  /** Of the range columns: first and (exclusive) last values; null for no bound. */
  readonly range: {
    readonly lower: Readonly<Record<string, CellValue>> | null;
    readonly upper: Readonly<Record<string, CellValue>> | null;
  } | null;
}

/**
 * Reads a tablet's partition keys as values: one u32 a hash dimension, then the encoded range key (kudu-facts 2).
 * @throws {KuduError} `protocol` when they are not of that table
 */
export function partitionBounds({ schema, partitionSchema }: TableDescription, partition: Partition): PartitionBounds {
  const column = (id: number): ColumnSchema => {
    const found = schema.columns.find((each) => each.id === id);
    if (!found) throw new KuduError('protocol', `the table is partitioned by column id ${id}, which it has not`);
    return found;
  };
  const { hashBuckets, start, end } = partition;
  // A range may be hashed in its own way; how often, its buckets tell, and by what, only its own schema.
  const isCustom = partitionSchema.customHashRanges.length > 0;
  const dimension = (i: number): HashDimension | undefined => (isCustom ? undefined : partitionSchema.hash[i]);
  const hash = hashBuckets.map((bucket, i) => ({
    columns: (dimension(i)?.columnIds ?? []).map((id) => column(id).name),
    bucket,
    buckets: dimension(i)?.buckets ?? 0,
  }));
  const columns = partitionSchema.rangeColumnIds.map(column);
  if (columns.length === 0) return { hash, range: null };
  const prefix = hashBuckets.length * BUCKET_BYTES;
  // An end whose buckets differ from the start's says: to the end of the range.
  const isBounded = end.length > prefix && end.subarray(0, prefix).equals(start.subarray(0, prefix));
  return {
    hash,
    range: {
      lower: start.length > prefix ? decodeKey(columns, start.subarray(prefix)) : null,
      upper: isBounded ? decodeKey(columns, end.subarray(prefix)) : null,
    },
  };
}
