import type { Topic } from '../cluster.ts';
import type { TopicPartitions } from '../wire/api.ts';
import { KafkaCodeError, LEADER_NOT_AVAILABLE } from '../wire/error-codes.ts';

export interface Place {
  readonly topic: Topic;
  readonly partition: number;
}

/** What a transaction has left open in a partition. */
export interface OpenEnd {
  readonly place: Place;
  /** Offset of its first record there. */
  readonly since: bigint;
  /** Epoch of what is open. */
  readonly epoch: number;
}

/** `<topic>/<partition>` */
export function placeKey({ topic, partition }: Place): string {
  return `${topic.name}/${partition}`;
}

/** @throws {KafkaCodeError} it has none for the moment */
export function leaderOf({ topic, partition }: Place): number {
  const leader = topic.leaders[partition]!;
  if (leader < 0) throw new KafkaCodeError(LEADER_NOT_AVAILABLE, `partition ${partition} of topic ${topic.name}`);
  return leader;
}

/** Each once, in their order. */
export function distinct<P extends Place>(places: Iterable<P>): P[] {
  return [...new Map(Array.from(places, (place) => [placeKey(place), place])).values()];
}

/** All partitions of topics. */
export function placesIn(topics: Iterable<Topic>): Place[] {
  return [...topics].flatMap((topic) => Array.from(topic.leaders.keys(), (partition) => ({ topic, partition })));
}

export function byTopic(places: readonly Place[]): TopicPartitions[] {
  const partitions = new Map<string, number[]>();
  for (const { topic, partition } of places) {
    const ofTopic = partitions.get(topic.name);
    if (ofTopic) ofTopic.push(partition);
    else partitions.set(topic.name, [partition]);
  }
  return Array.from(partitions, ([topic, numbers]) => ({ topic, partitions: numbers }));
}
