import * as z from 'zod';
import { MAX_TABLE_NAME_LENGTH } from '../kudu/schema.ts';
import { describeIssue, faultsOf, type BodyFault } from '../util/zod-faults.ts';
import { isUnserved } from '../util/zod-unserved.ts';
import { formatDefinition, formatFaults, formatKeys } from '../formats/definitions.ts';
import { selectionShape } from '../selection/definition.ts';
import { sinkDefinition, SINK_KEYS } from '../sinks/definitions.ts';
import { EXCEPT, matchTables } from './table-patterns.ts';

const streamName = z
  .string()
  .max(64, 'must have at most 64 characters')
  .regex(/^[a-z0-9][a-z0-9._-]*$/, 'must be made of a-z, 0-9, ".", "_" and "-", and begin with a letter or a digit');

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

const RESOLVED_INTERVAL = 'must be a whole number of milliseconds from 1000 to 86400000';

/** What may be said of a stream, each by itself. */
const streamFields = z.strictObject({
  name: streamName.describe('Name of the stream: up to 64 of a-z, 0-9, ".", "_", "-".'),
  tables: tables.describe(
    'Exact table names, or patterns in which * stands for any characters; with ! in front they take tables out again.',
  ),
  // The default is the one that loses no row; a table's rows from before the stream are never left out silently.
  start: z
    .enum(['snapshot', 'now'])
    .default('snapshot')
    .describe('Where the stream begins: `snapshot`, a base copy and then the log; `now`, the log from here on.'),
  sink: sinkDefinition.describe('Where the records go.'),
  format: formatDefinition.default({ type: 'json' }).describe('How a record is written.'),
  // The default is what every reader takes it for: a column that is not in `after` is null to them.
  images: z
    .enum(['after', 'full', 'changed'])
    .default('after')
    .describe(
      '`after`: the whole row after each change; `full`: the whole row before it as well; `changed`: the key and the columns that it set, which most readers take for nulls elsewhere.',
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
  ...selectionShape,
  copyRowsPerSecond: z
    .int('must be a whole number of rows, 0 for no limit')
    .min(0, 'must be a whole number of rows, 0 for no limit')
    .exactOptional()
    .describe('How many rows a second each sidecar copies at most, in base copies and repairs; 0 or none is no limit.'),
});

/** What does not go together. */
function checkTogether(
  { format, ...company }: Readonly<z.output<typeof streamFields>>,
  ctx: z.core.$RefinementCtx,
): void {
  for (const { path, message } of formatFaults(format, company))
    ctx.addIssue({ code: 'custom', path: [...path], message });
  // A misspelt table would be shipped as if nothing had been said of it.
  const { tables: patterns, columns = {}, where = {} } = company;
  for (const [field, byTable] of Object.entries({ columns, where }))
    for (const table of Object.keys(byTable))
      if (!table.includes('*') && !matchTables(patterns, table))
        ctx.addIssue({ code: 'custom', path: [field, table], message: 'names a table that tables does not take in' });
}

/**
 * A stream as its maker defines it (contract 4), defaults filled in. The type is what this version can run;
 * the schema knows every name of the contract.
 */
export const streamDefinition = streamFields.superRefine(checkTogether);
export type StreamDefinition = Readonly<z.output<typeof streamDefinition>>;

/** A stream as it is asked for as a whole: its definition, and whether it is to ship. */
const bodyFields = streamFields.extend({
  paused: z
    .boolean()
    .default(false)
    .describe('Whether nothing of it ships for now; its log is held meanwhile, from its start on.'),
});
export const streamBody = bodyFields.superRefine(checkTogether);
/** The same where the path says the name. */
export const namedStreamBody = bodyFields.partial({ name: true });

/** What {@link streamBody} asks for. Pausing is no part of the definition: it is said and taken back by itself as well. */
export interface AskedStream {
  readonly definition: StreamDefinition;
  readonly paused: boolean;
}

/** A definition that cannot be had, and why. */
export type WrongDefinition =
  /** The body is wrong: every fault of it. */
  | { readonly kind: 'invalid'; readonly faults: readonly BodyFault[] }
  /** The body is right by the contract; this version cannot serve what the faults name. */
  | { readonly kind: 'unsupported'; readonly faults: readonly BodyFault[] };

export type ParsedDefinition = { readonly kind: 'ok'; readonly definition: StreamDefinition } | WrongDefinition;
export type ParsedStream = ({ readonly kind: 'ok' } & AskedStream) | WrongDefinition;

/** Checks a definition and fills in the defaults. Never throws; lists all faults, not only the first. */
export function parseStreamDefinition(body: unknown): ParsedDefinition {
  const parsed = streamDefinition.safeParse(body, { error: describeIssue });
  return parsed.success ? { kind: 'ok', definition: parsed.data } : wrongBy(parsed.error.issues, body);
}

/** The same for a stream as it is asked for from outside. */
export function parseStreamBody(body: unknown): ParsedStream {
  const parsed = streamBody.safeParse(body, { error: describeIssue });
  if (!parsed.success) return wrongBy(parsed.error.issues, body);
  const { paused, ...definition } = parsed.data;
  return { kind: 'ok', definition, paused };
}

function wrongBy(issues: readonly z.core.$ZodIssue[], body: unknown): WrongDefinition {
  const kind = issues.every(isUnserved) ? 'unsupported' : 'invalid';
  return { kind, faults: issues.flatMap((issue) => faultsOf(issue, knownAt(issue, body))) };
}

/** What may stand where an issue is. */
function knownAt(issue: z.core.$ZodIssue, body: unknown): readonly string[] {
  const [first] = issue.path;
  if (first === 'format') return formatKeys((body as { readonly format: unknown }).format); // an issue is within it
  return first === 'sink' ? SINK_KEYS : Object.keys(streamBody.shape);
}
