import type { RecordPlace, ShownPlace } from '../reader.ts';

/** The place of a record as Kafka names it. */
interface KafkaPlace extends ShownPlace {
  readonly fields: { readonly topic: string; readonly partition: number; readonly offset: number };
}

/** A partition is a lane, and its offsets are the order. */
export function laneOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}

/** @param place of a lane of {@link laneOf}; the name of a topic has no slash in it */
export function showPlace({ lane, order }: RecordPlace): KafkaPlace {
  const slash = lane.lastIndexOf('/');
  const fields = { topic: lane.slice(0, slash), partition: Number(lane.slice(slash + 1)), offset: Number(order) };
  return { text: `${lane}/${order}`, fields };
}
