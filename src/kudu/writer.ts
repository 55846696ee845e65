import { KuduError } from './errors.ts';
import type { HybridTime } from './hybrid-time.ts';
import type { SchemaPB } from './proto/common_pb.ts';
import type { WriteResponsePB } from './proto/tserver_pb.ts';
import type { Deadline } from './rpc/deadline.ts';
import { RowOperationsEncoder, RowOpType, type RowInput } from './row-operations.ts';
import { schemaToPb } from './schema-codec.ts';
import type { TableSchema } from './schema.ts';
import { AppStatus } from './status.ts';
import type { TableLocations } from './table-locations.ts';
import { callReplica } from './tablet-caller.ts';
import type { TableAuthorization } from './table-authorization.ts';
import type { TableContext } from './table-context.ts';

/** One row operation. INSERT, UPDATE and DELETE fail where the `_IGNORE` kinds do nothing. */
export interface RowOperation {
  readonly type:
    'insert' | 'insert-ignore' | 'upsert' | 'upsert-ignore' | 'update' | 'update-ignore' | 'delete' | 'delete-ignore';
  /** The key columns, and the columns to set; a delete takes the key alone. */
  readonly row: RowInput;
}

/** A row that Kudu did not apply. */
export interface RowError {
  /** Position in the operations that were given. */
  readonly index: number;
  /** {@link AppStatus}: ALREADY_PRESENT for an INSERT, NOT_FOUND for an UPDATE or a DELETE, and others. */
  readonly status: number;
  readonly message: string;
}

export interface WriteResult {
  /** Rows that were rejected, in the order given. Those that an `_IGNORE` operation passed over are not among them. */
  readonly rowErrors: readonly RowError[];
  /** The highest time that one of the writes got; null when there was nothing to write. */
  readonly timestamp: HybridTime | null;
}

/**
 * Some of the writes did not get through. `result` is what the others did. The rows of `indexes` may or may not have
 * been applied; `notRun` says that they certainly were not.
 */
export class WriteError extends KuduError {
  readonly indexes: readonly number[];
  readonly result: WriteResult;

  constructor(failures: readonly [KuduError, ...KuduError[]], indexes: readonly number[], result: WriteResult) {
    const [first] = failures;
    super(first.kind, `${indexes.length} rows not written: ${first.message}`, {
      ...(first.code === null ? {} : { code: first.code }),
      ...(first.status === null ? {} : { status: first.status }),
      ...(first.address === null ? {} : { address: first.address }),
      notRun: failures.every((failure) => failure.notRun),
      cause: first,
    });
    this.indexes = indexes;
    this.result = result;
  }
}

const TYPES: Readonly<Record<RowOperation['type'], RowOpType>> = {
  insert: RowOpType.INSERT,
  'insert-ignore': RowOpType.INSERT_IGNORE,
  upsert: RowOpType.UPSERT,
  'upsert-ignore': RowOpType.UPSERT_IGNORE,
  update: RowOpType.UPDATE,
  'update-ignore': RowOpType.UPDATE_IGNORE,
  delete: RowOpType.DELETE,
  'delete-ignore': RowOpType.DELETE_IGNORE,
};

/** Well below the server's limit of 50 MiB for one request. */
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

interface Batch {
  readonly indexes: number[];
  readonly rows: RowOperationsEncoder;
}

/** Sends row operations to the tablets that they belong to. */
export class TableWriter {
  readonly #context: TableContext;
  readonly #schema: TableSchema;
  readonly #schemaPb: SchemaPB;
  readonly #locations: TableLocations;
  readonly #authorization: TableAuthorization;

  constructor(
    context: TableContext,
    schema: TableSchema,
    locations: TableLocations,
    authorization: TableAuthorization,
  ) {
    this.#context = context;
    this.#authorization = authorization;
    this.#schema = schema;
    this.#schemaPb = schemaToPb(schema, { withIds: false });
    this.#locations = locations;
  }

  /**
   * Applies the operations. Those of one key are applied in the order given; different tablets are written at the
   * same time, and nothing binds them together. A write whose answer is lost is sent again under the same request
   * id, also to a new leader, so that each operation is applied once.
   *
   * @throws {KuduError} `usage` before anything is sent, when a row does not fit the table or no partition covers it;
   *   {@link WriteError} when a tablet could not be written in time or refused the whole write
   */
  async write(operations: readonly RowOperation[], deadline: Deadline): Promise<WriteResult> {
    const batches = await this.#plan(operations, deadline);
    const rowErrors: RowError[] = [];
    const unwritten: number[] = [];
    let timestamp: HybridTime | null = null;
    const failures: Error[] = [];
    const writeTablet = async (tabletId: string, queue: readonly Batch[]): Promise<void> => {
      // One after another: rows of the same key may be in several batches.
      for (const [i, batch] of queue.entries()) {
        try {
          const response = await this.#send(tabletId, batch, deadline);
          this.#context.observed.note(response.timestamp);
          rowErrors.push(...errorsOf(response, batch));
          if (timestamp === null || response.timestamp > timestamp) timestamp = response.timestamp;
        } catch (error) {
          failures.push(error instanceof Error ? error : new Error(String(error)));
          unwritten.push(...queue.slice(i).flatMap(({ indexes }) => indexes));
          return;
        }
      }
    };
    await Promise.all([...batches].map(([tabletId, queue]) => writeTablet(tabletId, queue)));
    const result = { rowErrors: rowErrors.sort((a, b) => a.index - b.index), timestamp };
    const [first, ...others] = failures;
    if (first === undefined) return result;
    if (!(first instanceof KuduError)) throw first; // the caller's abort
    const kuduFailures = others.filter((error) => error instanceof KuduError);
    throw new WriteError(
      [first, ...kuduFailures],
      unwritten.sort((a, b) => a - b),
      result,
    );
  }

  async #plan(operations: readonly RowOperation[], deadline: Deadline): Promise<Map<string, Batch[]>> {
    const tablets = new Map<string, Batch[]>();
    for (const [index, { type, row }] of operations.entries()) {
      const tabletId = await this.#locations.find(row, deadline);
      if (tabletId === null)
        throw new KuduError('usage', `operation ${index}: no partition of the table covers its key`, { notRun: true });
      let queue = tablets.get(tabletId);
      if (!queue) tablets.set(tabletId, (queue = []));
      let batch = queue.at(-1);
      if (!batch || batch.rows.bytes > MAX_BATCH_BYTES) {
        batch = { indexes: [], rows: new RowOperationsEncoder(this.#schema) };
        queue.push(batch);
      }
      batch.rows.add(TYPES[type], row);
      batch.indexes.push(index);
    }
    return tablets;
  }

  async #send(tabletId: string, batch: Batch, deadline: Deadline): Promise<WriteResponsePB> {
    const { rows, indirect } = batch.rows.finish();
    const request = this.#context.tracker.begin();
    try {
      return await callReplica(this.#locations, tabletId, 'leader-first', deadline, (address, attempt) =>
        this.#authorization.run(attempt, (token) =>
          this.#context.tabletServer(address).write(
            {
              tabletId: Buffer.from(tabletId),
              schema: this.#schemaPb,
              rowOperations: { rows, indirectData: indirect },
              ...token,
              ...this.#context.observed.toPropagate(),
            },
            { timeoutMs: attempt.remainingMs(), signal: attempt.signal, requestId: request.nextAttempt() },
          ),
        ),
      );
    } finally {
      request.done();
    }
  }
}

function errorsOf(response: WriteResponsePB, batch: Batch): RowError[] {
  return response.perRowErrors.map(({ rowIndex, error }) => ({
    index: batch.indexes[rowIndex]!,
    status: error?.code ?? AppStatus.UNKNOWN_ERROR,
    message: error?.message ?? '',
  }));
}
