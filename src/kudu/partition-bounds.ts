import type { CellValue } from './cell-codec.ts';
import type { TableDescription } from './catalog.ts';
import { KuduError } from './errors.ts';
import { decodeKey } from './key-encoder.ts';
import type { Partition } from './partition.ts';
import { Partitioning, rangeOf } from './partitioning.ts';

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
 * Reads a tablet's partition keys as values, by the hash schema of its own range.
 * @throws {KuduError} `protocol` when they are not of that table
 */
export function partitionBounds({ schema, partitionSchema }: TableDescription, partition: Partition): PartitionBounds {
  const partitioning = new Partitioning(schema, partitionSchema);
  const { start, end } = rangeOf(partition);
  const dimensions = partitioning.hashAt(start);
  const { hashBuckets } = partition;
  if (dimensions.length !== hashBuckets.length)
    throw new KuduError(
      'protocol',
      `a tablet has ${hashBuckets.length} buckets, its range ${dimensions.length} of them`,
    );
  const hash = dimensions.map(({ columns, buckets }, i) => ({
    columns: columns.map(({ name }) => name),
    bucket: hashBuckets[i]!,
    buckets,
  }));
  const columns = partitioning.rangeColumns;
  if (columns.length === 0) return { hash, range: null };
  return {
    hash,
    range: {
      lower: start.length > 0 ? decodeKey(columns, start) : null,
      upper: end === null ? null : decodeKey(columns, end),
    },
  };
}
