import type { RecordBatch } from '../../change/record-batch.ts';
import type { PlannedBatch } from './batch-planner.ts';

/**
 * Knows which encoded records a write still needs: until the requests they are in were answered, for a request that failed is
 * told by what was in it. Then their memory goes to the records that come next, and not only when all of the write is there:
 * a few requests' worth goes round, however large the write is.
 */
export class BatchesInUse {
  /** In how many parts of requests that were not answered yet. */
  readonly #parts = new Map<RecordBatch, number>();

  /** All requests that a batch was divided into. */
  planned(records: RecordBatch, requests: readonly (readonly PlannedBatch[])[]): void {
    let parts = 0;
    for (const request of requests) for (const batch of request) parts += batch.parts.length;
    if (parts === 0) records.release();
    else this.#parts.set(records, parts);
  }

  /** The brokers have all of it. */
  answered(request: readonly PlannedBatch[]): void {
    for (const { parts } of request)
      for (const { batch } of parts) {
        const left = this.#parts.get(batch);
        if (left === undefined) continue; // a position, say: nobody planned it
        if (left > 1) this.#parts.set(batch, left - 1);
        else {
          this.#parts.delete(batch);
          batch.release();
        }
      }
  }
}
