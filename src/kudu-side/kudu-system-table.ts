import type { KuduClient } from '../kudu/client.ts';
import { KuduError } from '../kudu/errors.ts';
import type { Predicate } from '../kudu/predicate.ts';
import { AppStatus, MasterErrorCode } from '../kudu/status.ts';
import type { KuduTable } from '../kudu/table.ts';
import type { RowError } from '../kudu/writer.ts';
import { pause } from '../util/pause.ts';
import { rowRefused, type KuduRefusedError } from './kudu-refusal.ts';
import type { ColumnFilter, SystemTable } from '../streams/system-table.ts';

const CREATION_POLL_MS = 100;

export interface SystemTableOptions<Column extends string> {
  readonly name: string;
  readonly columns: readonly Column[];
  /** How many of the columns, from the first on, are the key. */
  readonly keys: number;
  readonly replicas: number;
  readonly signal: AbortSignal;
}

/**
 * Opens a table of Spoor's own, and makes it at the cluster's first start; several sidecars may do so at once.
 * @throws {KuduError} when Kudu cannot make it, for example with more replicas than there are tablet servers
 */
export async function openSystemTable<Column extends string>(
  client: KuduClient,
  options: SystemTableOptions<Column>,
): Promise<SystemTable<Column> & { readonly tableId: string }> {
  const { name, columns, keys, replicas, signal } = options;
  if (!(await client.findTable({ name }, { signal })))
    await client
      .createTable(
        {
          name,
          columns: columns.map((column, i) => ({ name: column, type: 'STRING', key: i < keys })),
          range: { columns: columns.slice(0, keys) },
          numReplicas: replicas,
        },
        { signal },
      )
      .catch((error: unknown) => {
        if (!KuduError.is(error, 'master', MasterErrorCode.TABLE_ALREADY_PRESENT)) throw error;
      });
  // Another sidecar may have been first, and the master does not show a table before it is whole.
  while (!(await client.findTable({ name }, { signal }))) {
    await pause(CREATION_POLL_MS, signal);
    signal.throwIfAborted();
  }
  return new KuduSystemTable(await client.openTable({ name }, { signal }));
}

class KuduSystemTable<Column extends string> implements SystemTable<Column> {
  readonly #table: KuduTable;

  constructor(table: KuduTable) {
    this.#table = table;
  }

  get tableId(): string {
    return this.#table.description.tableId;
  }

  async scan(
    wanted: Partial<Record<Column, ColumnFilter>>,
    signal: AbortSignal,
  ): Promise<readonly Record<Column, string>[]> {
    const predicates = Object.entries<ColumnFilter | undefined>(wanted).flatMap(([column, value]): Predicate[] => {
      if (value === undefined) return [];
      if (typeof value === 'string') return [{ column, is: '=', value }];
      if ('prefix' in value) return withPrefix(column, value.prefix);
      return [{ column, is: 'in', values: value }];
    });
    const rows = await this.#table.readAll({ predicates, signal });
    return rows as unknown as readonly Record<Column, string>[]; // all columns are strings and not nullable
  }

  async insert(row: Record<Column, string>, signal: AbortSignal): Promise<boolean> {
    return this.#table.insert(row, { signal });
  }

  async update(row: Record<Column, string>, signal: AbortSignal): Promise<boolean> {
    return this.#table.update(row, { signal });
  }

  async upsert(rows: readonly Record<Column, string>[], signal: AbortSignal): Promise<void> {
    const { rowErrors } = await this.#table.write(
      rows.map((row) => ({ type: 'upsert' as const, row })),
      { signal },
    );
    const [error] = rowErrors;
    if (error) throw this.#refused('rejected', error);
  }

  async delete(keys: readonly Partial<Record<Column, string>>[], signal: AbortSignal): Promise<boolean> {
    const { rowErrors } = await this.#table.write(
      keys.map((row) => ({ type: 'delete' as const, row: row as Record<string, string> })),
      { signal },
    );
    const other = rowErrors.find(({ status }) => status !== AppStatus.NOT_FOUND);
    if (other) throw this.#refused('not deleted', other);
    return rowErrors.length === 0;
  }

  #refused(what: string, { message, status }: RowError): KuduRefusedError {
    return rowRefused(`a row of ${this.#table.description.name} was ${what}: ${message}`, status);
  }
}

/** @param prefix ASCII, not empty */
function withPrefix(column: string, prefix: string): Predicate[] {
  const last = prefix.charCodeAt(prefix.length - 1);
  const next = prefix.slice(0, -1) + String.fromCharCode(last + 1);
  return [
    { column, is: '>=', value: prefix },
    { column, is: '<', value: next },
  ];
}
