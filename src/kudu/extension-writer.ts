import type { TableDescription, TableRef, TabletLocation } from './catalog.ts';
import { KuduError } from './errors.ts';
import type { HybridTime } from './hybrid-time.ts';
import type { SchemaPB } from './proto/common_pb.ts';
import type { SignedTokenPB } from './proto/rpc_pb.ts';
import { Deadline, type CallOptions } from './rpc/deadline.ts';
import { schemaToPb } from './schema-codec.ts';
import type { TableSchema } from './schema.ts';
import { TserverErrorCode } from './status.ts';
import { TableAuthorization } from './table-authorization.ts';
import type { TableContext } from './table-context.ts';
import type { LocationSource } from './table-locations.ts';
import { callReplica, type ReplicaLocator } from './tablet-caller.ts';

/**
 * An answer takes a millisecond or two, or a second where a transaction holds the tablet: so long the server tries before
 * it says so. One that hangs has a successor after about as long as this.
 */
const FIRST_ATTEMPT_MS = 1500;

/** How often the schema is fetched anew for one write, and how long the second to wait after the first, in ms. */
const SCHEMA_LOOKS = 4;
const SCHEMA_PAUSE_MS = 50;

/** A tablet, and the table that it is of. */
export interface TabletOfTable {
  readonly tableId: string;
  readonly tabletId: string;
}

/** The catalog calls that writing extensions needs; {@link KuduClient} has them. */
export interface ExtensionSource extends Pick<LocationSource, 'getTabletLocations'> {
  getTable(table: TableRef, options?: CallOptions): Promise<TableDescription>;
  getAuthorizationToken(table: TableRef, deadline: Deadline): Promise<SignedTokenPB | null>;
}

/** What is known of a table for the next write to one of its tablets. */
interface KnownTable {
  schema: Promise<SchemaPB>;
  readonly authorization: TableAuthorization;
}

/**
 * Writes bytes of a caller's own into tablets' logs: a write of no rows, with the bytes in a field that Kudu does not
 * know. It goes through Raft as any write does and lies in the log of every replica, byte for byte; the table is as it
 * was. Source: kudu-facts 9.
 *
 * A call costs one round trip to the leader: schemas and places are kept, and asked for again when a server says that
 * they no longer fit.
 */
export class ExtensionWriter {
  readonly #context: TableContext;
  readonly #source: ExtensionSource;
  readonly #tables = new Map<string, KnownTable>();
  readonly #locator: TabletLocator;

  constructor(context: TableContext, source: ExtensionSource) {
    this.#context = context;
    this.#source = source;
    this.#locator = new TabletLocator(source);
  }

  /** See {@link KuduClient.writeExtension}. */
  async write(tablet: TabletOfTable, extension: Uint8Array, deadline: Deadline): Promise<HybridTime> {
    try {
      return await this.#writeAsOfNow(tablet, extension, deadline);
    } catch (error) {
      if (error instanceof KuduError && error.notFound) {
        this.#tables.delete(tablet.tableId);
        this.#locator.forget(tablet.tabletId);
      }
      throw error;
    }
  }

  /**
   * Again, with the schema of now, where the one in hand no longer fits: such a write was not begun. The tablet may be
   * ahead of the master for a moment, which tells of an ALTER only when all tablets have it.
   */
  async #writeAsOfNow(tablet: TabletOfTable, extension: Uint8Array, deadline: Deadline): Promise<HybridTime> {
    const table = this.#table(tablet.tableId);
    for (let attempt = 0; ; attempt++) {
      const { schema } = table;
      try {
        return await this.#send(tablet.tabletId, table, await within(deadline, schema), extension, deadline);
      } catch (error) {
        if (!KuduError.is(error, 'tserver', TserverErrorCode.MISMATCHED_SCHEMA) || attempt === SCHEMA_LOOKS)
          throw error;
        if (attempt > 0) await deadline.sleep(SCHEMA_PAUSE_MS * attempt);
        if (table.schema === schema) table.schema = this.#fetchSchema(tablet.tableId);
      }
    }
  }

  async #send(
    tabletId: string,
    { authorization }: KnownTable,
    schema: SchemaPB,
    extension: Uint8Array,
    deadline: Deadline,
  ): Promise<HybridTime> {
    let patienceMs = FIRST_ATTEMPT_MS;
    // No request id, unlike with rows: twice is harmless, and each would lie in the log and in the server's memory.
    const answer = await callReplica(this.#locator, tabletId, 'leader-first', deadline, async (address, whole) => {
      const attempt = whole.atMost(patienceMs);
      try {
        return await authorization.run(attempt, (token) =>
          this.#context
            .tabletServer(address)
            .write(
              { tabletId: Buffer.from(tabletId), schema, extension, ...token, ...this.#context.observed.toPropagate() },
              { timeoutMs: attempt.remainingMs(), signal: attempt.signal },
            ),
        );
      } catch (error) {
        // Not to be waited out here: a transaction may be open for as long as its client likes.
        if (error instanceof KuduError && error.locked) return error;
        if (KuduError.is(error, 'timeout')) patienceMs *= 2;
        throw error;
      }
    });
    if (answer instanceof KuduError) throw answer;
    this.#context.observed.note(answer.timestamp);
    return answer.timestamp;
  }

  #table(tableId: string): KnownTable {
    let table = this.#tables.get(tableId);
    if (!table) {
      table = {
        schema: this.#fetchSchema(tableId),
        authorization: new TableAuthorization((deadline) => this.#source.getAuthorizationToken({ tableId }, deadline)),
      };
      this.#tables.set(tableId, table);
    }
    return table;
  }

  /** Shared by whoever writes to the table now; a failure is not kept. */
  #fetchSchema(tableId: string): Promise<SchemaPB> {
    const fetching = this.#source
      .getTable({ tableId }, { timeoutMs: this.#context.timeoutMs })
      .then(({ schema }) => schemaToPb(minimalSchema(schema), { withIds: false }));
    fetching.catch(() => {
      if (this.#tables.get(tableId)?.schema === fetching) this.#tables.delete(tableId);
    });
    return fetching;
  }
}

/**
 * The least that a tablet server takes as the schema of a write: the key columns, and those that every INSERT must set,
 * with what decides their type. So the ALTERs that may come in between are few: a key column renamed, a default taken
 * from a NOT NULL column. Source: kudu/common/row_operations.cc DecodeOperations, kudu/common/schema.h EqualsType.
 */
export function minimalSchema(schema: TableSchema): TableSchema {
  return {
    columns: schema.columns
      .filter(({ isKey, nullable, writeDefault }) => isKey || (!nullable && writeDefault === null))
      .map((column) => ({
        ...column,
        readDefault: null,
        writeDefault: null,
        comment: '',
        encoding: 0,
        compression: 0,
      })),
  };
}

/** Places of single tablets, each asked for when it is first wanted. */
class TabletLocator implements ReplicaLocator {
  readonly doubted = new Set<string>();
  readonly #source: Pick<LocationSource, 'getTabletLocations'>;
  readonly #known = new Map<string, TabletLocation>();

  constructor(source: Pick<LocationSource, 'getTabletLocations'>) {
    this.#source = source;
  }

  async replicas(tabletId: string, deadline: Deadline): Promise<TabletLocation | null> {
    return this.#known.get(tabletId) ?? (await this.refresh(tabletId, deadline));
  }

  async refresh(tabletId: string, deadline: Deadline): Promise<TabletLocation | null> {
    const options = { timeoutMs: deadline.remainingMs(), signal: deadline.signal };
    const { tablets } = await this.#source.getTabletLocations([tabletId], options);
    const location = tablets[0];
    if (location) this.#known.set(tabletId, location);
    return location ?? null;
  }

  forget(tabletId: string): void {
    this.#known.delete(tabletId);
  }
}

function within<T>(deadline: Deadline, promise: Promise<T>): Promise<T> {
  return deadline.race(promise, () => new KuduError('timeout', "the table's schema did not come in time", NOT_RUN));
}

const NOT_RUN = { notRun: true } as const;
