import {
  describeTableRef,
  tableDescriptionFromPb,
  tableListingFromPb,
  tableRefToPb,
  tabletLocationFromPb,
  tabletServerFromPb,
  asText,
  type TableDescription,
  type TableListing,
  type TableRef,
  type TabletLocation,
  type TabletServerListing,
} from './catalog.ts';
import { alterSteps, createTableRequest, type TableAlteration, type TableSpec } from './ddl.ts';
import { KuduError } from './errors.ts';
import { ExtensionWriter, type TabletOfTable } from './extension-writer.ts';
import { ClusterClock } from './cluster-clock.ts';
import type { HybridTime } from './hybrid-time.ts';
import { MasterClient } from './master-client.ts';
import type { Partition } from './partition.ts';
import type { GetTableLocationsResponsePB, ListTablesResponsePB } from './proto/master_pb.ts';
import { Deadline, type CallOptions } from './rpc/deadline.ts';
import { Messenger } from './rpc/messenger.ts';
import { RequestTracker } from './rpc/request-tracker.ts';
import { schemaToPb } from './schema-codec.ts';
import type { SecurityOptions } from './security/options.ts';
import { SecurityContext } from './security/security-context.ts';
import { MasterService } from './services.ts';
import { AppStatus, MasterErrorCode } from './status.ts';
import { ObservedTime, type TableContext } from './table-context.ts';
import { KuduTable, type TableSource } from './table.ts';
import { oncePer } from '../util/once-per.ts';
import { TabletServerProxy } from './tserver-proxy.ts';

export interface KuduClientOptions extends SecurityOptions {
  /** `host:port` of every master; the port may be left out. */
  readonly masters: readonly string[];
  /** The time of a call that names none itself, in milliseconds. Default: 30 s. */
  readonly timeoutMs?: number | undefined;
  /** For connecting itself. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Locations asked for in one call. The master's own default is 10. */
const LOCATIONS_PER_CALL = 1000;

/**
 * A Kudu cluster: its catalog, its tables, its servers.
 *
 * Errors of every method: {@link KuduError}; or the reason of `options.signal` when that aborts. Calls that only ask
 * are repeated until their time is over when a master or a connection goes away; calls that change something are
 * repeated only when it is certain that they did not run.
 */
export class KuduClient implements Disposable {
  readonly timeoutMs: number;
  /** Right from {@link readClock} on, and kept so by every scan. */
  readonly clock = new ClusterClock();
  readonly #messenger: Messenger;
  readonly #masters: MasterClient;
  readonly #context: TableContext;
  readonly #extensions: ExtensionWriter;
  readonly #tableSource: TableSource = {
    getTableLocations: (table, options) => this.getTableLocations(table, options),
    getTabletLocations: (tabletIds, options) => this.getTabletLocations(tabletIds, options),
    getAuthorizationToken: async (table, deadline) => {
      const request = { table: tableRefToPb(table) };
      return (await this.#masters.call(MasterService.getTableSchema, request, deadline)).authzToken ?? null;
    },
  };

  private constructor(options: KuduClientOptions) {
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#messenger = new Messenger(new SecurityContext(options));
    this.#masters = new MasterClient(this.#messenger, options.masters);
    this.#context = {
      tracker: new RequestTracker(),
      observed: new ObservedTime(),
      clock: this.clock,
      timeoutMs: this.timeoutMs,
      tabletServer: (address) => this.tabletServer(address),
    };
    this.#extensions = new ExtensionWriter(this.#context, {
      ...this.#tableSource,
      getTable: (table, options) => this.getTable(table, options),
    });
  }

  /** Resolves when a leading master has answered. @throws {KuduError} `timeout` when none does in time */
  static async connect(options: KuduClientOptions): Promise<KuduClient> {
    const client = new KuduClient(options);
    try {
      await client.#masters.connect(client.#deadline({ signal: options.signal }));
      return client;
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  /** Asks a tablet server what time it is. */
  async readClock(address: string, options: CallOptions = {}): Promise<void> {
    const askedAtMs = performance.now();
    this.clock.note(await this.tabletServer(address).serverClock(options), askedAtMs);
  }

  /** See {@link MasterClient.clusterId}. */
  get clusterId(): string {
    return this.#masters.clusterId;
  }

  /** Closes every connection. Calls under way fail. */
  [Symbol.dispose](): void {
    this.#messenger[Symbol.dispose]();
  }

  /**
   * The tables of the cluster; system tables (transaction status) are not among them.
   * @param options.nameContains only tables whose name has this in it
   * @param options.withTablets fills `tablets` (Kudu 1.16 and later)
   * @param options.showSoftDeleted lists the soft-deleted tables, and only those
   */
  async listTables(
    options: CallOptions & {
      readonly nameContains?: string;
      readonly withTablets?: boolean;
      readonly showSoftDeleted?: boolean;
    } = {},
  ): Promise<readonly TableListing[]> {
    const withTablets = options.withTablets ?? false;
    const answer = await this.#masters.call(
      MasterService.listTables,
      {
        ...(options.nameContains === undefined ? {} : { nameFilter: options.nameContains }),
        listTabletWithPartition: withTablets,
        showSoftDeleted: options.showSoftDeleted ?? false,
      },
      this.#deadline(options),
    );
    return withTablets ? readWithTablets(answer) : answer.tables.map((table) => tableListingFromPb(table, false));
  }

  /** @throws {KuduError} `master` TABLE_NOT_FOUND; {RangeError} a column type that this client does not know */
  async getTable(table: TableRef, options: CallOptions = {}): Promise<TableDescription> {
    const request = { table: tableRefToPb(table) };
    return tableDescriptionFromPb(
      await this.#masters.call(MasterService.getTableSchema, request, this.#deadline(options)),
    );
  }

  /** {@link getTable}, or null where there is no such table. */
  async findTable(table: TableRef, options: CallOptions = {}): Promise<TableDescription | null> {
    try {
      return await this.getTable(table, options);
    } catch (error) {
      if (KuduError.is(error, 'master', MasterErrorCode.TABLE_NOT_FOUND)) return null;
      throw error;
    }
  }

  /**
   * Every tablet of a table, in the order of their partition keys, with all its replicas, the non-voters included.
   * @param options.pageSize how many are asked for at a time; default: 1000
   * @throws {KuduError} `master` TABLE_NOT_FOUND; TABLET_NOT_RUNNING past the time, while tablets are being made
   */
  async getTableLocations(
    table: TableRef,
    options: CallOptions & { readonly pageSize?: number } = {},
  ): Promise<readonly TabletLocation[]> {
    const deadline = this.#deadline(options);
    const pageSize = Math.max(2, options.pageSize ?? LOCATIONS_PER_CALL);
    const tablets = new Map<string, TabletLocation>();
    let from: Partition | null = null;
    for (;;) {
      const answer: GetTableLocationsResponsePB = await this.#masters.call(
        MasterService.getTableLocations,
        {
          table: tableRefToPb(table),
          ...(from ? startKey(from) : {}),
          maxReturnedLocations: pageSize,
          replicaTypeFilter: ANY_REPLICA,
          internTsInfosInResponse: true,
        },
        deadline,
      );
      const page = answer.tabletLocations.map((pb) => tabletLocationFromPb(pb, answer.tsInfos));
      const known = tablets.size;
      for (const tablet of page) tablets.set(tablet.tabletId, tablet);
      const last = page.at(-1);
      if (!last || page.length < pageSize) return [...tablets.values()];
      if (tablets.size === known)
        throw new KuduError('protocol', `GetTableLocations of ${describeTableRef(table)} does not move on`);
      // A page begins with the tablet at or before the key, so the last one comes again. Its end would not do:
      // where ranges are hashed each in its own way, the next tablet may begin before it.
      from = last.partition;
    }
  }

  /**
   * Tablets by their ids. Those that the catalog does not have (any more) are in `missing`, with what it says of
   * them: a dropped range partition or table is named there for a while.
   */
  async getTabletLocations(
    tabletIds: readonly string[],
    options: CallOptions = {},
  ): Promise<{
    readonly tablets: readonly TabletLocation[];
    /** `isGone`: it is not there any more, or never was; else the master cannot say where it is at present. */
    readonly missing: readonly { readonly tabletId: string; readonly reason: string; readonly isGone: boolean }[];
  }> {
    const answer = await this.#masters.call(
      MasterService.getTabletLocations,
      {
        tabletIds: tabletIds.map((id) => Buffer.from(id)),
        replicaTypeFilter: ANY_REPLICA,
        internTsInfosInResponse: true,
      },
      this.#deadline(options),
    );
    return {
      tablets: answer.tabletLocations.map((pb) => tabletLocationFromPb(pb, answer.tsInfos)),
      missing: answer.errors.map((error) => ({
        tabletId: asText(error.tabletId),
        reason: error.status?.message ?? '',
        isGone: error.status?.code === AppStatus.NOT_FOUND,
      })),
    };
  }

  /** The tablet servers that the master knows, the dead ones included: see `millisSinceHeartbeat`. */
  async listTabletServers(options: CallOptions = {}): Promise<readonly TabletServerListing[]> {
    const answer = await this.#masters.call(MasterService.listTabletServers, {}, this.#deadline(options));
    return answer.servers.map(tabletServerFromPb);
  }

  /** The calls of one tablet server. Nothing is sent before the first of them. @param address `host:port` */
  tabletServer(address: string): TabletServerProxy {
    return new TabletServerProxy(this.#messenger, address, this.timeoutMs);
  }

  /** A table to read and write. @throws {KuduError} `master` TABLE_NOT_FOUND */
  async openTable(table: TableRef, options: CallOptions = {}): Promise<KuduTable> {
    return new KuduTable(this.#context, this.#tableSource, await this.getTable(table, options));
  }

  /**
   * Puts bytes of the caller's own into a tablet's log: a write of no rows, which changes nothing in the table and lies
   * in the log of each replica. Goes to the leader, wherever it is now. Kudu keeps the bytes and does not read them.
   *
   * Shape:  resolves once a majority has it, with the time of the operation. One call may leave it in the log several
   *         times, also after it has failed, and a failed one may come after a later one: say only what stays true then.
   * Needs:  the right to insert, update or delete in the table, where tablet servers enforce access control.
   * Errors: {@link KuduError}, `locked` at once where a multi-row transaction holds the tablet; `notFound` when table or
   *         tablet is dropped; `tserver` MISMATCHED_SCHEMA when the table is still being altered after the schema was
   *         fetched anew some times; `rpc` FATAL_UNAUTHORIZED without the right. What passes by itself (no leader, a busy server) is
   *         tried again until the time is over: then `timeout`, and {@link KuduError.lastCause} says why.
   */
  async writeExtension(
    tablet: TabletOfTable,
    extension: Uint8Array,
    options: CallOptions = {},
  ): Promise<{ readonly timestamp: HybridTime }> {
    return { timestamp: await this.#extensions.write(tablet, extension, this.#deadline(options)) };
  }

  /**
   * Makes a table and waits until all its tablets are there.
   * @throws {KuduError} `master` TABLE_ALREADY_PRESENT and others; with `notRun` false, when it is not known whether
   *   the table was made
   */
  async createTable(spec: TableSpec, options: CallOptions = {}): Promise<KuduTable> {
    const deadline = this.#deadline(options);
    const { request, requiredFeatures } = createTableRequest(spec);
    const { tableId } = await this.#masters.call(MasterService.createTable, request, deadline, requiredFeatures);
    await this.waitForTable({ tableId: asText(tableId) }, remaining(deadline));
    return this.openTable({ tableId: asText(tableId) }, remaining(deadline));
  }

  /** Resolves when all tablets of a table are there: for one that somebody else is making. */
  async waitForTable(table: TableRef, options: CallOptions = {}): Promise<void> {
    const deadline = this.#deadline(options);
    await pollUntil(deadline, `table ${describeTableRef(table)} is not ready in time`, async () => {
      const request = { table: tableRefToPb(table) };
      return (await this.#masters.call(MasterService.isCreateTableDone, request, deadline)).done;
    });
  }

  /**
   * Changes a table and waits until every tablet has the change.
   * @throws {KuduError} `master` for what the catalog refuses; with `notRun` false, when it is not known whether it
   *   was begun
   */
  async alterTable(table: TableRef, alteration: TableAlteration, options: CallOptions = {}): Promise<TableDescription> {
    const deadline = this.#deadline(options);
    const { tableId, schema } = await this.getTable(table, remaining(deadline));
    const { steps, requiredFeatures } = alterSteps(schema, alteration.steps ?? []);
    const request = {
      table: tableRefToPb({ tableId }),
      alterSchemaSteps: steps,
      ...(alteration.renameTo === undefined ? {} : { newTableName: alteration.renameTo }),
      ...(requiredFeatures.length === 0 ? {} : { schema: schemaToPb(schema, { withIds: false }) }),
      newExtraConfigs: { ...alteration.extraConfigs },
    };
    await this.#masters.call(MasterService.alterTable, request, deadline, requiredFeatures);
    await pollUntil(deadline, `not every tablet of ${describeTableRef(table)} was altered in time`, async () => {
      const done = { table: tableRefToPb({ tableId }) };
      return (await this.#masters.call(MasterService.isAlterTableDone, done, deadline)).done;
    });
    return this.getTable({ tableId }, remaining(deadline));
  }

  /**
   * Drops a table.
   * @param options.reserveSeconds keeps it as soft-deleted for so long; default: gone at once
   * @throws {KuduError} `master` TABLE_NOT_FOUND
   */
  async deleteTable(table: TableRef, options: CallOptions & { readonly reserveSeconds?: number } = {}): Promise<void> {
    const deadline = this.#deadline(options);
    // By id alone the master does not find the table to keep as soft-deleted: it looks for an empty name.
    const { tableId, name } = await this.getTable(table, remaining(deadline));
    const request = {
      table: { ...tableRefToPb({ tableId }), tableName: name },
      reserveSeconds: options.reserveSeconds ?? 0,
    };
    await this.#masters.call(MasterService.deleteTable, request, deadline);
  }

  #deadline(options: CallOptions): Deadline {
    return Deadline.from(options, this.timeoutMs);
  }
}

/** How often the master is asked whether something is done, in milliseconds. */
const POLL_MS = 50;

async function pollUntil(deadline: Deadline, failure: string, isDone: () => Promise<boolean>): Promise<void> {
  while (!(await isDone())) {
    if (deadline.remainingMs() === 0) throw new KuduError('timeout', failure);
    await deadline.sleep(POLL_MS);
  }
}

/** Masters of tables whose ranges are hashed each in its own way may insist on the key in two parts. */
function startKey({ start, hashBuckets }: Partition) {
  const hashBytes = 4 * hashBuckets.length;
  return {
    partitionKeyStart: start,
    keyStart: { hashKey: start.subarray(0, hashBytes), rangeKey: start.subarray(hashBytes) },
  };
}

function remaining(deadline: Deadline): CallOptions {
  return { timeoutMs: deadline.remainingMs(), signal: deadline.signal };
}

/** Source: kudu/master/master.proto ReplicaTypeFilter. */
const ANY_REPLICA = 0;

/** Asked for again and again by who watches the catalog: while nothing changes it is the same list, itself. */
const readWithTablets = oncePer(({ tables }: ListTablesResponsePB): readonly TableListing[] =>
  tables.map((table) => tableListingFromPb(table, true)),
);
