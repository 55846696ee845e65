import * as z from 'zod';
import { streamBody, streamDefinition, type WrongDefinition } from '../streams/definition.ts';
import { OP_ID, type OpId } from '../kudu/opid.ts';
import type { Part } from './parts.ts';
import type { ResyncFrom, Whence } from '../streams/stored-stream.ts';
import { wallTimeOf } from '../util/steady-clock.ts';
import type { Wait } from '../util/waits.ts';
import type { TabletLabels } from './counters.ts';

/*
 * What the API answers, `spoor` prints and sidecars tell one another: each shape once. Types, checks of what another
 * sidecar says, and openapi.json all come from here.
 */

/** The states of a tablet in a stream, as the contract names them. */
export const TABLET_STATES = [
  'starting',
  'base-copy',
  'running',
  'stalled',
  'blocked',
  'paused',
  'gap',
  'resync',
  'no-sidecar',
] as const;
export type TabletStateName = (typeof TABLET_STATES)[number];

const opId = z.string().regex(OP_ID).describe("A position in the tablet's Raft log, written term.index.");
const hostPort = z.string().describe('host:port');

const holdView = z.object({ index: z.number(), bytes: z.number(), ageSeconds: z.number() });
/** What is held of a replica's log, from the index on. */
export type HoldView = Readonly<z.output<typeof holdView>>;

const copyView = z.object({
  kind: z
    .enum(['all', 'changes', 'log'])
    .describe(
      'changes: what changed while the log was lost, or since a rewind begins. log: operations that are shipped again, and no rows.',
    ),
  hybridTime: z.string().describe('The rows are copied as they were then.'),
  rows: z.number().describe('In the sink.'),
  totalRows: z.number().nullable().describe('Counted while the copy runs; null before, and for a repair.'),
  percent: z.number().nullable(),
  secondsLeft: z.number().nullable().describe('At the pace so far.'),
});
/** How far a copy of a tablet's rows has come. */
export type CopyView = Readonly<z.output<typeof copyView>>;

const faultView = z.object({ code: z.string(), message: z.string(), since: z.iso.datetime() });
/** What keeps a tablet from running, and since when. */
export type FaultView = Readonly<z.output<typeof faultView>>;

const waitingView = z.object({ for: z.string(), since: z.iso.datetime() });
/** What a tablet waits for that is no fault, in words, and since when. */
export type WaitingView = Readonly<z.output<typeof waitingView>>;

/** A tablet in a stream, as the API and `spoor status` show it. Who makes one makes a {@link ReasonedView}. */
export const tabletView = z.object({
  stream: z.string(),
  generation: z
    .string()
    .exactOptional()
    .describe('Of which stream of that name, and which stay of the table in it, a sidecar speaks: in /v1/local alone.'),
  tabletId: z.string(),
  table: z.string(),
  joinedAs: z
    .string()
    .exactOptional()
    .describe(
      'The name under which the table joined the stream, where it has another by now: columns and where go by it.',
    ),
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
  hold: holdView.nullable().describe('The log that is kept from garbage collection, from this index on.'),
  yields: z
    .boolean()
    .exactOptional()
    .describe('This sidecar cannot ship it at present, and leaves it to another one that can.'),
  copy: copyView.exactOptional().describe('The copy of its rows that is under way.'),
  corrected: z.string().exactOptional().describe('The last correction of rows that is in the sink, by its id.'),
  resynced: z.string().exactOptional().describe('The last resync that was begun, by its id.'),
  rewound: z
    .string()
    .exactOptional()
    .describe(
      'The last rewind that was begun, by its id: what is to come again is in the sink as soon as there is no `copy`.',
    ),
  error: faultView
    .exactOptional()
    .describe('What keeps it from running, and since when. Codes: docs/errors.md. Of each that is `blocked` or `gap`.'),
  waiting: waitingView
    .exactOptional()
    .describe(
      'What it waits for that is no error, in words, and since when. Of each that is neither `running`, `paused`, `blocked` nor `gap`.',
    ),
});
export type TabletView = Readonly<z.output<typeof tabletView>>;

const facts = tabletView.omit({ state: true, error: true, waiting: true });
export type TabletFacts = Readonly<z.output<typeof facts>>;

/** A tablet's state with the reason for it: only one that runs or is paused has none to give. */
export type Standing =
  | { readonly state: 'running' | 'paused'; readonly error?: never; readonly waiting?: never }
  | { readonly state: 'blocked' | 'gap'; readonly error: FaultView; readonly waiting?: never }
  | {
      readonly state: Exclude<TabletStateName, 'running' | 'paused' | 'blocked' | 'gap'>;
      readonly waiting: WaitingView;
      readonly error?: never;
    };

/** A view whose state cannot be without its reason. */
export type ReasonedView = TabletFacts & Standing;

const reasonless = z.enum(['running', 'paused']);
const faulty = z.enum(['blocked', 'gap']);
/** What a sidecar of an older version says of a tablet has no such reason. */
const untold = (): WaitingView => ({
  for: 'what its sidecar, which is of an older version, does not say',
  since: new Date().toISOString(),
});

/** What another sidecar says of a tablet. One of another version may say more, which is passed over. */
export const reasonedView: z.ZodType<ReasonedView> = z.discriminatedUnion('state', [
  facts.extend({ state: reasonless }),
  facts.extend({ state: faulty, error: faultView }),
  facts.extend({
    state: z.enum(TABLET_STATES).exclude([...reasonless.options, ...faulty.options]),
    waiting: waitingView.default(untold),
  }),
]);

export function waitingFor({ for: what, sinceMs }: Wait): { readonly waiting: WaitingView } {
  return { waiting: { for: what, since: wallTimeOf(sinceMs) } };
}

/** What is known of how late a tablet is, and what for. */
export type Lateness = Pick<TabletView, 'state' | 'copy' | 'lagSeconds'>;

/** Whether other sidecars must know of it: we stand in for theirs, or are about to, or cannot ship it. */
export function isException({ role, yields }: Pick<TabletView, 'role' | 'yields'>): boolean {
  return role === 'follower' || yields === true;
}

/** What the metrics show of a stream's log on a replica here, shipped from here or not. */
export interface HoldFigures extends TabletLabels {
  readonly hold: HoldView | null;
  /** Until a limit lets go of the held log, if it goes on growing as it does; null where none is in sight. */
  readonly secondsUntilLimit: number | null;
  /** Operations that were sent and no marker tells of yet: what a crash may make at-least-once repeat. */
  readonly unmarkedOps: number;
}

/** What the metrics show of a sidecar as a whole. */
export interface SidecarFigures {
  /** Whether Kudu answers what is asked of it all the time: who leads, which tables there are, who lives. */
  readonly kuduAnswers: boolean;
  /** By how much Kudu's time is ahead of this machine's; null while Kudu has told none, or runs without a time of day. */
  readonly clockOffsetSeconds: number | null;
  /** Uuids of the tablet servers that have a voter of a streamed tablet as this one has, and no living sidecar. */
  readonly unattendedTservers: readonly string[];
}

export const streamView = z.object({
  ...streamBody.shape,
  revision: z
    .int()
    .describe('Rises whenever it is changed, paused or resumed; in quotes it is the `ETag` that `If-Match` takes.'),
  createdAt: z.iso.datetime(),
  tablets: z.array(tabletView).readonly(),
  warnings: z
    .array(z.string())
    .readonly()
    .exactOptional()
    .describe('What may not be meant, or cannot work, by the names that its tables have now.'),
});
export type StreamView = Readonly<z.output<typeof streamView>>;

/** What has become of a stream by a PUT, or would. */
const outcome = z.enum(['created', 'changed', 'unchanged']);

export const putStream = streamView.extend({ outcome });
export type PutStream = Readonly<z.output<typeof putStream>>;

const fieldChange = z.object({
  path: z.string(),
  now: z.unknown().optional().describe('Not there where the stream has no such field.'),
  asked: z.unknown().optional().describe('Not there where the field goes.'),
});

const recordExample = z.object({
  table: z.string(),
  key: z.string(),
  value: z.string(),
  isMadeUp: z.boolean().describe('Its values are: the table has no row that the stream wants, as far as was looked.'),
});
export type RecordExample = Readonly<z.output<typeof recordExample>>;

/** What would become of a stream: nothing of it was made. */
export const streamPlan = z.object({
  outcome,
  definition: streamDefinition.describe('With its defaults.'),
  paused: z.boolean(),
  changes: z.array(fieldChange).readonly().describe('Where the stream that is there would be another one.'),
  tables: z
    .array(
      z.object({
        name: z.string(),
        tablets: z.int(),
        topic: z.string().nullable(),
        begins: z
          .enum(['copy', 'now', 'goes-on'])
          .describe(
            'copy: with a copy of its rows. now: with what is written from then on. goes-on: it is in the stream already.',
          ),
        rows: z
          .number()
          .nullable()
          .describe('How many rows would be copied, about, as its tablet servers have counted them lately.'),
      }),
    )
    .readonly(),
  leaves: z.array(z.string()).readonly().describe('Tables that would be in the stream no more.'),
  topics: z
    .array(
      z.object({
        name: z.string(),
        of: z.enum(['rows', 'schema-changes', 'positions']),
        state: z
          .enum(['there', 'made', 'missing', 'refused', 'unknown'])
          .describe(
            'there: it is used as it is. made: Spoor makes it with the first record. missing: somebody else has to make it. refused: Kafka does not let us make it, or write to it. unknown: Kafka cannot be asked.',
          ),
        partitions: z.int().nullable().describe("As it is, or would be; -1 is the broker's own default."),
        replicationFactor: z.int().nullable(),
        settings: z.record(z.string(), z.string()).readonly(),
        differences: z
          .array(z.string())
          .readonly()
          .describe('Where a topic that is there is not as Spoor would have made it. It stays as it is.'),
      }),
    )
    .readonly(),
  example: recordExample
    .nullable()
    .describe(
      'What the first record of one of the tables that begin would be, in JSON, whatever the format; null where none does, or it could not be made.',
    ),
  missing: z.array(z.string()).readonly().describe('What keeps it from working until a person acts.'),
  warnings: z.array(z.string()).readonly().describe('What may not be meant, and what could not be found out.'),
});
export type StreamPlan = Readonly<z.output<typeof streamPlan>>;

const keyAndValue = z.object({ key: z.string(), value: z.string() });

/** What a consumer needs to know of the records of a table, as the table is now. */
export const tableSchemas = z.object({
  table: z.string(),
  topic: z.string().nullable().describe('Where its records go; null where it has no place, or no schema.'),
  reason: z.string().exactOptional().describe('Why it has none.'),
  avro: keyAndValue.exactOptional().describe('As they are registered, where the stream is in Avro.'),
  protobuf: keyAndValue
    .exactOptional()
    .describe('The .proto files, as they are registered, where the stream is in protobuf.'),
  connect: keyAndValue
    .exactOptional()
    .describe(
      "key.converter.schema.content and value.converter.schema.content of Kafka Connect's JSON converter; with this and the rest: where the stream is in JSON.",
    ),
  jsonSchema: z.string().exactOptional().describe('JSON Schema of the value of a record.'),
  flink: z.string().exactOptional().describe('CREATE TABLE of Flink SQL; the brokers are yours to fill in.'),
  clickHouse: z.string().exactOptional().describe('CREATE TABLE of ClickHouse, for one row a key, the newest.'),
});
export type TableSchemas = Readonly<z.output<typeof tableSchemas>>;

export const sidecarView = z.object({
  id: z.string(),
  http: hostPort.or(z.literal('')).describe('Where the other sidecars call it; empty once it has stopped.'),
  tserver: hostPort,
  tserverUuid: z.string(),
  version: z.string(),
  lastSeen: z.iso.datetime(),
});
export type SidecarView = Readonly<z.output<typeof sidecarView>>;

/** What a sidecar says of the tablets that it stands in for, or is about to, and of those that it cannot ship. */
export interface SidecarWord {
  readonly tserverUuid: string;
  /** Null where it does not answer and may live. */
  readonly views: readonly TabletView[] | null;
}

/** What the sidecars know of one another. */
export interface KnownSidecar extends SidecarView {
  /** It was heard of lately, and has not said that it stops. */
  readonly isAlive: boolean;
}

/** A part of Spoor and whether it can work now; `reason` is there when not. */
const partHealth = z.object({ ok: z.boolean(), reason: z.string().exactOptional() });
export type PartHealth = Readonly<z.output<typeof partHealth>>;
const ofOtherSink = partHealth
  .exactOptional()
  .describe('There where the sidecar is given its variables, or ships a stream into one.');
const parts = {
  kudu: partHealth,
  kafka: partHealth.describe('Always there.'),
  redis: ofOtherSink,
  file: ofOtherSink,
  wal: partHealth,
} satisfies Record<Part, z.ZodType>;
export const readiness = z.object({ ready: z.boolean(), ...parts });

/** What a resync is of; the whole stream where neither tables nor tablets are named. */
export interface ResyncRequest {
  readonly from: ResyncFrom;
  readonly tables?: readonly string[] | undefined;
  readonly tablets?: readonly string[] | undefined;
  /** Only these rows, by their encoded primary keys; then exactly one tablet is named. */
  readonly keys?: readonly Buffer[] | undefined;
}

export const resyncedStream = streamView.extend({
  correction: z
    .string()
    .exactOptional()
    .describe('Of named rows: they are in the sink when `corrected` of the tablet is this.'),
  resync: z
    .string()
    .exactOptional()
    .describe(
      'Of all rows: they are in the sink when `resynced` of each of these tablets is this, and there is no `copy`.',
    ),
});
export type ResyncedStream = Readonly<z.output<typeof resyncedStream>>;

/** What is to be shipped again, from where on; the whole stream where neither tables nor tablets are named. */
export interface RewindRequest {
  /** An operation is one tablet's: then exactly one is named. */
  readonly to: Whence;
  readonly tables?: readonly string[] | undefined;
  readonly tablets?: readonly string[] | undefined;
}

export const rewoundStream = streamView.extend({
  rewind: z
    .string()
    .describe('All of it is in the sink when `rewound` of each of these tablets is this, and there is no `copy`.'),
});
export type RewoundStream = Readonly<z.output<typeof rewoundStream>>;

const recordView = z.object({
  table: z.string().nullable().describe('Null where the record does not say it, and several tables go there.'),
  tabletId: z.string().nullable(),
  position: z.string().nullable().describe('`spoor.pos`; null where the sink keeps none.'),
  op: z.string().nullable().describe('c, u, d or r, where the record is JSON with an envelope.'),
  at: z.iso.datetime().nullable().describe('Its time stamp.'),
  key: z.string().nullable(),
  value: z.string().nullable().describe('Null: a tombstone.'),
  isBase64: z.literal(true).exactOptional().describe('The value, or the key, is no text: it stands here in base64.'),
  place: z.record(z.string(), z.union([z.string(), z.number()])).describe('Where it lies, in the words of its sink.'),
});
/** A record as the sink has it. */
export type RecordView = Readonly<z.output<typeof recordView>>;

/** The newest first. */
export const newestRecords = z.object({ records: z.array(recordView).readonly() });
export type NewestRecords = Readonly<z.output<typeof newestRecords>>;

const traceStep = z.object({
  step: z.enum(['log', 'sink', 'marker']),
  is: z.enum(['done', 'pending', 'unknown']),
  text: z.string().describe('What is known of it, in a sentence.'),
  facts: z.record(z.string(), z.string()),
});
/** One stage of a record's way, and whether it is past it. */
export type TraceStep = Readonly<z.output<typeof traceStep>>;

/** The way of one record: its operation in the log, its place in the sink, the marker that says that it is there. */
export const traceView = z.object({ steps: z.array(traceStep).readonly() });
export type TraceView = Readonly<z.output<typeof traceView>>;

/** An operation whose rows are left out. */
export interface SkipRequest {
  readonly tablet: string;
  readonly opId: OpId;
}

export type UpdatedStream =
  { readonly kind: 'ok'; readonly stream: StreamView } | { readonly kind: 'missing' } | WrongDefinition;
