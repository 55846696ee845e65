import type { Api, ErrorCodeNumber, PartitionError, TopicPartitions } from './api.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

/* What only a reader of topics asks for. */

const NO_REPLICA = -1;
const READ_UNCOMMITTED = 0;
const READ_COMMITTED = 1;
/** In the place of a leader epoch, a log start offset: we do not say. */
const UNSAID = -1;

/** In the place of a timestamp. */
const EARLIEST = -2n;
const LATEST = -1n;

/** An offset of each partition, asked of its leader. */
type ListOffsets = Api<readonly TopicPartitions[], readonly (PartitionError & { readonly offset: bigint })[]>;

/** The log start: the first offset that retention has left. */
export const FIRST_OFFSETS = listOffsets(EARLIEST);
/** Where a `read_committed` consumer stops: before the first record of the oldest open transaction, or at the end. */
export const LAST_STABLE_OFFSETS = listOffsets(LATEST);
/** Behind the last record that every in-sync replica has, be its transaction open or not. */
export const END_OFFSETS = listOffsets(LATEST, READ_UNCOMMITTED);

function listOffsets(timestamp: bigint, isolation = READ_COMMITTED): ListOffsets {
  return {
    key: 2,
    version: 2,
    name: 'ListOffsets',
    encode: (topics) => {
      const w = new ByteWriter().int32(NO_REPLICA).int8(isolation);
      return w
        .array(topics, ({ topic, partitions }) =>
          w.string(topic).array(partitions, (partition) => w.int32(partition).int64(timestamp)),
        )
        .finish();
    },
    decode: (bytes) => {
      const r = new ByteReader(bytes);
      const throttleMs = r.int32();
      const topics = r.array(() => {
        const topic = r.string();
        return r.array(() => {
          const result = { topic, partition: r.int32(), errorCode: r.int16() };
          r.int64(); // timestamp
          return { ...result, offset: r.int64() };
        });
      });
      return { throttleMs, value: topics.flat() };
    },
  };
}

export interface FetchRequest {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** More comes only where the first batch alone is larger. */
  readonly maxBytes: number;
  /** How long the broker may wait for so much to come; 1 where it is not said: for a record. */
  readonly maxWaitMs: number;
  readonly minBytes?: number;
  /** Records of open transactions and of aborted ones too, and the markers that say which they are. */
  readonly uncommitted?: boolean;
}

/** A transaction that was aborted: the producer's records from there on, up to its next abort marker. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

export interface FetchedRecords {
  readonly errorCode: ErrorCodeNumber;
  /** Those that the records may belong to, in the order of their markers. */
  readonly aborted: readonly AbortedTransaction[];
  /** Whole batches, the first of which holds the offset or comes behind it, and perhaps the beginning of another. */
  readonly records: Buffer;
}

/**
 * Reads one partition outside of a fetch session, `read_committed` unless it is said otherwise. The answer is null where a
 * quota makes the broker say nothing. Version 10 is the lowest in which it hands out zstd instead of an error that does not name it.
 */
export const FETCH: Api<FetchRequest, FetchedRecords | null> = {
  key: 1,
  version: 10,
  name: 'Fetch',
  encode: ({ topic, partition, offset, maxBytes, maxWaitMs, minBytes = 1, uncommitted = false }) => {
    const w = new ByteWriter().int32(NO_REPLICA).int32(maxWaitMs);
    w.int32(minBytes).int32(maxBytes);
    w.int8(uncommitted ? READ_UNCOMMITTED : READ_COMMITTED);
    w.int32(0).int32(-1); // session id and epoch of a request without session
    w.array([topic], () =>
      w.string(topic).array([partition], () =>
        w
          .int32(partition)
          .int32(UNSAID) // leader epoch
          .int64(offset)
          .int64(BigInt(UNSAID)) // log start offset
          .int32(maxBytes),
      ),
    );
    return w.int32(0).finish(); // no topic of a session to forget
  },
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    const throttleMs = r.int32();
    const errorCode = r.int16();
    r.int32(); // session id
    const topics = r.array(() => {
      r.string();
      return r.array(() => {
        r.int32(); // partition
        const error = r.int16();
        for (let field = 0; field < 3; field++) r.int64(); // high watermark, last stable offset, log start offset
        const aborted = r.array(() => ({ producerId: r.int64(), firstOffset: r.int64() }));
        return { errorCode: error, aborted, records: r.bytes() };
      });
    });
    if (errorCode !== 0) return { throttleMs, value: { errorCode, aborted: [], records: Buffer.alloc(0) } };
    return { throttleMs, value: topics.flat()[0] ?? null };
  },
};
