import { KafkaCluster } from '../sinks/kafka/cluster.ts';
import { isCompacted } from '../sinks/kafka/cleanup-policy.ts';
import type { KafkaDefinition } from '../sinks/kafka/definition.ts';
import { POSITIONS_PARTITIONS, POSITIONS_TOPIC } from '../sinks/kafka/lanes/positions-topic.ts';
import { METADATA } from '../sinks/kafka/wire/cluster-apis.ts';
import { DESCRIBE_TOPIC_CONFIG } from '../sinks/kafka/wire/describe-configs.ts';
import { NO_ERROR, NOT_AUTHORIZED } from '../sinks/kafka/wire/error-codes.ts';
import { DESCRIBE_TRANSACTIONS } from '../sinks/kafka/wire/transaction-apis.ts';
import { fault, type Finding } from './finding.ts';
import type { KafkaToAsk } from './kafka-brokers.ts';
import type { ListedStream } from './stored-streams.ts';

const TIMEOUT_MS = 3_000;
const CLEANUP_POLICY = 'cleanup.policy';
const MAX_MESSAGE_BYTES = 'max.message.bytes';
/** Kafka's own default: smaller is somebody's choice, and a row that does not fit stops its tablet. */
const USUAL_MESSAGE_BYTES = 1_048_588;
/** Transactional ids of Spoor begin so; nobody has this one. */
const ANY_TRANSACTION = 'spoor.doctor';

/** A topic that is there, and what streams want of it. */
export interface TopicFacts {
  readonly name: string;
  readonly of: 'rows' | 'schema-changes' | 'positions';
  readonly stream: string;
  readonly partitions: number;
  /** Null where any number does. */
  readonly wantedPartitions: number | null;
  /** Null where we may not ask, as below. */
  readonly cleanupPolicy: string | null;
  readonly maxMessageBytes: number | null;
  readonly wantedMessageBytes: number;
  /** What of the stream a compacted topic would lose or refuse; null for nothing. */
  readonly whyNotCompacted: string | null;
}

export function judgeTopic(topic: TopicFacts): readonly Finding[] {
  const { name, of, stream, partitions, wantedPartitions, cleanupPolicy, maxMessageBytes, wantedMessageBytes } = topic;
  const faults: Finding[] = [];
  const add = (what: string, remedy: string): void => {
    faults.push(fault('streams', `stream ${stream}: topic ${name} ${what}`, remedy));
  };
  if (wantedPartitions !== null && partitions < wantedPartitions)
    add(
      `has ${partitions} partitions, ${wantedPartitions} are asked for`,
      of === 'positions'
        ? 'Stop the sidecars and delete it: they make it anew, and go on by the markers in the tablets.'
        : `kafka-topics.sh --alter --topic ${name} --partitions ${wantedPartitions}: keys may then lie in another partition than before. Or ask for fewer: sink.partitions.`,
    );
  if (maxMessageBytes !== null && maxMessageBytes < wantedMessageBytes)
    add(
      `takes no record of more than ${maxMessageBytes} bytes (max.message.bytes), ${wantedMessageBytes} are usual`,
      `kafka-configs.sh --alter --entity-type topics --entity-name ${name} --add-config max.message.bytes=${wantedMessageBytes}`,
    );
  if (cleanupPolicy !== null) {
    const compact = isCompacted(cleanupPolicy);
    const set = (policy: string): string =>
      `kafka-configs.sh --alter --entity-type topics --entity-name ${name} --add-config cleanup.policy=${policy}`;
    if (of === 'rows' && compact && topic.whyNotCompacted !== null)
      add(`is compacted, and the stream ${topic.whyNotCompacted}`, set('delete'));
    if (of === 'positions' && cleanupPolicy !== 'compact')
      add(`has cleanup.policy=${cleanupPolicy}, so positions are forgotten`, set('compact'));
    if (of === 'schema-changes' && !compact)
      add(`has cleanup.policy=${cleanupPolicy}, so schemas are forgotten`, set('compact'));
  }
  return faults;
}

/** What a compacted topic would do to a stream, in words behind "the stream". */
export function whyNotCompacted({
  images,
  resolved,
}: Pick<ListedStream['definition'], 'images' | 'resolved'>): string | null {
  if (images === 'changed') return 'has images "changed": compaction takes the records that a partial one builds on';
  return resolved === undefined ? null : 'has resolved marks, which have no key and are refused';
}

/** The topics of streams as they are; nothing is made. Topics that are not there are the sink's own report's to tell. */
export async function lookAtTopics(
  { brokers, access, logger }: KafkaToAsk,
  streams: readonly {
    readonly stream: ListedStream;
    readonly sink: KafkaDefinition;
    readonly places: readonly string[];
  }[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const timeouts = { connectTimeoutMs: TIMEOUT_MS, requestTimeoutMs: TIMEOUT_MS };
  await using cluster = new KafkaCluster(brokers, { clientId: 'spoor', access, ...timeouts, logger });
  const wanted = streams.flatMap(({ stream: { definition }, sink, places }) => {
    const of = (name: string, kind: TopicFacts['of']) => ({ name, of: kind, definition, sink });
    return [
      ...places.filter((place) => place !== sink.schemaTopic).map((place) => of(place, 'rows')),
      of(sink.schemaTopic, 'schema-changes'),
      of(POSITIONS_TOPIC, 'positions'),
    ];
  });
  const once = [...new Map(wanted.map((topic) => [topic.name, topic])).values()];
  const { topics } = await cluster.sendToAny(
    METADATA,
    once.map(({ name }) => name),
    signal,
  );
  const there = new Map(
    topics.flatMap((topic) => (topic.errorCode === NO_ERROR ? [[topic.name, topic] as const] : [])),
  );
  const facts = once.flatMap(({ name, of, definition, sink }) => {
    const found = there.get(name);
    return found === undefined ? [] : [{ name, of, definition, sink, partitions: found.partitions.length }];
  });
  const judged = await Promise.all(
    facts.map(async ({ name, of, definition, sink, partitions }) => {
      const names = [CLEANUP_POLICY, MAX_MESSAGE_BYTES];
      const { errorCode, values } = await cluster.sendToAny(DESCRIBE_TOPIC_CONFIG, { topic: name, names }, signal);
      const value = (setting: string): string | null => (errorCode === NO_ERROR ? (values.get(setting) ?? null) : null);
      const bytes = value(MAX_MESSAGE_BYTES);
      return judgeTopic({
        name,
        of,
        stream: definition.name,
        partitions,
        wantedPartitions: wantedPartitions(of, sink),
        cleanupPolicy: value(CLEANUP_POLICY),
        maxMessageBytes: bytes === null ? null : Number(bytes),
        wantedMessageBytes: of === 'rows' ? Number(sink.topicConfig?.[MAX_MESSAGE_BYTES] ?? USUAL_MESSAGE_BYTES) : 0,
        whyNotCompacted: whyNotCompacted(definition),
      });
    }),
  );
  return [...judged.flat(), ...(await lookAtTransactions(cluster, signal))];
}

function wantedPartitions(of: TopicFacts['of'], { partitions }: KafkaDefinition): number | null {
  if (of === 'positions') return POSITIONS_PARTITIONS;
  return of === 'rows' && partitions > 0 ? partitions : null;
}

/** Whether transactions of Spoor's may be begun at all: of one that nobody has, only somebody with no right is told that. */
async function lookAtTransactions(cluster: KafkaCluster, signal: AbortSignal): Promise<readonly Finding[]> {
  const request = { transactionalId: ANY_TRANSACTION };
  // Brokers before 2.8 do not know the question.
  const answer = await cluster.sendToAny(DESCRIBE_TRANSACTIONS, request, signal).catch(() => null);
  if (answer === null || !NOT_AUTHORIZED.has(answer.errorCode)) return [];
  return [
    fault(
      'streams',
      'Kafka does not let this user have transactions: TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
      "Give the sidecars' principal Describe and Write on transactional ids with the prefix spoor. (docs/operations.md, What Kafka must allow).",
    ),
  ];
}
