import type { BrokerPatience } from './broker-patience.ts';
import {
  type ConnectionOptions,
  formatAddress,
  KafkaConnections,
  type Address,
  type Throttling,
} from './connections.ts';
import { isOfConnection, UnreachableError, type BrokerAddress } from './unreachable-error.ts';
import { whileSettling, type Patience } from './wait.ts';
import type { Api, TopicPartitions } from './wire/api.ts';
import {
  CREATE_TOPICS,
  FIND_COORDINATOR,
  METADATA,
  type CoordinatorKind,
  type NewTopic,
  type NodeAddress,
  type TopicCreation,
} from './wire/cluster-apis.ts';
import { END_OFFSETS } from './wire/fetch.ts';
import {
  failOnErrorCode,
  REQUEST_TIMED_OUT,
  SETTLES_ELSEWHERE,
  TOPIC_ALREADY_EXISTS,
  UNKNOWN_TOPIC_OR_PARTITION,
} from './wire/error-codes.ts';

/** A topic as it is: how many partitions, and which node leads each. */
export interface Topic {
  readonly name: string;
  /** Which making of it, see {@link KafkaCluster.topicId}. */
  readonly id: string | null;
  /** Node id by partition; -1: none at present. */
  readonly leaders: readonly number[];
}

/** The channel of requests that belong to no tablet. */
const COMMON_CHANNEL = 0;

/** A fresh cluster makes its internal topics at the first question for a coordinator; a restarted one loads them. */
const SETTLING: Patience = { codes: SETTLES_ELSEWHERE, pauseMs: 20, maxPauseMs: 200, forMs: 10_000 };

/** Which nodes there are and what each is responsible for. Caches nodes only; who asks keeps topics and coordinators. */
export class KafkaCluster implements AsyncDisposable {
  readonly #bootstrap: readonly Address[];
  readonly #nodes = new Map<number, BrokerAddress>();
  readonly #connections: KafkaConnections;
  /** By name, of every topic that was looked up. */
  readonly #topicIds = new Map<string, string>();
  #clusterId: string | null = null;
  /** Who answered last is asked first: others may keep us waiting until they count as away. */
  #lastToAnswer: Address | null = null;
  /** Who said last that a partition has no leader: it may be behind the others, who are asked first for that. */
  #mayBeBehind: Address | null = null;

  constructor(brokers: readonly string[], options: ConnectionOptions) {
    this.#bootstrap = brokers.map(parseAddress);
    this.#connections = new KafkaConnections(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections[Symbol.asyncDispose]();
  }

  /** What the cluster calls itself, whatever address it is reached by; null before it was asked for anything. */
  get clusterId(): string | null {
    return this.#clusterId;
  }

  /**
   * Which making of a topic there was when it was last looked up, by whomever; null where there was none, or the broker
   * cannot tell (before Kafka 2.8).
   */
  topicId(name: string): string | null {
    return this.#topicIds.get(name) ?? null;
  }

  /** How long one node is waited for, see {@link KafkaConnections.patienceWith}. */
  patienceWith(nodeId: number): BrokerPatience {
    return this.#connections.patienceWith(this.#brokerOf(nodeId).address);
  }

  /** With the slowest node of all. */
  get longestPatienceMs(): number {
    return this.#connections.longestPatienceMs;
  }

  /** A quota that holds the requests of this channel back, or null. */
  throttling(channel: number): Throttling | null {
    return this.#connections.throttling(channel);
  }

  /** Sends to one node, see {@link KafkaConnections.send}. */
  async send<Q, S>(nodeId: number, channel: number, api: Api<Q, S>, request: Q, signal: AbortSignal): Promise<S> {
    const broker = this.#brokerOf(nodeId);
    return naming(broker, this.#connections.send(broker.address, channel, api, request, signal));
  }

  /** As {@link send}, and goes on when `signal` aborts, see {@link KafkaConnections.request}. */
  async request<Q, S>(
    nodeId: number,
    channel: number,
    api: Api<Q, S>,
    request: Q,
    signal: AbortSignal,
    onSent?: () => void,
  ): Promise<S> {
    const broker = this.#brokerOf(nodeId);
    return naming(broker, this.#connections.request(broker.address, channel, api, request, signal, onSent));
  }

  /** The last wait that a quota asked for, see {@link QuotaWaits.since}. */
  throttledSince(sinceMs: number): number | null {
    return this.#connections.quotaWaits.since(sinceMs);
  }

  /**
   * Looks topics up. The answer leaves out what does not exist.
   * @param leaderless whether a topic may have partitions without a leader
   * @throws {KafkaCodeError} a topic may not be described, is no topic name, or has a partition without a leader
   */
  async findTopics(
    names: readonly string[],
    signal: AbortSignal,
    leaderless: 'fail' | 'allow' = 'fail',
  ): Promise<Map<string, Topic>> {
    const { topics } = await this.#metadata(names, signal);
    const found = new Map<string, Topic>();
    for (const topic of topics) {
      if (topic.errorCode === UNKNOWN_TOPIC_OR_PARTITION) continue;
      failOnErrorCode(topic.errorCode, `topic ${topic.name}`);
      const leaders: number[] = [];
      for (const { partition, leader, errorCode } of topic.partitions) {
        // 9 REPLICA_NOT_AVAILABLE is about a follower: the leader works.
        if (errorCode !== 9 && leaderless === 'fail')
          failOnErrorCode(errorCode, `partition ${partition} of topic ${topic.name}`);
        leaders[partition] = leader;
      }
      found.set(topic.name, { name: topic.name, id: topic.id, leaders });
    }
    return found;
  }

  /** @throws {KafkaCodeError} a partition's leader does not know yet, or any more, that it leads it */
  async checkLeaders(topic: Topic, signal: AbortSignal): Promise<void> {
    // Where they end does not matter: to answer at all they must know that they lead.
    for (const { partition, errorCode } of await this.askLeaders([topic], END_OFFSETS, signal))
      failOnErrorCode(errorCode, `partition ${partition} of topic ${topic.name}`);
  }

  /** Asks the leaders of all partitions of the topics, each for all that it leads. */
  async askLeaders<T>(
    topics: readonly Topic[],
    api: Api<readonly TopicPartitions[], readonly T[]>,
    signal: AbortSignal,
  ): Promise<T[]> {
    const led = new Map<number, Map<string, number[]>>();
    for (const { name, leaders } of topics)
      for (const [partition, leader] of leaders.entries()) {
        let ofLeader = led.get(leader);
        if (ofLeader === undefined) led.set(leader, (ofLeader = new Map<string, number[]>()));
        const partitions = ofLeader.get(name);
        if (partitions === undefined) ofLeader.set(name, [partition]);
        else partitions.push(partition);
      }
    const answers = await Promise.all(
      Array.from(led, ([leader, ofLeader]) => {
        const request = Array.from(ofLeader, ([topic, partitions]) => ({ topic, partitions }));
        return this.send(leader, COMMON_CHANNEL, api, request, signal);
      }),
    );
    return answers.flat();
  }

  /** Creates topics; one that is there by now is as good as created. Brokers learn of it moments later. */
  async createTopics(topics: readonly NewTopic[], signal: AbortSignal): Promise<void> {
    const { controller } = await this.#metadata([], signal);
    const patience = this.patienceWith(controller);
    const { ms: waitedMs, brokerMs: timeoutMs } = patience;
    const results = await this.send(controller, COMMON_CHANNEL, CREATE_TOPICS, { topics, timeoutMs }, signal);
    if (results.some(({ errorCode }) => errorCode === REQUEST_TIMED_OUT)) patience.ranOut(waitedMs, performance.now());
    for (const { topic, errorCode, message } of results)
      if (errorCode !== TOPIC_ALREADY_EXISTS) failOnErrorCode(errorCode, `to create topic ${topic}`, message);
  }

  /** What Kafka would say to these topics, if they were made. Nothing is. */
  async tryTopics(topics: readonly NewTopic[], signal: AbortSignal): Promise<readonly TopicCreation[]> {
    const { controller } = await this.#metadata([], signal);
    const { brokerMs: timeoutMs } = this.patienceWith(controller);
    const request = { topics, timeoutMs, validateOnly: true };
    return this.send(controller, COMMON_CHANNEL, CREATE_TOPICS, request, signal);
  }

  /** The node that coordinates a group or a transactional id, reachable by {@link send}. */
  async findCoordinator(kind: CoordinatorKind, key: string, signal: AbortSignal): Promise<number> {
    return whileSettling(
      async () => {
        const { answer, by } = await this.#askAny(FIND_COORDINATOR, { kind, key }, signal);
        const { errorCode, message, node } = answer;
        failOnErrorCode(errorCode, `to find the ${kind} coordinator of ${key}`, message);
        this.#learn([node], by);
        return node.nodeId;
      },
      SETTLING,
      signal,
    );
  }

  /**
   * Resolves when every broker that the cluster lists answers at the address that it gives: a configured one that does says
   * nothing of where records go.
   */
  async check(signal: AbortSignal): Promise<void> {
    const { nodes, by } = await this.#metadata([], signal);
    const others = nodes.filter((node) => formatAddress(node) !== formatAddress(by));
    await Promise.all(others.map(({ nodeId }) => this.send(nodeId, COMMON_CHANNEL, METADATA, [], signal)));
  }

  async #metadata(topics: readonly string[], signal: AbortSignal) {
    const { answer: metadata, by } = await this.#askAny(METADATA, topics, signal);
    this.#clusterId = metadata.clusterId;
    this.#learn(metadata.nodes, by);
    if (topics.length > 0) {
      const isLed = metadata.topics.every(({ partitions }) => partitions.every(({ leader }) => leader >= 0));
      this.#mayBeBehind = isLed ? null : by;
    }
    for (const { name, id, errorCode } of metadata.topics)
      if (id !== null) this.#topicIds.set(name, id);
      else if (errorCode === UNKNOWN_TOPIC_OR_PARTITION) this.#topicIds.delete(name);
    return { ...metadata, by };
  }

  #learn(nodes: readonly NodeAddress[], by: Address): void {
    const configured = new Set(this.#bootstrap.map(formatAddress));
    for (const { nodeId, host, port } of nodes) {
      const isConfigured = configured.has(formatAddress({ host, port }));
      this.#nodes.set(nodeId, { nodeId, address: { host, port }, toldBy: isConfigured ? null : by });
    }
  }

  #brokerOf(nodeId: number): BrokerAddress {
    const broker = this.#nodes.get(nodeId);
    if (broker === undefined) throw new Error(`the cluster has no broker ${nodeId} any more`);
    return broker;
  }

  /** Asks the known brokers, then the configured ones, until one answers; those that were silent come last. */
  async sendToAny<Q, S>(api: Api<Q, S>, request: Q, signal: AbortSignal): Promise<S> {
    return (await this.#askAny(api, request, signal)).answer;
  }

  async #askAny<Q, S>(
    api: Api<Q, S>,
    request: Q,
    signal: AbortSignal,
  ): Promise<{ readonly answer: S; readonly by: Address }> {
    const nodes = Array.from(this.#nodes.values(), ({ address }) => address);
    const known = [...(this.#lastToAnswer ? [this.#lastToAnswer] : []), ...nodes, ...this.#bootstrap];
    const addresses = [...new Map(known.map((address) => [formatAddress(address), address])).values()];
    const patienceMs = (address: Address): number => this.#connections.patienceWith(address).ms;
    const isBehind = (address: Address): boolean =>
      this.#mayBeBehind !== null && formatAddress(address) === formatAddress(this.#mayBeBehind);
    addresses.sort((a, b) => Number(isBehind(a)) - Number(isBehind(b)) || patienceMs(a) - patienceMs(b));
    let failure: unknown = new Error('no brokers are configured');
    for (const address of addresses) {
      try {
        const answer = await this.#connections.send(address, COMMON_CHANNEL, api, request, signal);
        this.#lastToAnswer = address;
        return { answer, by: address };
      } catch (error) {
        signal.throwIfAborted();
        if (this.#lastToAnswer === address) this.#lastToAnswer = null;
        failure = error;
      }
    }
    throw failure;
  }
}

/** @throws {UnreachableError} the connection to this broker failed */
async function naming<T>(broker: BrokerAddress, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw isOfConnection(error) ? new UnreachableError(broker, error) : error;
  }
}

/** Reads `host:port` or `[ipv6]:port`. @throws {RangeError} on anything else */
function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text.trim());
  if (!match) throw new RangeError(`a Kafka broker is written <host>:<port>, got ${JSON.stringify(text)}`);
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) };
}
