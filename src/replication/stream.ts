import * as z from 'zod';
import { describeIssue, faultsOf, type BodyFault } from '../util/zod-faults.ts';
import { zstd, ZSTD_NEEDS } from '../util/zstd.ts';
import { editTables } from './table-edits.ts';

/** Placeholders of topic templates; `{database}` is what stands before the table name's first dot. */
const TEMPLATE_PLACEHOLDERS = ['table', 'stream', 'database'] as const;

/** Kafka's own limit. Source: org.apache.kafka.common.internals.Topic MAX_NAME_LENGTH. */
const MAX_TOPIC_LENGTH = 249;
const MAX_TABLE_NAME_LENGTH = 256; // Kudu's default: kudu/master/catalog_manager.cc max_identifier_length

const streamName = z
  .string()
  .max(64, 'must have at most 64 characters')
  .regex(/^[a-z0-9][a-z0-9._-]*$/, 'must be made of a-z, 0-9, ".", "_" and "-", and begin with a letter or a digit');

/** What takes tables out again that other patterns take in. */
const EXCEPT = '!';

const tablePattern = z
  .string()
  .min(1, 'must not be empty')
  .max(MAX_TABLE_NAME_LENGTH, `must have at most ${MAX_TABLE_NAME_LENGTH} characters`)
  .refine((pattern) => pattern !== EXCEPT, 'must name a table or pattern behind "!"');

const tables = z
  .array(tablePattern)
  .min(1, 'must name at least one table or pattern')
  .max(1000, 'must have at most 1000 entries')
  .superRefine((patterns, ctx) => {
    for (const [i, pattern] of patterns.entries())
      if (patterns.indexOf(pattern) < i)
        ctx.addIssue({ code: 'custom', path: [i], message: `names ${JSON.stringify(pattern)} a second time` });
    if (patterns.length > 0 && patterns.every((pattern) => pattern.startsWith(EXCEPT)))
      ctx.addIssue({
        code: 'custom',
        message: 'must have a pattern without "!": one takes tables out that others take in',
      });
  });

const topicTemplate = z.string().superRefine((template, ctx) => {
  const fault = topicTemplateFault(template);
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
    if (name === '' || name.length > MAX_TABLE_NAME_LENGTH || name.startsWith(EXCEPT) || name.includes('*'))
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

/**
 * A name that the contract knows and this version does not serve yet. Its fault is marked, so that a body whose
 * only faults are of this kind is answered 501 and not 400; the type that comes out is the served one.
 */
function served<const Name extends string, const Served extends Name>(names: readonly [Name, ...Name[]], now: Served) {
  return z.enum(names).pipe(
    z
      .custom<Served>((value) => value === now, {
        error: (issue) =>
          `${JSON.stringify(issue.input)} is not supported yet by this version; use ${JSON.stringify(now)}`,
        params: { unsupported: true },
      })
      .meta({ type: 'string', const: now }), // JSON Schema cannot look into a custom check
  );
}

/** Options of a variant that this version does not serve are not looked at: saying 501 is enough. */
function unservedVariant<const Type extends string>(type: Type, instead: string) {
  return z.looseObject({ type: z.literal(type) }).pipe(
    z
      .custom<never>(() => false, {
        path: ['type'],
        message: `${JSON.stringify(type)} is not supported yet by this version; use ${JSON.stringify(instead)}`,
        params: { unsupported: true },
      })
      .meta({ not: {} }),
  );
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

const kafkaSink = z.strictObject({
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

const RESOLVED_INTERVAL = 'must be a whole number of milliseconds from 1000 to 86400000';

const jsonFormat = z.strictObject({ type: z.literal('json') });

/**
 * A stream as its maker defines it (contract 4), defaults filled in. The type is what this version can run;
 * the schema knows every name of the contract.
 */
export const streamDefinition = z.strictObject({
  name: streamName.describe('Name of the stream: up to 64 of a-z, 0-9, ".", "_", "-".'),
  tables: tables.describe(
    'Exact table names, or patterns in which * stands for any characters; with ! in front they take tables out again.',
  ),
  // The default is the one that loses no row; a table's rows from before the stream are never left out silently.
  start: z
    .enum(['snapshot', 'now'])
    .default('snapshot')
    .describe('Where the stream begins: `snapshot`, a base copy and then the log; `now`, the log from here on.'),
  sink: z.discriminatedUnion('type', [kafkaSink, unservedVariant('redis', 'kafka')]).describe('Where the records go.'),
  format: z
    .discriminatedUnion('type', [jsonFormat, unservedVariant('avro', 'json'), unservedVariant('kudu-record', 'json')])
    .default({ type: 'json' })
    .describe('How a record is written.'),
  images: served(['changed', 'full'], 'changed')
    .prefault('changed')
    .describe(
      'What an update carries: the key and the columns it set, or (501 in this version) the full row before and after.',
    ),
  tombstones: z
    .boolean()
    .default(true)
    .describe('Whether a delete is followed by a record with the same key and a null value.'),
  resolved: z
    .strictObject({
      intervalMs: z
        .int(RESOLVED_INTERVAL)
        .min(1_000, RESOLVED_INTERVAL)
        .max(86_400_000, RESOLVED_INTERVAL)
        .describe('How often, about. A tablet that is idle gets a write without rows as often.'),
    })
    .exactOptional()
    .describe(
      'Marks in every partition of the topics: all changes of a tablet up to a hybrid time are there. None without it.',
    ),
  copyRowsPerSecond: z
    .int('must be a whole number of rows, 0 for no limit')
    .min(0, 'must be a whole number of rows, 0 for no limit')
    .exactOptional()
    .describe('How many rows a second each sidecar copies at most, in base copies and repairs; 0 or none is no limit.'),
});
export type StreamDefinition = Readonly<z.output<typeof streamDefinition>>;

export type ParsedDefinition =
  | { readonly kind: 'ok'; readonly definition: StreamDefinition }
  /** The body is wrong: every fault of it. */
  | { readonly kind: 'invalid'; readonly faults: readonly BodyFault[] }
  /** The body is right by the contract; this version cannot serve what the faults name. */
  | { readonly kind: 'unsupported'; readonly faults: readonly BodyFault[] };

/** Checks a definition from outside and fills in the defaults. Never throws; lists all faults, not only the first. */
export function parseStreamDefinition(body: unknown): ParsedDefinition {
  const parsed = streamDefinition.safeParse(body, { error: describeIssue });
  if (parsed.success) return { kind: 'ok', definition: parsed.data };
  const { issues } = parsed.error;
  const kind = issues.every((issue) => issue.code === 'custom' && issue.params?.unsupported === true)
    ? 'unsupported'
    : 'invalid';
  return { kind, faults: issues.flatMap((issue) => faultsOf(issue, knownAt(issue))) };
}

/**
 * A change of a stream, as a merge patch (RFC 7396): what it does not name stays. What decides where records are and how
 * they are written cannot change: positions and records of before would not fit those of after.
 */
export type StreamChange = Readonly<Record<string, unknown>>;

/** What a change may name; of the sink, these options. */
const CHANGEABLE = ['tables', 'copyRowsPerSecond', 'tombstones', 'resolved', 'sink'] as const;
const CHANGEABLE_OF_SINK = [
  'topics',
  'delivery',
  'partitions',
  'replicationFactor',
  'createTopics',
  'topicConfig',
  'compression',
  'schemaTopic',
] as const;

/** The definition with the change in it, or every fault of the change. Naming what stays as it is is no fault. */
export function changeDefinition(definition: StreamDefinition, asked: unknown): ParsedDefinition {
  if (!isObject(asked)) return { kind: 'invalid', faults: [{ path: '', message: 'must be an object' }] };
  const tables = editTables(definition.tables, asked.tables);
  if (tables.kind !== 'ok') return tables;
  const change = 'tables' in asked ? { ...asked, tables: tables.value } : asked;
  const before = definition as StreamDefinition & Record<string, unknown>;
  const faults: BodyFault[] = [];
  const refuse = (path: string, allowed: readonly string[]): void => {
    const message = `cannot change while the stream goes on; what can is ${allowed.join(', ')}`;
    faults.push({ path, message });
  };
  for (const [key, value] of Object.entries(change)) {
    if (key === 'sink' && isObject(value)) {
      for (const [option, wanted] of Object.entries(value))
        if (
          !(CHANGEABLE_OF_SINK as readonly string[]).includes(option) &&
          !isSame(wanted, (before.sink as Record<string, unknown>)[option])
        )
          refuse(
            `sink.${option}`,
            CHANGEABLE_OF_SINK.map((name) => `sink.${name}`),
          );
    } else if (!(CHANGEABLE as readonly string[]).includes(key) && !isSame(value, before[key])) refuse(key, CHANGEABLE);
  }
  if (faults.length > 0) return { kind: 'invalid', faults };
  return parseStreamDefinition(mergePatch(before, change));
}

/** RFC 7396: null removes, objects are merged, anything else replaces. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch))
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  return Object.fromEntries(merged);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/**
 * Whether a table of that name belongs to a stream with these patterns: exact, or with `*` for any characters. What one with
 * `!` in front names is out, wherever that stands.
 */
export function matchTables(patterns: readonly string[], tableName: string): boolean {
  const [out, taken] = [true, false].map((isOut) => patterns.filter((pattern) => pattern.startsWith(EXCEPT) === isOut));
  return (
    taken!.some((pattern) => matchesGlob(pattern, tableName)) &&
    !out!.some((pattern) => matchesGlob(pattern.slice(EXCEPT.length), tableName))
  );
}

/** Greedy and without backtracking over more than the last star, so that no pattern takes more than n x m steps. */
function matchesGlob(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1; // the last star seen, and where its match ends so far
  let starEnd = 0;
  while (n < name.length) {
    if (pattern[p] === '*') [star, starEnd, p] = [p, n, p + 1];
    else if (pattern[p] === name[n]) [p, n] = [p + 1, n + 1];
    else if (star >= 0) [p, starEnd, n] = [star + 1, starEnd + 1, starEnd + 1];
    else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

function topicTemplateFault(template: string): string | null {
  const known = TEMPLATE_PLACEHOLDERS.map((name) => `{${name}}`).join(', ');
  const braced = template.match(/\{[^{}]*\}/g) ?? [];
  const unknown = braced.find((placeholder) => !known.split(', ').includes(placeholder));
  if (unknown !== undefined) return `has an unknown placeholder ${unknown}; known are ${known}`;
  // One letter stands in for the name that will be there, which makes neither an empty topic nor `.` or `..`.
  const filled = template.replace(/\{[^{}]*\}/g, 'x');
  if (/[{}]/.test(filled)) return `has a brace that belongs to no placeholder; known are ${known}`;
  return topicNameFault(filled);
}

/** Kafka's rules for a topic. Source: org.apache.kafka.common.internals.Topic. */
function topicNameFault(topic: string): string | null {
  if (topic === '') return 'must not be empty';
  if (topic.length > MAX_TOPIC_LENGTH) return `must have at most ${MAX_TOPIC_LENGTH} characters`;
  if (topic === '.' || topic === '..') return 'must not be "." or ".."';
  if (!/^[A-Za-z0-9._-]+$/.test(topic))
    return 'must be made of A-Z, a-z, 0-9, ".", "_" and "-", which is what Kafka allows';
  return null;
}

/** What may stand where an issue is. */
function knownAt(issue: z.core.$ZodIssue): readonly string[] {
  const [first] = issue.path;
  return Object.keys(
    first === 'sink' ? kafkaSink.shape : first === 'format' ? jsonFormat.shape : streamDefinition.shape,
  );
}
