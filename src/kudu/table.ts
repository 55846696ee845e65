import type { TableDescription, TableRef, TabletLocation } from './catalog.ts';
import { Deadline, type CallOptions } from './rpc/deadline.ts';
import type { Row, RowInput } from './row-operations.ts';
import { TableScan, type ScanOptions } from './scanner.ts';
import type { TableSchema } from './schema.ts';
import type { SignedTokenPB } from './proto/rpc_pb.ts';
import { AppStatus } from './status.ts';
import { TableAuthorization } from './table-authorization.ts';
import type { TableContext } from './table-context.ts';
import { TableLocations, type LocationSource } from './table-locations.ts';
import { TableWriter, type RowError, type RowOperation, type WriteResult } from './writer.ts';
import { KuduError } from './errors.ts';

/** The catalog calls that a table needs. */
export interface TableSource extends LocationSource {
  getAuthorizationToken(table: TableRef, deadline: Deadline): Promise<SignedTokenPB | null>;
}

/**
 * A table, with the schema that it had when it was opened. After an ALTER open it again: a write or scan that no
 * longer fits is refused (`tserver` MISMATCHED_SCHEMA), never misread.
 */
export class KuduTable {
  readonly description: TableDescription;
  readonly #context: TableContext;
  readonly #locations: TableLocations;
  readonly #authorization: TableAuthorization;
  readonly #writer: TableWriter;

  constructor(context: TableContext, source: TableSource, description: TableDescription) {
    this.description = description;
    this.#context = context;
    this.#locations = new TableLocations(source, description);
    this.#authorization = new TableAuthorization((deadline) =>
      source.getAuthorizationToken({ tableId: description.tableId }, deadline),
    );
    this.#writer = new TableWriter(context, description.schema, this.#locations, this.#authorization);
  }

  /** See {@link TableWriter.write}. */
  async write(operations: readonly RowOperation[], options: CallOptions = {}): Promise<WriteResult> {
    return this.#writer.write(operations, Deadline.from(options, this.#context.timeoutMs));
  }

  /** Inserts a row. False when there is a row with its key already; nothing is changed then. */
  async insert(row: RowInput, options: CallOptions = {}): Promise<boolean> {
    return this.#writeOne({ type: 'insert', row }, AppStatus.ALREADY_PRESENT, options);
  }

  /** Inserts a row, or sets the given columns of the one that has its key. */
  async upsert(row: RowInput, options: CallOptions = {}): Promise<void> {
    await this.#writeOne({ type: 'upsert', row }, null, options);
  }

  /** Sets the given columns of a row. False when there is no row with its key. */
  async update(row: RowInput, options: CallOptions = {}): Promise<boolean> {
    return this.#writeOne({ type: 'update', row }, AppStatus.NOT_FOUND, options);
  }

  /** Deletes a row by its key columns. False when there was none. */
  async delete(key: RowInput, options: CallOptions = {}): Promise<boolean> {
    return this.#writeOne({ type: 'delete', row: key }, AppStatus.NOT_FOUND, options);
  }

  /** A scan; nothing is sent before it is iterated. @throws {KuduError} `usage` when it does not fit the table */
  scan(options: ScanOptions = {}): TableScan {
    const table = { locations: this.#locations, authorization: this.#authorization };
    return new TableScan(this.#context, this.description.schema, table, options);
  }

  /**
   * A scan of one tablet with columns as given: a tablet may be ahead of what the master tells of its table.
   * @throws {KuduError} `usage` when it does not fit the columns
   */
  scanTablet(
    tabletId: string,
    schema: TableSchema,
    options: Omit<ScanOptions, 'columns' | 'tabletIds'> = {},
  ): TableScan {
    const table = { locations: this.#locations, authorization: this.#authorization };
    return new TableScan(this.#context, schema, table, { ...options, tabletIds: [tabletId] });
  }

  /**
   * All rows of a small table, or those that match, as its leaders have them: with every write that any client had
   * finished when the call began. Begun anew when a server is lost in the middle, until the time is over.
   */
  async readAll(options: Pick<ScanOptions, 'columns' | 'predicates'> & CallOptions = {}): Promise<Row[]> {
    const { columns, predicates } = options;
    const deadline = Deadline.from(options, this.#context.timeoutMs);
    for (;;) {
      try {
        return await this.scan({
          read: { mode: 'present' },
          ...(columns ? { columns } : {}),
          ...(predicates ? { predicates } : {}),
          ...(deadline.signal ? { signal: deadline.signal } : {}),
          timeoutMs: deadline.remainingMs(),
        }).toArray();
      } catch (error) {
        if (!(error instanceof KuduError) || !error.retriable || deadline.remainingMs() === 0) throw error;
      }
    }
  }

  /** Where the tablets are, as last asked; see {@link KuduClient.getTableLocations} for now. */
  async tablets(options: CallOptions = {}): Promise<readonly TabletLocation[]> {
    return this.#locations.all(Deadline.from(options, this.#context.timeoutMs));
  }

  /** The tablet that a row with these key columns is in; null where no partition takes it. */
  async tabletOf(key: RowInput, options: CallOptions = {}): Promise<string | null> {
    return this.#locations.find(key, Deadline.from(options, this.#context.timeoutMs));
  }

  async #writeOne(operation: RowOperation, refusal: number | null, options: CallOptions): Promise<boolean> {
    const { rowErrors } = await this.write([operation], options);
    const [error] = rowErrors;
    if (!error) return true;
    if (error.status === refusal) return false;
    throw rowFailure(operation, error);
  }
}

function rowFailure(operation: RowOperation, error: RowError): KuduError {
  return new KuduError('usage', `${operation.type}: the row was rejected: ${error.message}`, {
    status: error.status,
    notRun: true,
  });
}
