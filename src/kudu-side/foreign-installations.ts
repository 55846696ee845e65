import type { KuduClient } from '../kudu/client.ts';
import { KuduError } from '../kudu/errors.ts';
import { UnknownTypeError } from '../kudu/schema-codec.ts';
import { MasterErrorCode } from '../kudu/status.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import { SIDECAR_COLUMNS } from '../sidecars/sidecar-registry.ts';
import { STREAM_COLUMNS } from '../streams/stream-items.ts';

/** By what their names end with behind the installation's prefix. */
const SYSTEM_TABLES: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ['streams', STREAM_COLUMNS],
  ['sidecars', SIDECAR_COLUMNS],
]);

/**
 * Tables that other installations of Spoor keep in the same Kudu, under prefixes of their own: nobody's data. A name says little, so
 * what has such a name is one only by its columns.
 */
export class ForeignInstallations {
  readonly #client: Pick<KuduClient, 'openTable'>;
  /** By table id, of those with such a name. */
  readonly #known = new Map<string, boolean>();

  constructor(client: Pick<KuduClient, 'openTable'>) {
    this.#client = client;
  }

  /** @throws {KuduError} Kudu does not say what one of them is */
  async leaveOut(tables: readonly CatalogTable[], signal: AbortSignal): Promise<readonly CatalogTable[]> {
    const isForeign = await Promise.all(tables.map((table) => this.#isSystemTable(table, signal)));
    return tables.filter((_, i) => isForeign[i] === false);
  }

  async #isSystemTable({ tableId, name }: CatalogTable, signal: AbortSignal): Promise<boolean> {
    const [, columns] = [...SYSTEM_TABLES].find(([end]) => name.endsWith(end)) ?? [];
    if (columns === undefined) return false;
    let isOne = this.#known.get(tableId);
    if (isOne === undefined) this.#known.set(tableId, (isOne = await this.#hasColumns(tableId, columns, signal)));
    return isOne;
  }

  async #hasColumns(tableId: string, columns: readonly string[], signal: AbortSignal): Promise<boolean> {
    try {
      const { description } = await this.#client.openTable({ tableId }, { signal });
      const names = new Set(description.schema.columns.map(({ name }) => name));
      return columns.every((name) => names.has(name));
    } catch (error) {
      if (KuduError.is(error, 'master', MasterErrorCode.TABLE_NOT_FOUND)) return false; // dropped meanwhile
      if (error instanceof UnknownTypeError) return false; // ours have no such columns
      throw error;
    }
  }
}
