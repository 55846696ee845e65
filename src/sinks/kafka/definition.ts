import * as z from 'zod';
import { MAX_TABLE_NAME_LENGTH } from '../../kudu/schema.ts';
import { zstd, ZSTD_NEEDS } from '../../util/zstd.ts';
import { templateFault } from '../name-template.ts';

/** Kafka's own limit. Source: org.apache.kafka.common.internals.Topic MAX_NAME_LENGTH. */
export const MAX_TOPIC_LENGTH = 249;

const topicTemplate = z.string().superRefine((template, ctx) => {
  const fault = templateFault(template, topicNameFault);
  if (fault !== null) ctx.addIssue({ code: 'custom', message: fault });
});

const topicName = z.string().superRefine((topic, ctx) => {
  const fault = topicNameFault(topic);
  if (fault !== null) ctx.addIssue({ code: 'custom', message: fault });
});

const topicsOfTables = z.record(z.string(), topicName).superRefine((topics, ctx) => {
  const names = Object.keys(topics);
  if (names.length > 1000) ctx.addIssue({ code: 'custom', message: 'must have at most 1000 entries' });
  for (const name of names)
    if (name === '' || name.length > MAX_TABLE_NAME_LENGTH || name.startsWith('!') || name.includes('*'))
      ctx.addIssue({ code: 'custom', path: [name], message: 'must be of one table, by its name, without "*" and "!"' });
});

/** As Kafka Connect has it: a count, or -1 for what the broker is configured to. */
function brokerCount(what: string, max: number) {
  const message = `must be a whole number from 1 to ${max}, or -1 for the broker's own default of ${what}`;
  return z
    .int(message)
    .min(-1, message)
    .max(max, message)
    .refine((n) => n !== 0, message)
    .default(-1);
}

const topicConfig = z.record(z.string(), z.string('must be text, such as "86400000"')).superRefine((settings, ctx) => {
  for (const name of Object.keys(settings))
    if (!/^[a-z][a-z.]*$/.test(name))
      ctx.addIssue({
        code: 'custom',
        path: [name],
        message: 'must be a setting of Kafka topics, such as "retention.ms"',
      });
});

/** `sink` of a stream into Kafka. */
export const kafkaSink = z.strictObject({
  type: z.literal('kafka'),
  topic: topicTemplate.describe(
    'Topic of the records: a name or a template that knows {table}, {stream} and {database} (what stands before the first dot of the table).',
  ),
  topics: topicsOfTables
    .exactOptional()
    .describe('Topics of single tables, by their names; all others go where `topic` says.'),
  delivery: z
    .enum(['exactly-once', 'at-least-once'])
    .default('exactly-once')
    .describe('exactly-once: records and position in one transaction. at-least-once: idempotent producer, acks=all.'),
  partitions: brokerCount('partitions', 100_000).describe(
    "For topics that Spoor creates; -1 is the broker's num.partitions.",
  ),
  replicationFactor: brokerCount('replicas', 1_000).describe(
    "For topics that Spoor creates; -1 is the broker's default.replication.factor.",
  ),
  createTopics: z
    .boolean()
    .default(true)
    .describe('Whether Spoor creates a topic that is missing. If not, the tablets wait for it.'),
  topicConfig: topicConfig
    .exactOptional()
    .describe("Settings of topics that Spoor creates for rows, by Kafka's names, as text."),
  compression: z
    .enum(['none', 'gzip', 'snappy', 'lz4', 'zstd'])
    .refine((name) => name !== 'zstd' || zstd !== null, `"zstd" needs ${ZSTD_NEEDS}: take gzip, snappy or lz4`)
    .exactOptional()
    .describe('How batches of records are compressed; none without it.'),
  schemaTopic: topicName.default('spoor.schema-changes').describe('Topic of the schema changes.'),
});

export type KafkaDefinition = Readonly<z.output<typeof kafkaSink>>;

/** Kafka's rules for a topic. Source: org.apache.kafka.common.internals.Topic. */
function topicNameFault(topic: string): string | null {
  if (topic === '') return 'must not be empty';
  if (topic.length > MAX_TOPIC_LENGTH) return `must have at most ${MAX_TOPIC_LENGTH} characters`;
  if (topic === '.' || topic === '..') return 'must not be "." or ".."';
  if (!/^[A-Za-z0-9._-]+$/.test(topic))
    return 'must be made of A-Z, a-z, 0-9, ".", "_" and "-", which is what Kafka allows';
  return null;
}
