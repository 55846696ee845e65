import { compileTemplate } from '../name-template.ts';
import { MAX_TOPIC_LENGTH } from './definition.ts';

/** Turns a table's name into a topic's. @throws {RangeError} the result is no topic name */
export type TopicNamer = (tableName: string) => string;

/** How the tables of a stream get their topics. */
export interface TopicNaming {
  /** A name, or a template. */
  readonly topic: string;
  /** Of single tables, by their names; the template is of all others. */
  readonly topics?: Readonly<Record<string, string>>;
}

/**
 * Compiles `cdc.{table}`: `{table}`, `{stream}`, `{database}` (what stands before the table name's first dot, or all of it).
 * Characters that Kafka does not allow in a topic become `_`, as Debezium does it: `impala::shop.orders` is a common
 * table name in Kudu.
 * @throws {RangeError} on another placeholder
 */
export function compileTopicTemplate({ topic: template, topics = {} }: TopicNaming, streamName: string): TopicNamer {
  const fill = compileTemplate('topic', template, streamName);
  return (tableName) => {
    if (Object.hasOwn(topics, tableName)) return topics[tableName]!;
    const topic = fill(tableName).replace(/[^a-zA-Z0-9._-]/g, '_');
    if (topic === '' || topic === '.' || topic === '..' || topic.length > MAX_TOPIC_LENGTH)
      throw new RangeError(
        `table ${JSON.stringify(tableName)} makes the topic name ${JSON.stringify(topic)}, which Kafka does not take`,
      );
    return topic;
  };
}
