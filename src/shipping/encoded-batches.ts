import type { Change } from '../change/change.ts';
import { RecordBatch } from '../change/record-batch.ts';
import { SpoorError } from '../errors.ts';
import type { RecordFormat } from '../formats/format.ts';
import { formatOpId } from '../kudu/opid.ts';
import type { ChangeRead } from '../source/change-source.ts';
import type { ByteArena } from '../util/byte-arena.ts';

/** Memory of so much is used again; of an operation that makes more it goes as all memory does, one batch after the other. */
const MAX_KEPT_BYTES = 8 << 20;

/** Encodes what is queued batch by batch, as the sink takes them, and counts. */
export class EncodedBatches implements Iterable<RecordBatch> {
  records = 0;
  bytes = 0;
  /** An encoder that cannot go on: the log's fault, not the sink's. */
  failure: Error | null = null;
  /** Of the last time that they were taken: what a sink was given before that, and did not get through, may be in use still. */
  #batches: RecordBatch[] = [];
  readonly #reads: readonly ChangeRead[];
  readonly #format: RecordFormat;
  readonly #arena: ByteArena;
  readonly #shipsSchema: boolean;

  /** @param arena in which the records come to lie; it may be shared */
  constructor(reads: readonly ChangeRead[], format: RecordFormat, arena: ByteArena, shipsSchema: boolean) {
    this.#reads = reads;
    this.#format = format;
    this.#arena = arena;
    this.#shipsSchema = shipsSchema;
  }

  /** A schema that another tablet ships is left out. */
  *changes(): Iterable<Change> {
    for (const { changes } of this.#reads)
      for (const change of changes) if (change.kind !== 'schema' || this.#shipsSchema) yield change;
  }

  *[Symbol.iterator](): Iterator<RecordBatch> {
    [this.records, this.bytes, this.failure, this.#batches] = [0, 0, null, []]; // a sink may begin again
    let rows = 0;
    for (const change of this.changes()) rows += rowsOf(change);
    let batch = new RecordBatch(this.#arena, rows);
    for (const change of this.changes())
      for (let row: number | null = 0; row !== null;) {
        row = this.#encodeOrFail(change, row, batch);
        if (row === null && !batch.isFull) break;
        rows -= batch.length;
        yield this.#counted(batch);
        batch = new RecordBatch(this.#arena, rows);
      }
    if (batch.length > 0) yield this.#counted(batch);
  }

  /** The sink has written all of them, and keeps none. */
  release(): void {
    for (const batch of this.#batches) batch.release();
  }

  #encodeOrFail(change: Change, fromRow: number, batch: RecordBatch): number | null {
    try {
      return this.#format.encode(change, fromRow, batch);
    } catch (error) {
      this.failure = error instanceof SpoorError ? error : notEncodable(change, error);
      throw this.failure;
    }
  }

  #counted(batch: RecordBatch): RecordBatch {
    this.records += batch.length;
    this.bytes += batch.byteLength;
    if (this.bytes <= MAX_KEPT_BYTES) this.#batches.push(batch);
    return batch;
  }
}

function rowsOf(change: Change): number {
  return change.kind === 'rows' ? change.rowCount : 1;
}

function notEncodable({ opId, tablet }: Change, error: unknown): SpoorError {
  const reason = error instanceof Error ? error.message : String(error);
  const message = `operation ${formatOpId(opId)} of ${tablet.tableName} makes no record: ${reason}`;
  return new SpoorError('SPOOR_NOT_ENCODABLE', message, {}, error);
}
