import { KuduError } from './errors.ts';
import { cellOf } from './named-cells.ts';
import { encodeKey, encodeKeyPrefix } from './key-encoder.ts';
import { murmur2Hash64 } from './murmur2.ts';
import type { HashDimension, Partition, PartitionSchema } from './partition.ts';
import { decodeRowOperations, RowOpType, type RowInput } from './row-operations.ts';
import type { ColumnSchema, TableSchema } from './schema.ts';

const BUCKET_BYTES = 4;

/** A hash dimension with its columns as the table has them now. */
export interface CompiledDimension {
  readonly columns: readonly ColumnSchema[];
  readonly buckets: number;
  readonly seed: number;
}

/** How a table spreads its rows over tablets (kudu/common/partition.cc): each range may be hashed in a way of its own. */
export class Partitioning {
  readonly rangeColumns: readonly ColumnSchema[];
  /** Of ranges that have no hash schema of their own. */
  readonly #hash: readonly CompiledDimension[];
  readonly #customRanges: readonly {
    readonly start: Buffer;
    readonly end: Buffer | null;
    readonly hash: readonly CompiledDimension[];
  }[];

  /** @throws {KuduError} `protocol` when the two do not fit each other */
  constructor(schema: TableSchema, partitionSchema: PartitionSchema) {
    const byId = new Map(schema.columns.map((column) => [column.id, column]));
    const columns = (ids: readonly number[]): ColumnSchema[] =>
      ids.map((id) => {
        const column = byId.get(id);
        if (!column) throw new KuduError('protocol', `the table is partitioned by column id ${id}, which it has not`);
        return column;
      });
    const compile = ({ columnIds, buckets, seed }: HashDimension): CompiledDimension => {
      return { columns: columns(columnIds), buckets, seed };
    };
    this.rangeColumns = columns(partitionSchema.rangeColumnIds);
    this.#hash = partitionSchema.hash.map(compile);
    this.#customRanges = partitionSchema.customHashRanges.map(({ bounds, hash }) => {
      const [lower, upper] = decodeRowOperations(schema, bounds);
      if (lower?.type !== RowOpType.RANGE_LOWER_BOUND || upper?.type !== RowOpType.RANGE_UPPER_BOUND)
        throw new KuduError('protocol', 'a range with its own hash schema has bounds of an unknown form');
      return {
        start: encodeKeyPrefix(this.rangeColumns, lower.row),
        end: Object.keys(upper.row).length === 0 ? null : encodeKeyPrefix(this.rangeColumns, upper.row),
        hash: hash.map(compile),
      };
    });
  }

  /** The hash dimensions of the range that has this range key. */
  hashAt(rangeKey: Buffer): readonly CompiledDimension[] {
    const custom = this.#customRanges.find(
      ({ start, end }) => start.compare(rangeKey) <= 0 && (end === null || rangeKey.compare(end) < 0),
    );
    return custom?.hash ?? this.#hash;
  }

  keyOf(row: RowInput): { readonly buckets: readonly number[]; readonly rangeKey: Buffer } {
    const rangeKey = encodeKey(this.rangeColumns, row);
    return { buckets: this.hashAt(rangeKey).map((dimension) => bucketOf(dimension, row)), rangeKey };
  }

  /** In the range of this tablet, the bucket of each dimension whose columns all have a value. */
  knownBuckets(row: RowInput, partition: Partition): readonly (number | null)[] {
    return this.hashAt(rangeOf(partition).start).map((dimension) => {
      const isKnown = dimension.columns.every(({ name }) => (cellOf(row, name) ?? null) !== null);
      return isKnown ? bucketOf(dimension, row) : null;
    });
  }
}

/**
 * A partition key is one u32 a hash dimension, then the range key (kudu-facts 2); here the range keys alone. An end whose
 * buckets differ from the start's says: to the end of the range, null.
 */
export function rangeOf({ hashBuckets, start, end }: Partition): {
  readonly start: Buffer;
  readonly end: Buffer | null;
} {
  const prefix = hashBuckets.length * BUCKET_BYTES;
  const isBounded = end.length > prefix && end.subarray(0, prefix).equals(start.subarray(0, prefix));
  return { start: start.subarray(prefix), end: isBounded ? end.subarray(prefix) : null };
}

function bucketOf({ columns, buckets, seed }: CompiledDimension, row: RowInput): number {
  return Number(murmur2Hash64(encodeKey(columns, row), seed) % BigInt(buckets));
}
