import * as z from 'zod';
import type { Part } from './parts.ts';
import { readiness, sidecarView, streamView, tabletView } from './shapes.ts';

/*
 * What the status page is fed with, and what each sidecar says of itself for it. All figures are those of /metrics and of
 * GET /v1/streams: docs/status-page.md.
 */

const { kudu: part } = readiness.shape;
const partSince = part.extend({ since: z.iso.datetime().exactOptional().describe('Since when it cannot work.') });
export type PartSince = Readonly<z.output<typeof partSince>>;

const disk = z.object({
  totalBytes: z.number(),
  freeBytes: z.number().describe('Free for others than root, on the disk of the held logs.'),
  minFreePercent: z
    .number()
    .describe('SPOOR_HOLD_MIN_FREE_PERCENT: below it the oldest held logs are let go of; 0 is never.'),
  secondsUntilFloor: z
    .number()
    .nullable()
    .describe(
      'Until that bound, or an empty disk, is reached at the pace of the last minutes; null where it is not in sight.',
    ),
});
export type DiskStanding = Readonly<z.output<typeof disk>>;

const holdLimit = z.object({
  seconds: z.number(),
  stream: z.string(),
  table: z.string(),
  tabletId: z.string(),
});

/** What a sidecar says of itself, besides its tablets. */
export const localStatus = z.object({
  readiness: z.object({
    kudu: partSince,
    kafka: partSince,
    redis: partSince.exactOptional(),
    file: partSince.exactOptional(),
    wal: partSince,
  } satisfies Record<Part, z.ZodType>),
  disk: disk.nullable().describe('Null where it cannot be told.'),
  heldBytes: z.number().describe('Of the logs of all replicas beside it whose tables are streamed.'),
  limit: holdLimit
    .nullable()
    .describe('The held log that a limit lets go of first, and in how many seconds; null where none is in sight.'),
  recordsShipped: z
    .record(z.string(), z.number())
    .describe('By stream: what spoor_records_shipped_total says of its tablets together.'),
});
export type LocalStatus = Readonly<z.output<typeof localStatus>>;

const series = z.array(z.number().nullable()).readonly();
const streamSeries = z.object({
  records: series.describe('Records a second that the sink acknowledged.'),
  lagSeconds: series.describe('The largest lag of its tablets.'),
  heldBytes: series.describe('Of the held logs of its tablets.'),
});
export type StreamSeries = Readonly<z.output<typeof streamSeries>>;

/** The last hour, of a sidecar or of all (`event: history`), oldest first; every series is as long as `at`. Null: nothing is known of that moment. */
export const historyView = z.object({
  stepSeconds: z.number(),
  at: z.array(z.number()).readonly().describe('Ends of the steps, in seconds since 1970.'),
  streams: z.record(z.string(), streamSeries),
});
export type HistoryView = Readonly<z.output<typeof historyView>>;

const troubleSeverity = z.enum(['down', 'risk', 'note']);
export type TroubleSeverity = z.output<typeof troubleSeverity>;

/** What the page may do about a trouble. */
const troubleAction = z.enum(['resume', 'resync-gap', 'resync-snapshot']);
export type TroubleAction = z.output<typeof troubleAction>;

const trouble = z.object({
  id: z.string().describe('Stays the same while the trouble does.'),
  severity: troubleSeverity.describe(
    'down: something is not shipped. risk: it may come to that. note: somebody wanted it so, or it mends itself.',
  ),
  what: z.string(),
  since: z.iso.datetime().nullable(),
  why: z.string(),
  code: z.string().nullable().describe('Of docs/errors.md.'),
  remedy: z.string().describe('What a person does about it.'),
  action: troubleAction.nullable().describe('The button that does it, where there is one.'),
  streams: z.array(z.string()).readonly(),
  tables: z.array(z.string()).readonly(),
  tablets: z.record(z.string(), z.array(z.string())).describe('By stream: the ids of its tablets that this is about.'),
  tabletCount: z.int(),
});
export type Trouble = Readonly<z.output<typeof trouble>>;

export const verdictView = z.object({
  kind: z.enum(['well', 'trouble', 'unknown', 'empty']),
  headline: z.string(),
  detail: z.string(),
  troubles: z.array(trouble).readonly().describe('Worst first.'),
});
export type VerdictView = Readonly<z.output<typeof verdictView>>;

const streamFigures = z.object({
  recordsShipped: z.number().describe('Since the sidecars started.'),
  recordsPerSecond: z.number().nullable().describe('Since the look before; null at the first one.'),
  lagSeconds: z.number().nullable().describe('The largest of its tablets.'),
  heldBytes: z.number(),
});
export type StreamFigures = Readonly<z.output<typeof streamFigures>>;

const streamState = streamView.omit({ tablets: true }).extend({ figures: streamFigures });
export type StreamState = Readonly<z.output<typeof streamState>>;

const standIn = z.object({ tserver: z.string().describe('Whose tablets these are.'), tablets: z.int() });
const sidecarState = sidecarView.extend({
  isAlive: z.boolean(),
  ships: z.int().describe('Tablets, those of others included.'),
  standsInFor: z.array(standIn).readonly(),
  status: localStatus.omit({ recordsShipped: true }).nullable().describe('Null where it does not say it.'),
});
export type SidecarState = Readonly<z.output<typeof sidecarState>>;

const lookTrouble = z.object({ code: z.string().nullable(), message: z.string(), since: z.iso.datetime() });
export type LookTrouble = Readonly<z.output<typeof lookTrouble>>;

/** The whole cluster, as one sidecar sees it. */
export const clusterState = z.object({
  at: z.iso.datetime(),
  version: z.string(),
  trouble: lookTrouble
    .nullable()
    .describe('Why the cluster cannot be looked at; all else is then as it was when it could.'),
  verdict: verdictView,
  streams: z.array(streamState).readonly(),
  tablets: z.array(tabletView).readonly(),
  sidecars: z.array(sidecarState).readonly(),
});
export type ClusterState = Readonly<z.output<typeof clusterState>>;

/** `event: state`, what each reader gets first, and anew when it was too slow for the changes. */
export const stateEvent = clusterState.extend({
  role: z.enum(['read', 'operate']).describe('What the reader may do.'),
});
export type StateEvent = Readonly<z.output<typeof stateEvent>>;

const historySample = z.object({
  at: z.number(),
  streams: z.record(z.string(), z.tuple([z.number().nullable(), z.number().nullable(), z.number().nullable()])),
});
export type HistorySample = Readonly<z.output<typeof historySample>>;

/** `event: change`, of what the reader knows; what is left out is as it was. */
export const changeEvent = clusterState.pick({ at: true }).extend({
  trouble: lookTrouble.nullable().exactOptional(),
  verdict: verdictView.exactOptional(),
  streams: z.array(streamState).readonly().exactOptional().describe('Those that changed, whole.'),
  figures: z.record(z.string(), streamFigures).exactOptional().describe('Of streams of which nothing else changed.'),
  tablets: z.array(tabletView).readonly().exactOptional().describe('Those that changed, whole.'),
  gone: z
    .object({
      streams: z.array(z.string()).readonly(),
      tablets: z.array(z.string()).readonly().describe('stream/tabletId'),
    })
    .exactOptional(),
  sidecars: z.array(sidecarState).readonly().exactOptional().describe('All of them.'),
  sample: historySample
    .exactOptional()
    .describe('The next of the charts: records a second, lag, held bytes by stream.'),
});
export type ChangeEvent = Readonly<z.output<typeof changeEvent>>;

export function tabletKey({ stream, tabletId }: { readonly stream: string; readonly tabletId: string }): string {
  return `${stream}/${tabletId}`;
}
