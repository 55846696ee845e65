import type { Api, ErrorCodeNumber } from './api.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

export interface TopicMetadata {
  readonly errorCode: ErrorCodeNumber;
  readonly name: string;
  /** Which making of the topic it is, as Kafka's own tools print it; null where there is none, or the broker cannot tell. */
  readonly id: string | null;
  /** What we may do with it, a bit for each {@link TOPIC_OPERATION}; null where that was not asked for, or cannot be told. */
  readonly operations: number | null;
  readonly partitions: readonly {
    readonly errorCode: ErrorCodeNumber;
    readonly partition: number;
    readonly leader: number;
  }[];
}

/** Source: org.apache.kafka.common.acl.AclOperation. */
export const TOPIC_OPERATION = { WRITE: 4 } as const;
const NO_OPERATIONS = -(2 ** 31);

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
      return { errorCode, name, id: null, operations: null, partitions };
    });
    return { throttleMs, value: { nodes, clusterId, controller, topics } };
  },
};

/** @param withRights whether it is asked as well what we may do with each topic */
const metadata = (withRights: boolean): Metadata => ({
  key: 3,
  version: 10,
  name: 'Metadata',
  older: METADATA_WITHOUT_IDS,
  encode: (topics) => {
    const w = new ByteWriter().noTags();
    w.compactArray(topics, (topic) => w.uuid(null).compactString(topic).noTags()); // asked for by name
    w.boolean(false).boolean(false).boolean(withRights); // to create topics; operations on the cluster, on topics
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
      const told = r.int32();
      r.tags();
      return { errorCode, name, id, operations: told === NO_OPERATIONS ? null : told, partitions };
    });
    return { throttleMs, value: { nodes, clusterId, controller, topics } };
  },
});

export const METADATA = metadata(false);
export const METADATA_WITH_RIGHTS = metadata(true);

export interface NewTopic {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly config: Readonly<Record<string, string>>;
}

/** What became of the making of a topic, or would. */
export interface TopicCreation {
  readonly topic: string;
  readonly errorCode: ErrorCodeNumber;
  readonly message: string | null;
}

export const CREATE_TOPICS: Api<
  {
    readonly topics: readonly NewTopic[];
    readonly timeoutMs: number;
    /** Only says what would become of it. */
    readonly validateOnly?: boolean;
  },
  readonly TopicCreation[]
> = {
  key: 19,
  version: 4,
  name: 'CreateTopics',
  encode: ({ topics, timeoutMs, validateOnly = false }) => {
    const w = new ByteWriter();
    w.array(topics, (topic) => {
      w.string(topic.topic).int32(topic.partitions).int16(topic.replicationFactor);
      w.int32(0); // no manual assignment
      w.array(Object.entries(topic.config), ([name, value]) => w.string(name).string(value));
    });
    return w.int32(timeoutMs).boolean(validateOnly).finish();
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
