import type { KuduClient } from '../kudu/client.ts';
import { openSystemTable } from '../kudu-side/kudu-system-table.ts';
import { SidecarRegistry, SIDECAR_COLUMNS } from '../sidecars/sidecar-registry.ts';
import type { KnownSidecar } from '../api/shapes.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import { StreamStore, STREAM_COLUMNS } from '../streams/stream-store.ts';
import { isStreamable, matchTables } from '../streams/table-patterns.ts';
import type { Logger } from '../util/logger.ts';

/** A stream as it is kept, and which tables it has. */
export interface ListedStream {
  readonly definition: StreamDefinition;
  readonly tables: readonly string[];
}

/** What the sidecars keep in Kudu. Its tables are read where they are there, and never made. */
export class KeptThings {
  readonly #client: () => Promise<KuduClient>;
  readonly #prefix: string;
  readonly #logger: Logger;
  readonly #reading: AbortSignal;
  #streams: Promise<readonly ListedStream[]> | null = null;

  /** @param reading ends what several wait for */
  constructor(
    client: () => Promise<KuduClient>,
    prefix: string,
    { logger, reading }: { logger: Logger; reading: AbortSignal },
  ) {
    this.#client = client;
    this.#prefix = prefix;
    this.#logger = logger;
    this.#reading = reading;
  }

  /** Asked for by several, read once. @throws {KuduError} */
  streams(): Promise<readonly ListedStream[]> {
    this.#streams ??= this.#readStreams(this.#reading);
    return this.#streams;
  }

  /** @throws {KuduError} */
  async sidecars(signal: AbortSignal): Promise<readonly KnownSidecar[]> {
    const table = await this.#open('sidecars', SIDECAR_COLUMNS, 1, signal);
    if (table === null) return [];
    const nobody = { id: '', http: '', tserver: '', tserverUuid: '', version: '' };
    const { now: kuduNow } = (await this.#client()).clock;
    return new SidecarRegistry(table, nobody, { kuduNow, logger: this.#logger }).list(signal);
  }

  async #readStreams(signal: AbortSignal): Promise<readonly ListedStream[]> {
    const table = await this.#open('streams', STREAM_COLUMNS, 2, signal);
    if (table === null) return [];
    const [stored, tables] = await Promise.all([
      new StreamStore(table, this.#logger).list(signal),
      this.#client().then((client) => client.listTables({ signal })),
    ]);
    const names = tables.map(({ name }) => name).filter((name) => isStreamable(name, this.#prefix));
    return stored.map(({ definition }) => ({
      definition,
      tables: names.filter((name) => matchTables(definition.tables, name)),
    }));
  }

  async #open<Column extends string>(what: string, columns: readonly Column[], keys: number, signal: AbortSignal) {
    const client = await this.#client();
    const name = `${this.#prefix}${what}`;
    if ((await client.findTable({ name }, { signal })) === null) return null;
    return openSystemTable(client, { name, columns, keys, replicas: 1, signal });
  }
}
