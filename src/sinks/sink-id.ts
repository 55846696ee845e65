/*
 * A sink's id says where records went: the store, whatever address it is reached by, and in it the topic, in which making.
 *
 *   <store>                     kafka:MkU3OEVBNTcwNTJENDM2Qk
 *   <store>/<topic>@<topic id>  kafka:MkU3OEVBNTcwNTJENDM2Qk/cdc.shop.orders@pJ0ZLEVsQzu3bDbUNBjJmA
 *
 * A topic that was deleted and made again has another id and none of the old records; its name does not tell that. The
 * short form stands where the topic's id is not known; the empty one where nothing is. Markers keep both for as long as
 * a tablet's log lives, so neither form may come to mean something else.
 */

export interface SinkId {
  readonly store: string;
  readonly topic?: { readonly name: string; readonly id: string };
}

/**
 * - `same`: what was shipped there is here.
 * - `unknown`: one of the two does not say enough, or they name different topics of one store, as after a table was renamed.
 * - `other-store`: what was shipped is in another cluster.
 * - `topic-made-anew`: the topic has the old name, and not the old records.
 */
export type SinkRelation = 'same' | 'unknown' | 'other-store' | 'topic-made-anew';

export function formatSinkId({ store, topic }: SinkId): string {
  return topic === undefined ? store : `${store}/${topic.name}@${topic.id}`;
}

/** Never fails: what has no topic that we can read is a store alone. */
export function parseSinkId(text: string): SinkId {
  const match = /^(.*)\/([^/@]+)@([^/@]+)$/s.exec(text);
  return match ? { store: match[1]!, topic: { name: match[2]!, id: match[3]! } } : { store: text };
}

export function compareSinkIds(before: string, now: string): SinkRelation {
  if (before === '' || now === '') return 'unknown';
  if (before === now) return 'same';
  const [old, here] = [parseSinkId(before), parseSinkId(now)];
  if (old.store !== here.store) return 'other-store';
  return old.topic?.name === here.topic?.name ? 'topic-made-anew' : 'unknown';
}

/** The newer of two, unless it only tells less of the same store: a topic that is gone is looked for under its old id. */
export function latestSinkId(before: string, now: string): string {
  if (now === '') return before;
  return parseSinkId(before).store === now ? before : now;
}
