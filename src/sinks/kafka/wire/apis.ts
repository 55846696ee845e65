import { ByteReader, ByteWriter } from './bytes.ts';

/**
 * One request of Kafka's protocol at one version: what Spoor sends and what it reads from the answer.
 * Versions are the lowest that carry what we need, so that any broker from 2.5 on understands them, or one that is
 * `older`.
 * Source: kafka.apache.org/protocol; the *.json message definitions of apache/kafka.
 */
export interface Api<Request, Response> {
  readonly key: number;
  readonly version: number;
  readonly name: string;
  /** What a broker is asked that does not speak this version; its answer leaves out what that does not know. */
  readonly older?: Api<Request, Response>;
  encode(request: Request): Buffer;
  decode(bytes: Buffer): { readonly throttleMs: number; readonly value: Response };
}

/** Kafka's numeric error code; 0 is none. Names and meanings: error-codes.ts. */
export type ErrorCodeNumber = number;

export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

export interface PartitionError {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: ErrorCodeNumber;
}

export interface ProducerIdentity {
  readonly transactionalId: string;
  readonly producerId: bigint;
  readonly epoch: number;
}

/** A committed offset: partition 0 of `topic` carries it for us. */
export interface OffsetEntry {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly metadata: string;
}

export interface TopicMetadata {
  readonly errorCode: ErrorCodeNumber;
  readonly name: string;
  /** Which making of the topic it is, as Kafka's own tools print it; null where there is none, or the broker cannot tell. */
  readonly id: string | null;
  readonly partitions: readonly {
    readonly errorCode: ErrorCodeNumber;
    readonly partition: number;
    readonly leader: number;
  }[];
}

export interface NodeAddress {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}

type Metadata = Api<
  readonly string[],
  {
    readonly nodes: readonly NodeAddress[];
    readonly clusterId: string | null;
    readonly controller: number;
    readonly topics: readonly TopicMetadata[];
  }
>;

/** Before Kafka 2.8 topics have no id. */
const METADATA_WITHOUT_IDS: Metadata = {
  key: 3,
  version: 5,
  name: 'Metadata',
  encode: (topics) => {
    const w = new ByteWriter();
    return w
      .array(topics, (topic) => w.string(topic))
      .boolean(false) // never let the broker create a topic by itself
      .finish();
  },
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    const throttleMs = r.int32();
    const nodes = r.array(() => {
      const node = { nodeId: r.int32(), host: r.string(), port: r.int32() };
      r.nullableString(); // rack
      return node;
    });
    const clusterId = r.nullableString();
    const controller = r.int32();
    const topics = r.array(() => {
      const errorCode = r.int16();
      const name = r.string();
      r.boolean(); // internal
      const partitions = r.array(() => {
        const partition = { errorCode: r.int16(), partition: r.int32(), leader: r.int32() };
        for (let list = 0; list < 3; list++) r.array(() => r.int32()); // replicas, in sync, offline
        return partition;
      });
      return { errorCode, name, id: null, partitions };
    });
    return { throttleMs, value: { nodes, clusterId, controller, topics } };
  },
};

export const METADATA: Metadata = {
  key: 3,
  version: 10,
  name: 'Metadata',
  older: METADATA_WITHOUT_IDS,
  encode: (topics) => {
    const w = new ByteWriter().noTags();
    w.compactArray(topics, (topic) => w.uuid(null).compactString(topic).noTags()); // asked for by name
    for (let option = 0; option < 3; option++) w.boolean(false); // to create topics; operations on the cluster, on topics
    return w.noTags().finish();
  },
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    r.tags();
    const throttleMs = r.int32();
    const nodes = r.compactArray(() => {
      const node = { nodeId: r.int32(), host: r.compactString(), port: r.int32() };
      r.nullableCompactString(); // rack
      r.tags();
      return node;
    });
    const clusterId = r.nullableCompactString();
    const controller = r.int32();
    const topics = r.compactArray(() => {
      const errorCode = r.int16();
      const name = r.compactString();
      const id = r.uuid();
      r.boolean(); // internal
      const partitions = r.compactArray(() => {
        const partition = { errorCode: r.int16(), partition: r.int32(), leader: r.int32() };
        r.int32(); // leader epoch
        for (let list = 0; list < 3; list++) r.compactArray(() => r.int32()); // replicas, in sync, offline
        r.tags();
        return partition;
      });
      r.int32(); // operations
      r.tags();
      return { errorCode, name, id, partitions };
    });
    return { throttleMs, value: { nodes, clusterId, controller, topics } };
  },
};

/** Asks leaders for the end of their partitions; we ask to hear whether they know by now that they lead. */
export const LIST_OFFSETS: Api<readonly TopicPartitions[], readonly PartitionError[]> = {
  key: 2,
  version: 2,
  name: 'ListOffsets',
  encode: (topics) => {
    const w = new ByteWriter();
    w.int32(-1).int8(0); // no replica; read_uncommitted
    return w
      .array(topics, ({ topic, partitions }) =>
        w.string(topic).array(partitions, (partition) => w.int32(partition).int64(-1n)),
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
        for (let field = 0; field < 2; field++) r.int64(); // timestamp, offset
        return result;
      });
    });
    return { throttleMs, value: topics.flat() };
  },
};

export interface NewTopic {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly config: Readonly<Record<string, string>>;
}

export const CREATE_TOPICS: Api<
  { readonly topics: readonly NewTopic[]; readonly timeoutMs: number },
  readonly { readonly topic: string; readonly errorCode: ErrorCodeNumber; readonly message: string | null }[]
> = {
  key: 19,
  version: 4,
  name: 'CreateTopics',
  encode: ({ topics, timeoutMs }) => {
    const w = new ByteWriter();
    w.array(topics, (topic) => {
      w.string(topic.topic).int32(topic.partitions).int16(topic.replicationFactor);
      w.int32(0); // no manual assignment
      w.array(Object.entries(topic.config), ([name, value]) => w.string(name).string(value));
    });
    return w.int32(timeoutMs).boolean(false).finish();
  },
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    return {
      throttleMs: r.int32(),
      value: r.array(() => ({ topic: r.string(), errorCode: r.int16(), message: r.nullableString() })),
    };
  },
};

export type CoordinatorKind = 'group' | 'transaction';

export const FIND_COORDINATOR: Api<
  { readonly kind: CoordinatorKind; readonly key: string },
  { readonly errorCode: ErrorCodeNumber; readonly message: string | null; readonly node: NodeAddress }
> = {
  key: 10,
  version: 2,
  name: 'FindCoordinator',
  encode: ({ kind, key }) =>
    new ByteWriter()
      .string(key)
      .int8(kind === 'group' ? 0 : 1)
      .finish(),
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    const throttleMs = r.int32();
    return {
      throttleMs,
      value: {
        errorCode: r.int16(),
        message: r.nullableString(),
        node: { nodeId: r.int32(), host: r.string(), port: r.int32() },
      },
    };
  },
};

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

export const ADD_OFFSETS_TO_TXN: Api<
  ProducerIdentity & { readonly groupId: string },
  { readonly errorCode: ErrorCodeNumber }
> = {
  key: 25,
  version: 1,
  name: 'AddOffsetsToTxn',
  encode: ({ transactionalId, producerId, epoch, groupId }) =>
    new ByteWriter().string(transactionalId).int64(producerId).int16(epoch).string(groupId).finish(),
  decode: decodeErrorCode,
};

/** By nobody of the group: it has no members. */
export const OFFSET_COMMIT: Api<
  { readonly groupId: string; readonly offsets: readonly OffsetEntry[] },
  readonly PartitionError[]
> = {
  key: 8,
  version: 5,
  name: 'OffsetCommit',
  encode: ({ groupId, offsets }) => {
    const w = new ByteWriter().string(groupId).int32(-1).string(''); // no generation, no member
    return writeOffsets(w, offsets).finish();
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

/**
 * Every offset of a group. `require_stable` makes the broker answer UNSTABLE_OFFSET_COMMIT while a transaction's
 * offsets are still being settled, instead of the offsets before it: without it a successor could miss a commit
 * whose answer was lost. kafkajs stops at version 4, which does not know it.
 */
export const OFFSET_FETCH: Api<
  { readonly groupId: string },
  {
    readonly errorCode: ErrorCodeNumber;
    readonly offsets: readonly (Omit<OffsetEntry, 'metadata'> & {
      readonly metadata: string | null;
      readonly errorCode: ErrorCodeNumber;
    })[];
  }
> = {
  key: 9,
  version: 7,
  name: 'OffsetFetch',
  encode: ({ groupId }) =>
    new ByteWriter()
      .noTags() // they end the request header of flexible versions
      .compactString(groupId)
      .unsignedVarint(0) // null: all topics
      .boolean(true) // require_stable
      .noTags()
      .finish(),
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    r.tags(); // of the response header
    const throttleMs = r.int32();
    const topics = r.compactArray(() => {
      const topic = r.nullableCompactString() ?? '';
      const partitions = r.compactArray(() => {
        const partition = r.int32();
        const offset = r.int64();
        r.int32(); // leader epoch
        const metadata = r.nullableCompactString();
        const errorCode = r.int16();
        r.tags();
        return { topic, partition, offset, metadata, errorCode };
      });
      r.tags();
      return partitions;
    });
    return { throttleMs, value: { errorCode: r.int16(), offsets: topics.flat() } };
  },
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

function writeOffsets(w: ByteWriter, offsets: readonly OffsetEntry[]): ByteWriter {
  return w.array(offsets, ({ topic, partition, offset, metadata }) =>
    w.string(topic).int32(1).int32(partition).int64(offset).string(metadata),
  );
}

function decodePartitionErrors(r: ByteReader): { throttleMs: number; value: PartitionError[] } {
  const throttleMs = r.int32();
  const topics = r.array(() => {
    const topic = r.string();
    return r.array(() => ({ topic, partition: r.int32(), errorCode: r.int16() }));
  });
  return { throttleMs, value: topics.flat() };
}

function decodeErrorCode(bytes: Buffer): { throttleMs: number; value: { errorCode: ErrorCodeNumber } } {
  const r = new ByteReader(bytes);
  return { throttleMs: r.int32(), value: { errorCode: r.int16() } };
}
