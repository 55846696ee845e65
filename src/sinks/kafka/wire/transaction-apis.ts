import {
  type Api,
  type ErrorCodeNumber,
  type PartitionError,
  type ProducerIdentity,
  type TopicPartitions,
  decodeErrorCode,
  decodePartitionErrors,
} from './api.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

export const INIT_PRODUCER_ID: Api<
  { readonly transactionalId: string; readonly transactionTimeoutMs: number },
  { readonly errorCode: ErrorCodeNumber; readonly producerId: bigint; readonly epoch: number }
> = {
  key: 22,
  version: 1,
  name: 'InitProducerId',
  encode: ({ transactionalId, transactionTimeoutMs }) =>
    new ByteWriter().string(transactionalId).int32(transactionTimeoutMs).finish(),
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    return { throttleMs: r.int32(), value: { errorCode: r.int16(), producerId: r.int64(), epoch: r.int16() } };
  },
};

export const ADD_PARTITIONS_TO_TXN: Api<
  ProducerIdentity & { readonly topics: readonly TopicPartitions[] },
  readonly PartitionError[]
> = {
  key: 24,
  version: 1,
  name: 'AddPartitionsToTxn',
  encode: ({ transactionalId, producerId, epoch, topics }) => {
    const w = new ByteWriter();
    w.string(transactionalId).int64(producerId).int16(epoch);
    return w
      .array(topics, ({ topic, partitions }) => w.string(topic).array(partitions, (partition) => w.int32(partition)))
      .finish();
  },
  decode: (bytes) => decodePartitionErrors(new ByteReader(bytes)),
};

export const END_TXN: Api<ProducerIdentity & { readonly commit: boolean }, { readonly errorCode: ErrorCodeNumber }> = {
  key: 26,
  version: 1,
  name: 'EndTxn',
  encode: ({ transactionalId, producerId, epoch, commit }) =>
    new ByteWriter().string(transactionalId).int64(producerId).int16(epoch).boolean(commit).finish(),
  decode: decodeErrorCode,
};

/** What the coordinator decided last, and whether that has been carried out. Kafka 2.8 and newer. */
export const DESCRIBE_TRANSACTIONS: Api<
  { readonly transactionalId: string },
  {
    readonly errorCode: ErrorCodeNumber;
    readonly state: string;
    readonly producerId: bigint;
    readonly epoch: number;
    /** Of what is under way. */
    readonly partitions: readonly TopicPartitions[];
  }
> = {
  key: 65,
  version: 0,
  name: 'DescribeTransactions',
  encode: ({ transactionalId }) => {
    const w = new ByteWriter().noTags();
    return w
      .compactArray([transactionalId], (id) => w.compactString(id))
      .noTags()
      .finish();
  },
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    r.tags();
    const throttleMs = r.int32();
    const [state] = r.compactArray(() => {
      const errorCode = r.int16();
      r.nullableCompactString(); // transactional id
      const name = r.nullableCompactString() ?? '';
      r.int32(); // time-out
      r.int64(); // begin
      const producerId = r.int64();
      const epoch = r.int16();
      const partitions = r.compactArray(() => {
        const joined = { topic: r.nullableCompactString() ?? '', partitions: r.compactArray(() => r.int32()) };
        r.tags();
        return joined;
      });
      r.tags();
      return { errorCode, state: name, producerId, epoch, partitions };
    });
    if (state === undefined) throw new RangeError('the answer describes no transaction');
    return { throttleMs, value: state };
  },
};

/** The producers that a partition knows, their last epoch there, and where their open transaction begins (-1: none). Kafka 2.8 and newer. */
export const DESCRIBE_PRODUCERS: Api<
  readonly TopicPartitions[],
  readonly (PartitionError & {
    readonly producers: readonly { readonly producerId: bigint; readonly epoch: number; readonly openSince: bigint }[];
  })[]
> = {
  key: 61,
  version: 0,
  name: 'DescribeProducers',
  encode: (topics) => {
    const w = new ByteWriter().noTags();
    return w
      .compactArray(topics, ({ topic, partitions }) =>
        w
          .compactString(topic)
          .compactArray(partitions, (partition) => w.int32(partition))
          .noTags(),
      )
      .noTags()
      .finish();
  },
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    r.tags();
    const throttleMs = r.int32();
    const topics = r.compactArray(() => {
      const topic = r.nullableCompactString() ?? '';
      const partitions = r.compactArray(() => {
        const partition = r.int32();
        const errorCode = r.int16();
        r.nullableCompactString(); // message
        const producers = r.compactArray(() => {
          const producerId = r.int64();
          const epoch = r.int32();
          r.int32(); // last sequence
          r.int64(); // last timestamp
          r.int32(); // coordinator epoch
          const openSince = r.int64();
          r.tags();
          return { producerId, epoch, openSince };
        });
        r.tags();
        return { topic, partition, errorCode, producers };
      });
      r.tags();
      return partitions;
    });
    return { throttleMs, value: topics.flat() };
  },
};

/** The request is encoded by record-batch.ts, bytes and all. */
export const PRODUCE: Api<
  Buffer,
  readonly (PartitionError & { readonly message: string | null; readonly baseOffset: bigint })[]
> = {
  key: 0,
  version: 8,
  name: 'Produce',
  encode: (bytes) => bytes,
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    const topics = r.array(() => {
      const topic = r.string();
      return r.array(() => {
        const partition = r.int32();
        const errorCode = r.int16();
        const baseOffset = r.int64();
        for (let field = 0; field < 2; field++) r.int64(); // append time, log start offset
        const records = r.array(() => ({ index: r.int32(), message: r.nullableString() }));
        const message = r.nullableString() ?? records[0]?.message ?? null;
        return { topic, partition, errorCode, message, baseOffset };
      });
    });
    return { throttleMs: r.int32(), value: topics.flat() };
  },
};
