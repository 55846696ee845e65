import * as z from 'zod';
import { streamDefinition } from '../replication/stream.ts';
import {
  TABLET_STATES,
  type ResyncedStream,
  type SidecarView,
  type StreamPlan,
  type StreamView,
  type TabletView,
} from '../replication/views.ts';
import type { Problem } from './problem.ts';

/*
 * The shapes of the API's answers. The types of views.ts are what the code works with; `satisfies` keeps the two
 * from drifting apart, and openapi.json is made from here.
 */

const opId = z.string().describe("A position in the tablet's Raft log, written term.index.");
const hostPort = z.string().describe('host:port');

export const tabletView = z.object({
  stream: z.string(),
  generation: z
    .string()
    .exactOptional()
    .describe('Of which stream of that name, and which stay of the table in it, a sidecar speaks: in /v1/local alone.'),
  tabletId: z.string(),
  table: z.string(),
  sidecar: hostPort.nullable().describe('The sidecar that ships it, by its host:port; null where none does.'),
  role: z.enum(['leader', 'follower', 'learner', 'unknown']),
  state: z.enum(TABLET_STATES),
  applyOpId: opId.nullable().describe('Up to here the sink has everything.'),
  committedOpId: opId.nullable(),
  lagOps: z.number().nullable(),
  lagSeconds: z
    .number()
    .nullable()
    .describe('Age of the oldest committed operation that the sink has not acknowledged.'),
  hold: z
    .object({ index: z.number(), bytes: z.number(), ageSeconds: z.number() })
    .nullable()
    .describe('The log that is kept from garbage collection, from this index on.'),
  yields: z
    .boolean()
    .exactOptional()
    .describe('This sidecar cannot ship it at present, and leaves it to another one that can.'),
  copy: z
    .object({
      kind: z.enum(['all', 'changes']).describe('changes: a repair, of what changed while the log was lost.'),
      hybridTime: z.string().describe('The rows are copied as they were then.'),
      rows: z.number().describe('In the sink.'),
      totalRows: z.number().nullable().describe('Counted while the copy runs; null before, and for a repair.'),
      percent: z.number().nullable(),
      secondsLeft: z.number().nullable().describe('At the pace so far.'),
    })
    .exactOptional()
    .describe('The copy of its rows that is under way.'),
  corrected: z.string().exactOptional().describe('The last correction of rows that is in the sink, by its id.'),
  error: z
    .object({ code: z.string(), message: z.string(), since: z.iso.datetime() })
    .exactOptional()
    .describe('What keeps it from running, and since when. Codes: docs/errors.md. Of each that is `blocked` or `gap`.'),
  waiting: z
    .object({ for: z.string(), since: z.iso.datetime() })
    .exactOptional()
    .describe(
      'What it waits for that is no error, in words, and since when. Of each that is neither `running`, `paused`, `blocked` nor `gap`.',
    ),
}) satisfies z.ZodType<TabletView>;

export const streamView = z.object({
  ...streamDefinition.shape,
  createdAt: z.iso.datetime(),
  tablets: z.array(tabletView),
  warnings: z
    .array(z.string())
    .exactOptional()
    .describe('What may not be meant, or cannot work, by the names that its tables have now.'),
}) satisfies z.ZodType<StreamView>;

export const streamPlan = z.object({
  definition: streamDefinition,
  tables: z.array(
    z.object({
      name: z.string(),
      tablets: z.int(),
      topic: z.string().nullable(),
      begins: z
        .enum(['copy', 'now'])
        .describe('copy: with a copy of its rows. now: with what is written from then on.'),
    }),
  ),
  warnings: z.array(z.string()),
}) satisfies z.ZodType<StreamPlan>;
export const createQuery = z.object({
  dryRun: z
    .enum(['true', 'false'])
    .default('false')
    .describe('true: the answer is 200 and what would become of it, or why not; nothing is made.'),
});

export const sidecarView = z.object({
  id: z.string(),
  http: hostPort.or(z.literal('')).describe('Where the other sidecars call it; empty once it has stopped.'),
  tserver: hostPort,
  tserverUuid: z.string(),
  version: z.string(),
  lastSeen: z.iso.datetime(),
}) satisfies z.ZodType<SidecarView>;

const nameList = z.array(z.string()).min(1, 'must name at least one');
/** A cell of Spoor's own table takes 64 KiB (kudu-facts 5.5), and the rows are read in one go. */
const MAX_KEYS = 500;
const MAX_KEYS_CHARS = 40_000;
const keyList = z
  .array(z.base64('must be base64').transform((text) => Buffer.from(text, 'base64')))
  .min(1, 'must name at least one')
  .max(MAX_KEYS, `must name at most ${MAX_KEYS}`)
  .refine((keys) => keys.reduce((sum, key) => sum + (key.length * 4) / 3 + 4, 0) <= MAX_KEYS_CHARS, {
    error: `must have at most ${MAX_KEYS_CHARS} characters in all`,
  });
export const resyncRequest = z
  .strictObject({
    from: z
      .enum(['snapshot', 'gap'])
      .default('snapshot')
      .describe(
        '`snapshot`: all rows are copied again. `gap`: where the log has a gap, it is repaired; elsewhere nothing.',
      ),
    tables: nameList.exactOptional().describe('Only these tables, by the names that they have now.'),
    tablets: nameList.exactOptional().describe('Only these tablets, by their ids.'),
    keys: keyList.exactOptional().describe('Only these rows of one tablet: encoded primary keys, in base64.'),
  })
  .superRefine(({ tables, tablets, keys, from }, ctx) => {
    if (keys === undefined) return;
    const refuse = (path: string, message: string): void => {
      ctx.addIssue({ code: 'custom', path: [path], message });
    };
    if (tablets?.length !== 1 || tables !== undefined)
      refuse('tablets', 'must name one tablet, and no tables, with keys');
    if (from === 'gap') refuse('from', 'must be "snapshot" with keys');
  });
export const resyncedStream = streamView.extend({
  correction: z
    .string()
    .exactOptional()
    .describe('Of named rows: they are in the sink when `corrected` of the tablet is this.'),
}) satisfies z.ZodType<ResyncedStream>;
export const localQuery = z.strictObject({
  only: z
    .enum(['exceptions'], { error: ({ input }) => `got ${JSON.stringify(input)}; allowed: "exceptions"` })
    .exactOptional()
    .describe(
      '`exceptions`: those that it ships, or is about to, in the place of another sidecar, and those that it cannot ship.',
    ),
});
export const holdsRequest = z.strictObject({ tablets: z.array(z.string()) });
/** What may change; the rules of each field are those of the stream's definition. */
export const streamChange = z
  .object({
    tables: z
      .union([
        streamDefinition.shape.tables,
        z.strictObject({ add: z.array(z.string()).exactOptional(), remove: z.array(z.string()).exactOptional() }),
      ])
      .exactOptional()
      .describe(
        'All of them as they are to be, or those that come and go: nobody who changes others meanwhile is undone.',
      ),
    copyRowsPerSecond: z.int().exactOptional(),
    tombstones: z.boolean().exactOptional(),
    resolved: z.looseObject({}).nullable().exactOptional(),
    sink: z.looseObject({}).exactOptional(),
  })
  .describe('A merge patch (RFC 7396) of the definition.');

const partHealth = z.object({ ok: z.boolean(), reason: z.string().exactOptional() });
export const readiness = z.object({ ready: z.boolean(), kudu: partHealth, kafka: partHealth, wal: partHealth });

export const problem = z.object({
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  errors: z
    .array(z.object({ path: z.string(), message: z.string() }))
    .exactOptional()
    .describe('Every fault of the body.'),
  code: z.string().exactOptional().describe('A code of docs/errors.md.'),
  remedy: z.string().exactOptional(),
}) satisfies z.ZodType<Problem>;

/** What /readyz answers when not all parts can work. */
export const notReady = z.object({ ...problem.shape, ...readiness.shape });

/** JSON Schema 2020-12, which is what OpenAPI 3.1 speaks, of what goes in or of what comes out. */
export function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  const made: Record<string, unknown> = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  delete made.$schema; // OpenAPI 3.1 implies it
  return made;
}
