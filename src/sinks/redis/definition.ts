import * as z from 'zod';
import { templateFault } from '../name-template.ts';

/** Redis takes keys of 512 MB; what is longer than this is a mistake. */
const MAX_KEY_LENGTH = 512;
/** Each is opened, and told of every position, for each tablet. */
const MAX_SHARDS = 64;

const keyTemplate = z.string().superRefine((template, ctx) => {
  const fault = templateFault(template, keyFault);
  if (fault !== null) ctx.addIssue({ code: 'custom', message: fault });
});

const keyName = z.string().superRefine((key, ctx) => {
  const fault = keyFault(key);
  if (fault !== null) ctx.addIssue({ code: 'custom', message: fault });
});

const wait = z
  .strictObject({
    replicas: z
      .int()
      .min(0)
      .max(16)
      .default(0)
      .describe('How many replicas must have a record before it counts as saved (WAIT).'),
    timeoutMs: z.int().min(1).max(60_000).default(1000).describe('How long one WAIT or WAITAOF may take.'),
  })
  .describe('Replicas that are waited for.');

/** `sink` of a stream into Redis Streams. */
export const redisSink = z.strictObject({
  type: z.literal('redis'),
  key: keyTemplate.describe(
    'Stream key of the records: a name or a template that knows {table}, {stream} and {database} (what stands before the first dot of the table).',
  ),
  layout: z
    .enum(['extended', 'compact'])
    .default('extended')
    .describe(
      "Debezium Server's: extended has the fields key, value and SPOOR.POS; compact has one field, the key, with the value.",
    ),
  shards: z
    .int()
    .min(1)
    .max(MAX_SHARDS)
    .default(1)
    .describe('Over how many stream keys, <key>.<n>, the records of a table are spread by their primary key.'),
  maxLen: z.int().min(1).nullable().default(null).describe('How many entries a stream key keeps, about; null: all.'),
  minIdAgeMs: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe('How old an entry may become, by the server’s clock, in milliseconds; null: any age.'),
  wait: wait.prefault({}),
  durability: z
    .enum(['durable', 'memory'])
    .default('durable')
    .describe('durable: a server that keeps nothing on disk and has no replicas is refused. memory: it is taken.'),
  schemaKey: keyName.default('spoor.schema-changes').describe('Stream key of the schema changes.'),
});

export type RedisDefinition = Readonly<z.output<typeof redisSink>>;

/**
 * What is against a key of a stream; null for nothing. Braces in it would say to a Cluster which slot it is in, and the key of
 * its positions could not be in the same one.
 */
export function keyFault(key: string): string | null {
  if (key === '') return 'must not be empty';
  if (key.length > MAX_KEY_LENGTH) return `must have at most ${MAX_KEY_LENGTH} characters`;
  if (/[{}]/.test(key)) return 'must have no "{" and no "}", by which a Redis Cluster decides where a key lies';
  if (/\p{Cc}/u.test(key)) return 'must have no control characters';
  if (key.startsWith(POSITIONS_PREFIX))
    return `must not begin with "${POSITIONS_PREFIX}", where Spoor keeps its positions`;
  return null;
}

/** How the keys of positions begin. */
export const POSITIONS_PREFIX = 'spoor:';
