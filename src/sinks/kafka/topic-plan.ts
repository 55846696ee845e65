import type { SinkPlan } from '../sink.ts';
import { compileTopicTemplate, type TopicNaming } from './topic-template.ts';

export interface TopicPlanOptions extends TopicNaming {
  readonly streamName: string;
  readonly schemaTopic: string;
}

/**
 * Which topics the tables of a stream go to, and what comes in the way of it: a table that no topic can be named after,
 * topics that Kafka does not have beside each other, and tables that meet in one topic although the template has their
 * names apart. Nothing is asked of Kafka: what it has besides is found out when the topics are made.
 */
export function planTopics(options: TopicPlanOptions, tables: readonly string[]): SinkPlan {
  const { topic: template, topics = {}, schemaTopic, streamName } = options;
  const nameTopic = compileTopicTemplate(options, streamName);
  const faults: string[] = [];
  const places = new Map<string, string>();
  for (const table of tables)
    try {
      places.set(table, nameTopic(table));
    } catch (error) {
      faults.push(`${error instanceof Error ? error.message : String(error)}; ${wayOut(table)}`);
    }
  // Only a template with the table's name in it keeps tables apart; without it they are meant to be together.
  const isApart = (table: string): boolean => template.includes('{table}') && !Object.hasOwn(topics, table);
  const warnings = [...byTopic(places)].flatMap(([topic, sharing]) => {
    if (!sharing.some(isApart)) return [];
    if (topic === schemaTopic) sharing.push('the schema changes');
    return sharing.length < 2 ? [] : [`${listOf(sharing)} share the topic ${topic}`];
  });
  const sharing = byTopic(places);
  for (const [one, other] of clashes(new Set([schemaTopic, ...places.values()]))) {
    const [first = ['the schema changes'], second = []] = [sharing.get(one), sharing.get(other)];
    faults.push(
      `${listOf(first)} and ${listOf(second)} make the topics ${one} and ${other}, ` +
        `of which Kafka takes one: names that differ in "." and "_" alone collide; ${wayOut(second[0]!)}`,
    );
  }
  return { places, faults, warnings };
}

/** The other tables of a stream whose topics Kafka does not take beside this table's, told with what to do; null for none. */
export function clashOf(options: TopicPlanOptions, table: string, tables: readonly string[]): string | null {
  const nameTopic = compileTopicTemplate(options, options.streamName);
  const own = nameTopic(table);
  const others = tables.filter((other) => {
    try {
      const topic = nameTopic(other);
      return topic !== own && canonical(topic) === canonical(own);
    } catch {
      return false;
    }
  });
  if (others.length === 0) return null;
  const topics = [...new Set(others.map(nameTopic))].join(', ');
  return `table ${JSON.stringify(table)} and ${listOf(others)}, which goes to ${topics}, cannot both have a topic: names that differ in "." and "_" alone collide in Kafka; ${wayOut(table)}`;
}

function wayOut(table: string): string {
  return `take one out with ${JSON.stringify(`!${table}`)} in tables, or give it a topic of its own in sink.topics`;
}

/** Kafka names its metrics after topics, with "_" for ".". Source: org.apache.kafka.common.internals.Topic.unifyCollisionChars. */
function canonical(topic: string): string {
  return topic.replaceAll('.', '_');
}

function clashes(topics: ReadonlySet<string>): [string, string][] {
  const first = new Map<string, string>();
  return [...topics].flatMap((topic): [string, string][] => {
    const other = first.get(canonical(topic));
    if (other !== undefined) return [[other, topic]];
    first.set(canonical(topic), topic);
    return [];
  });
}

function byTopic(places: ReadonlyMap<string, string>): Map<string, string[]> {
  const sharing = new Map<string, string[]>();
  for (const [table, topic] of places) sharing.set(topic, [...(sharing.get(topic) ?? []), table]);
  return sharing;
}

/** At most some of them by name: a pattern may have hundreds. */
function listOf(tables: readonly string[]): string {
  const named = tables.slice(0, 5).map((table) => JSON.stringify(table));
  return named.join(', ') + (tables.length > named.length ? ` and ${tables.length - named.length} more` : '');
}
