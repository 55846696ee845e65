import { Cell, type ChangeBatch } from '../change/change.ts';
import type { RecordBatch } from '../change/record-batch.ts';
import type { SinkRecord } from '../change/record.ts';
import { compileRoute } from './route.ts';

/** More of them at a time nobody has: each costs a write that fails. Those that were let go of are found again. */
const MAX_RECORDS = 10_000;

/** Records that the sink found too large, by position and key: those of a copy all have one position. */
export class TooLargeRecords {
  /** Reasons. */
  readonly #reasons = new Map<string, string>();
  readonly #tablets = new Set<string>();

  /** @returns false: it was known already, so that writing it otherwise has not helped */
  add({ position, key }: { readonly position: string; readonly key: Buffer }, reason: string): boolean {
    const name = nameOf(position, key);
    if (this.#reasons.has(name)) return false;
    if (this.#reasons.size >= MAX_RECORDS) this.#reasons.delete(this.#reasons.keys().next().value!);
    this.#reasons.set(name, reason);
    this.#tablets.add(position.slice(0, position.indexOf('/')));
    return true;
  }

  isOf(tabletId: string): boolean {
    return this.#tablets.has(tabletId);
  }

  /** Why one of the records from `start` on was refused, or null. */
  find(out: RecordBatch, start: number): string | null {
    for (let i = start; i < out.length; i++) {
      const { position, key } = out.record(i);
      const reason = this.#reasons.get(nameOf(position, key));
      if (reason !== undefined) return reason;
    }
    return null;
  }
}

function nameOf(position: string, key: Buffer): string {
  return `${position} ${key.toString('latin1')}`;
}

/** A row of which the key alone is told. @param mark what {@link ChangeBatch.partial} says of it */
export function keyOnlyRow(batch: ChangeBatch, mark: number): ChangeBatch {
  const { columns } = batch.schema;
  const cells = batch.cells.map((cell, place) => (columns[place]!.isKey ? cell : Cell.UNSET));
  return { ...batch, cells, before: null, partial: Uint8Array.of(mark) };
}

export interface DeadLetter {
  /** Of one row. */
  readonly batch: ChangeBatch;
  /** Its record. */
  readonly record: SinkRecord;
  /** In the words of the sink. */
  readonly reason: string;
}

/** The note of a record that is not shipped: which row of which operation, and why. Its key is the record's. */
export function deadLetter({ batch, record, reason }: DeadLetter): SinkRecord {
  const { schema, tablet, opId, hybridTime } = batch;
  const keys = schema.columns.filter(({ isKey }) => isKey).map(({ name }) => name);
  const key = compileRoute(schema, keys)(batch, 0).toString();
  const { tableId, tabletId, tableName } = tablet;
  const head = JSON.stringify({
    position: record.position,
    kudu_table: tableName,
    table_id: tableId,
    tablet_id: tabletId,
    term: String(opId.term),
    index: String(opId.index),
    hybrid_time: String(hybridTime),
    bytes: record.value?.length ?? 0,
    reason,
  });
  const value = Buffer.from(`${head.slice(0, -1)},"key":${key}}`);
  return {
    kind: 'dead-letter',
    table: record.table,
    key: record.key,
    value,
    position: record.position,
    timestampMs: record.timestampMs,
  };
}
