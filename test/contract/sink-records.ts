import type { SinkRecord } from '../../src/change/record.ts';
import type { SinkTablet } from '../../src/sinks/sink.ts';
import type { TabletPosition } from '../../src/change/position.ts';

/** A record as whoever reads the sink finds it. */
export interface SeenRecord {
  readonly key: string;
  readonly value: string | null;
  readonly position: string;
  readonly timestampMs: number;
}

const TABLE = 'shop.orders';
/** Not long ago: a topic's retention goes by the records' own time. */
const START_MS = Date.now() - 3_600_000;
const TABLET = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';

/** A signal that nobody aborts. */
export const never = new AbortController().signal;

export function tabletOf(streamName: string, changes: Partial<SinkTablet> = {}): SinkTablet {
  return { streamName, streamGeneration: 'first', tabletId: TABLET, tableName: TABLE, ...changes };
}

export function positionAt(index: number): TabletPosition {
  return { opId: { term: 3n, index: BigInt(index) }, tableName: TABLE, schemaVersion: 2 };
}

/** The record of row 0 of operation 3.`index`, for a row `id`. */
export function recordAt(index: number, id = index, changes: Partial<SinkRecord> = {}): SinkRecord {
  return {
    kind: 'row',
    table: TABLE,
    key: Buffer.from(`{"id":${id}}`),
    value: Buffer.from(`{"op":"u","after":{"id":${id},"v":"ä ${index}"}}`),
    position: `${TABLET}/3.${index}.0`,
    timestampMs: START_MS + index,
    ...changes,
  };
}

export function toSeen(record: SinkRecord): SeenRecord {
  return {
    key: record.key.toString(),
    value: record.value?.toString() ?? null,
    position: record.position,
    timestampMs: record.timestampMs,
  };
}
