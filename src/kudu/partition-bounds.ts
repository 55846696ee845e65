import { cellBytes, decodeCell, isVarLength, type CellValue } from './cell-codec.ts';
import type { TableDescription } from './catalog.ts';
import { KuduError } from './errors.ts';
import type { HashDimension, Partition } from './partition.ts';
import { DataType, type ColumnSchema } from './schema.ts';

const BUCKET_BYTES = 4;
const UNSIGNED: ReadonlySet<DataType> = new Set([
  DataType.UINT8,
  DataType.UINT16,
  DataType.UINT32,
  DataType.UINT64,
  DataType.BOOL,
]);

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

/** The reverse of `encodeKey`; a bound of only some columns has the least values of the others. @throws {KuduError} `protocol` */
export function decodeKey(columns: readonly ColumnSchema[], key: Buffer): Record<string, CellValue> {
  const row: Record<string, CellValue> = {};
  let at = 0;
  for (const [i, column] of columns.entries()) {
    if (at >= key.length && !(isVarLength(column.type) && i === columns.length - 1 && i > 0)) break;
    if (isVarLength(column.type)) {
      const [bytes, next] = i === columns.length - 1 ? [key.subarray(at), key.length] : unescapeZeros(key, at);
      row[column.name] = decodeCell(column, bytes);
      at = next;
      continue;
    }
    const size = cellBytes(column.type);
    if (at + size > key.length) throw new KuduError('protocol', 'an encoded key ends within a column');
    const bytes = Buffer.from(key.subarray(at, at + size));
    if (!UNSIGNED.has(column.type)) bytes[0]! ^= 0x80;
    row[column.name] = decodeCell(column, bytes.reverse());
    at += size;
  }
  return row;
}

/** A string that others follow: 00 stands as 00 01, the end as 00 00. */
function unescapeZeros(key: Buffer, from: number): [bytes: Buffer, next: number] {
  const bytes: number[] = [];
  for (let at = from; at < key.length; at++) {
    if (key[at] !== 0) bytes.push(key[at]!);
    else if (key[++at] === 0) return [Buffer.from(bytes), at + 1];
    else bytes.push(0);
  }
  throw new KuduError('protocol', 'an encoded key has a string without an end');
}
