import type { Change, ChangeBatch } from '../change/change.ts';
import type { SinkRecord } from '../change/record.ts';
import { rowBytes, sliceRows } from '../change/slice-rows.ts';
import { SpoorError } from '../errors.ts';
import { formatOpId } from '../kudu/opid.ts';
import type { ChangeRead } from '../source/change-source.ts';

/** How much is encoded at a time: enough for a good batch, little enough to keep memory flat. */
const ROWS_PER_SLICE = 2000;
/** Rows may be of any width, so their number alone is no bound. One row may be larger. */
const BYTES_PER_SLICE = 2 << 20;

/** Encodes what is queued slice by slice, as the sink takes them, and counts. */
export class RecordSlices implements Iterable<readonly SinkRecord[]> {
  records = 0;
  bytes = 0;
  /** An encoder that cannot go on: the log's fault, not the sink's. */
  failure: Error | null = null;
  readonly #reads: readonly ChangeRead[];
  readonly #encode: (change: Change) => readonly SinkRecord[];
  readonly #shipsSchema: boolean;

  constructor(reads: readonly ChangeRead[], encode: (change: Change) => readonly SinkRecord[], shipsSchema: boolean) {
    this.#reads = reads;
    this.#encode = encode;
    this.#shipsSchema = shipsSchema;
  }

  *[Symbol.iterator](): Iterator<readonly SinkRecord[]> {
    [this.records, this.bytes, this.failure] = [0, 0, null]; // a sink may begin again
    let slice: SinkRecord[] = [];
    let bytes = 0;
    for (const { changes } of this.#reads)
      for (const change of changes) {
        if (change.kind === 'schema' && !this.#shipsSchema) continue;
        for (const part of partsOf(change))
          for (const record of this.#encodeOrFail(part)) {
            const size = sizeOf(record);
            if (slice.length >= ROWS_PER_SLICE || (bytes + size > BYTES_PER_SLICE && slice.length > 0)) {
              yield this.#counted(slice, bytes);
              [slice, bytes] = [[], 0];
            }
            slice.push(record);
            bytes += size;
          }
      }
    if (slice.length > 0) yield this.#counted(slice, bytes);
  }

  #encodeOrFail(change: Change): readonly SinkRecord[] {
    try {
      return this.#encode(change);
    } catch (error) {
      this.failure = error instanceof SpoorError ? error : notEncodable(change, error);
      throw this.failure;
    }
  }

  #counted(slice: readonly SinkRecord[], bytes: number): readonly SinkRecord[] {
    this.records += slice.length;
    this.bytes += bytes;
    return slice;
  }
}

function sizeOf({ key, value }: SinkRecord): number {
  return key.length + (value?.length ?? 0);
}

function notEncodable({ opId, tablet }: Change, error: unknown): Error {
  const reason = error instanceof Error ? error.message : String(error);
  return new Error(`operation ${formatOpId(opId)} of ${tablet.tableName} makes no record: ${reason}`, { cause: error });
}

/** A batch in parts that are encoded at once, since an encoder gives all records of what it is given. */
function* partsOf(change: Change): Iterable<Change> {
  if (change.kind !== 'rows') {
    yield change;
    return;
  }
  for (let from = 0; from < change.rowCount;) {
    const to = partEnd(change, from);
    yield from === 0 && to === change.rowCount ? change : sliceRows(change, from, to);
    from = to;
  }
}

function partEnd(batch: ChangeBatch, from: number): number {
  const most = Math.min(batch.rowCount, from + ROWS_PER_SLICE);
  // The buffers are those of the whole operation: what they hold is the most that any of its rows can have.
  if (batch.rows.length + batch.indirect.length <= BYTES_PER_SLICE) return most;
  let to = from + 1;
  for (let bytes = rowBytes(batch, from); to < most; to++) {
    bytes += rowBytes(batch, to);
    if (bytes > BYTES_PER_SLICE) break;
  }
  return to;
}
