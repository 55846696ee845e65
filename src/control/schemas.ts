import * as z from 'zod';
import type { RecordPosition } from '../api/control-plane.ts';
import { readiness } from '../api/shapes.ts';
import { microsToHybridTime } from '../kudu/hybrid-time.ts';
import { OP_ID, parseOpId } from '../kudu/opid.ts';
import type { Whence } from '../streams/stored-stream.ts';
import { streamDefinition } from '../streams/definition.ts';
import type { Problem } from './problem.ts';

/* What the API is asked with, and how it says that it will not. What it answers is in api/shapes.ts. */

export const dryRunQuery = z.object({
  dryRun: z
    .enum(['true', 'false'])
    .default('false')
    .describe('true: the answer is 200 and what would become of it, or why not; nothing is made.'),
});

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
const opId = z
  .string()
  .regex(OP_ID, {
    error: ({ input }) => `got ${JSON.stringify(input)}; allowed: term.index, such as "7.12345"`,
  })
  .transform(parseOpId);
export const rewindRequest = z
  .strictObject({
    to: z
      .string()
      .describe(
        'From where on what was shipped is shipped again: a time (ISO 8601 with a zone), or an operation of one tablet, written term.index.',
      )
      .transform((text, ctx): Whence => {
        const operation = opId.safeParse(text);
        if (operation.success) return { opId: operation.data };
        const isTime = z.iso.datetime({ offset: true }).safeParse(text).success;
        const atMs = Date.parse(text);
        if (isTime && atMs <= Date.now()) return { time: microsToHybridTime(BigInt(atMs) * 1000n) };
        const allowed = isTime
          ? 'a time that is past'
          : 'a time such as "2026-01-31T12:00:00Z", or term.index such as "7.12345"';
        ctx.addIssue({ code: 'custom', message: `got ${JSON.stringify(text)}; allowed: ${allowed}` });
        return z.NEVER;
      }),
    tables: nameList.exactOptional().describe('Only these tables, by the names that they have now.'),
    tablets: nameList.exactOptional().describe('Only these tablets, by their ids.'),
  })
  .superRefine(({ to, tables, tablets }, ctx) => {
    if ('opId' in to && (tablets?.length !== 1 || tables !== undefined))
      ctx.addIssue({
        code: 'custom',
        path: ['tablets'],
        message: 'must name one tablet, and no tables, with an operation: each tablet counts its own',
      });
  });
export const skipRequest = z.strictObject({
  tablet: z.string().describe('Its id.'),
  opId: opId.describe('The operation whose rows are left out, written term.index.'),
});
export const localQuery = z.strictObject({
  only: z
    .enum(['exceptions'], { error: ({ input }) => `got ${JSON.stringify(input)}; allowed: "exceptions"` })
    .exactOptional()
    .describe(
      '`exceptions`: those that it ships, or is about to, in the place of another sidecar, and those that it cannot ship.',
    ),
});
export const schemasQuery = z.strictObject({
  table: z.string().exactOptional().describe('Only this table, by the name that it has now.'),
});
const MAX_RECORDS = 200;
export const recordsQuery = z.strictObject({
  last: z
    .string()
    .default('20')
    .transform((text, ctx) => {
      const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
      if (count >= 1 && count <= MAX_RECORDS) return count;
      ctx.addIssue({ code: 'custom', message: `got ${JSON.stringify(text)}; allowed: 1 to ${MAX_RECORDS}` });
      return z.NEVER;
    })
    .describe(`How many, at most ${MAX_RECORDS}.`),
  table: z.string().exactOptional().describe('Only of this table, by the name that it has now.'),
});
const RECORD_POSITION = /^([^/\s]{1,64})\/(\d{1,19}\.\d{1,19})\.\d{1,10}$/;
export const traceQuery = z.strictObject({
  position: z
    .string({ error: 'must be there: the spoor.pos of a record' })
    .transform((text, ctx): RecordPosition => {
      const [, tabletId, opIdText] = RECORD_POSITION.exec(text) ?? [];
      if (tabletId !== undefined) return { text, tabletId, opId: parseOpId(opIdText!) };
      const message = `got ${JSON.stringify(text)}; allowed: the spoor.pos of an operation's row, <tablet>/<term>.<index>.<row>`;
      ctx.addIssue({ code: 'custom', message });
      return z.NEVER;
    })
    .describe('`spoor.pos` of the record.'),
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
    paused: z.boolean().exactOptional(),
  })
  .describe('A merge patch (RFC 7396) of the definition.');

export const problem = z.object({
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  errors: z
    .array(
      z.object({
        path: z.string(),
        message: z.string(),
        now: z.unknown().optional().describe('Of a field that cannot change: what it is, where it is given.'),
        asked: z.unknown().optional().describe('What was asked for in its place.'),
      }),
    )
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
