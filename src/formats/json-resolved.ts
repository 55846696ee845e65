import type { ResolvedMark } from '../change/change.ts';
import type { SinkRecord } from '../change/record.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';

/** A mark as a record: `{"resolved":"<hybrid time>",…}`, see docs/records.md. */
export function encodeResolved({ tablet, hybridTime }: ResolvedMark, streamName: string): SinkRecord {
  const { tableName: table, tableId, tabletId } = tablet;
  const micros = Number(hybridTimeToMicros(hybridTime));
  const millis = Math.floor(micros / 1000);
  const value = {
    resolved: hybridTime.toString(),
    ts_ms: millis,
    ts_us: micros,
    name: streamName,
    table,
    table_id: tableId,
    tablet_id: tabletId,
  };
  return {
    kind: 'resolved',
    table,
    key: NO_KEY,
    value: Buffer.from(JSON.stringify(value)),
    position: `${tabletId}/${hybridTime}`,
    timestampMs: millis,
  };
}

const NO_KEY = Buffer.alloc(0);
