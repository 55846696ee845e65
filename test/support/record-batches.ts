import type { Change } from '../../src/change/change.ts';
import { RecordBatch } from '../../src/change/record-batch.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import type { RecordFormat } from '../../src/formats/format.ts';
import { ByteArena } from '../../src/util/byte-arena.ts';

/** Records as a sink is given them: a batch for each list. */
export function batches(...lists: readonly (readonly SinkRecord[])[]): RecordBatch[] {
  return lists.map((records) => RecordBatch.of(records));
}

/** All records that a format makes of a change, by themselves. */
export function recordsOf(format: RecordFormat, change: Change, arena = new ByteArena(1 << 16)): SinkRecord[] {
  const records: SinkRecord[] = [];
  for (let row: number | null = 0; row !== null;) {
    const batch = new RecordBatch(arena);
    row = format.encode(change, row, batch);
    records.push(...batch);
  }
  return records;
}

/** A format that a test writes as a function. */
export function formatOf(encode: (change: Change) => readonly SinkRecord[]): RecordFormat {
  return {
    encode: (change, fromRow, out) => {
      for (const record of encode(change).slice(fromRow)) out.append(record);
      return null;
    },
  };
}
