import { encodedKey } from '../change/copied-rows.ts';
import { readableSchema } from './kudu-access.ts';
import { SpoorError } from '../errors.ts';
import type { KuduClient } from '../kudu/client.ts';
import { KuduError } from '../kudu/errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { TableScan } from '../kudu/scanner.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { TserverErrorCode } from '../kudu/status.ts';
import type { KuduTable } from '../kudu/table.ts';
import type { ReplicaKeeper } from '../keeping/replica-keeper.ts';
import type { CopiedRow, CopiedTablet, CopyBlock, CopyScan, Cut, TableCopier } from '../source/table-copier.ts';
import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { RecentMap } from '../util/recent-map.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { waitFor } from '../util/wait-for.ts';
import { KeyReadCosts } from './key-read-costs.ts';
import { readByKeys, type KeyedRead } from './rows-by-key.ts';
import { SchemaLooks } from './schema-looks.ts';
import { backoffMs, type Backoff } from '../util/backoff.ts';

export interface KuduCopierOptions {
  readonly client: Pick<KuduClient, 'getTabletLocations' | 'openTable' | 'tabletServer'>;
  /** The tablet server beside us, whose replicas are scanned: any replica has the same rows at a time. */
  readonly tserver: { readonly address: string; readonly uuid: string };
  readonly keeperOf: (tabletId: string) => ReplicaKeeper | undefined;
  readonly logger: Logger;
}

/** Tables, and tablets, of which something is remembered: as many as a sidecar ships, and not all that there ever were. */
const MAX_KNOWN = 2000;
const MAX_CUTS = 5;
const CUT_AGAIN_MS = 500;
/** See {@link FoundCut}: by then the log reaches back far enough. */
const CUT_LATER_MS = 11_000;
/** Until a cut shows in the log of the replica beside us, which may be behind its leader. */
const CUT_TIMEOUT_MS = 60_000;
/** How often in a row a scan may break off without a row having come, and the pauses between. */
const MAX_FRUITLESS = 8;
const SCAN_AGAIN: Backoff = { baseMs: 250, capMs: 4_000 };
/** A batch that does not come for so long is given up, and the scan goes on with another scanner. */
const BATCH_TIMEOUT_MS = 30_000;

/** What a replica says of its schema. */
interface SchemaSaid {
  readonly uuid: string;
  readonly tableName: string;
  readonly version: number;
  readonly schema: TableSchema;
}

type OpenedScan = Pick<CopyScan, 'at' | 'since' | 'after'>;

/** Cuts and scans through Kudu's own API. */
export class KuduCopier implements TableCopier {
  readonly #options: KuduCopierOptions;
  readonly #tables = new RecentMap<string, Promise<KuduTable>>(MAX_KNOWN);
  readonly #looks: SchemaLooks;
  /** By tablet. */
  readonly #costs = new RecentMap<string, KeyReadCosts>(MAX_KNOWN);

  constructor(options: KuduCopierOptions) {
    this.#options = options;
    this.#looks = new SchemaLooks((address) => options.client.tabletServer(address));
  }

  /**
   * The schema at the cut is the one that the leader had before and after it: a leader takes writes only by the schema
   * that it has, so no ALTER lies between. Should another server lead by then, or the log show an ALTER before the cut
   * that the leader does not know, it is cut again.
   */
  async makeCut(tablet: CopiedTablet, generation: string, signal: AbortSignal): Promise<Cut> {
    const keeper = this.#options.keeperOf(tablet.tabletId);
    if (!keeper) throw new Error(`the log of tablet ${tablet.tabletId} is not held here`);
    for (let cuts = 1; ; cuts++) {
      using limit = new TimeLimit(signal, CUT_TIMEOUT_MS);
      const before = await this.#leadersSchema(tablet.tabletId, limit.signal);
      const { time, found } = await keeper.makeCut(generation, limit.signal);
      const after = await this.#leadersSchema(tablet.tabletId, limit.signal);
      // A replica takes an ALTER's version first and the name after it.
      const isSame =
        before.uuid === after.uuid && before.version === after.version && before.tableName === after.tableName;
      if (found !== 'log-too-young' && isSame && found.schemaVersion <= after.version) {
        const { tableName, version, schema } = after;
        return { opId: found.opId, time, tableName, schemaVersion: version, schema, replayAfter: found.replayAfter };
      }
      if (cuts === MAX_CUTS) throw new Error(`tablet ${tablet.tabletId}: schema or leader changed with each cut`);
      await pause(found === 'log-too-young' ? CUT_LATER_MS : CUT_AGAIN_MS, signal);
      signal.throwIfAborted();
    }
  }

  async *scan(tablet: CopiedTablet, scan: CopyScan, signal: AbortSignal): AsyncGenerator<CopyBlock, void, void> {
    let { after } = scan;
    for (let fruitless = 0; ;) {
      const { version, columns, places } = await this.#columnsHere(tablet.tabletId, scan, signal);
      try {
        if (version < scan.schemaVersion) throw new Error('the replica is behind the copy');
        const table = await waitFor(this.#table(tablet.tableId), signal);
        let isChecked = false;
        const from = { ...scan, ...(after && { after }) };
        for await (const block of this.#open(table, tablet.tabletId, { columns }, from, signal)) {
          if (!isChecked) await this.#assertVersion(tablet.tabletId, version, signal);
          isChecked = true;
          if (block.rowCount === 0) continue;
          fruitless = 0;
          yield { block, places };
          after = encodedKey(scan.schema, block, places, block.rowCount - 1);
        }
        return;
      } catch (error) {
        await this.#goOnAfter(error, tablet, scan, ++fruitless, signal);
      }
    }
  }

  async *rows(
    tablet: CopiedTablet,
    scan: Pick<CopyScan, 'at' | 'schema' | 'schemaVersion'>,
    keys: readonly Buffer[],
    signal: AbortSignal,
  ): AsyncGenerator<CopiedRow, void, void> {
    for (let done = 0, fruitless = 0; done < keys.length;) {
      const found: CopiedRow[] = [];
      const { version, columns, places } = await this.#columnsHere(tablet.tabletId, scan, signal);
      try {
        if (version < scan.schemaVersion) throw new Error('the replica is behind the copy');
        const table = await waitFor(this.#table(tablet.tableId), signal);
        const costs = this.#costs.of(tablet.tabletId, () => new KeyReadCosts());
        const wanted = keys.slice(done, done + costs.keysAtATime);
        const read = { keys: wanted, schema: scan.schema, columns, places };
        const rows = await readByKeys(
          { ...read, scan: (by) => this.#openAt(table, tablet.tabletId, { columns }, scan.at, by, signal) },
          costs,
        );
        for (const key of wanted) found.push({ key, found: rows.get(key.toString('latin1')) ?? null });
        await this.#assertVersion(tablet.tabletId, version, signal);
      } catch (error) {
        await this.#goOnAfter(error, tablet, scan, ++fruitless, signal);
        continue;
      }
      fruitless = 0;
      done += found.length;
      yield* found;
    }
  }

  async count(tablet: CopiedTablet, at: HybridTime, signal: AbortSignal): Promise<number> {
    const table = await waitFor(this.#table(tablet.tableId), signal);
    let rows = 0;
    for await (const { rowCount } of table.scanTablet(
      tablet.tabletId,
      { columns: [] },
      { read: { mode: 'snapshot', at }, replica: { uuid: this.#options.tserver.uuid }, cacheBlocks: false, signal },
    ))
      rows += rowCount;
    return rows;
  }

  /** Some rows as they were at a time, whatever their order. */
  #openAt(
    table: KuduTable,
    tabletId: string,
    schema: TableSchema,
    at: HybridTime,
    by: Parameters<KeyedRead['scan']>[0],
    signal: AbortSignal,
  ): TableScan {
    const replica = { uuid: this.#options.tserver.uuid };
    const common = {
      read: { mode: 'snapshot' as const, at },
      resumes: false,
      replica,
      timeoutMs: BATCH_TIMEOUT_MS,
      signal,
    };
    return table.scanTablet(tabletId, schema, { ...common, ...by });
  }

  #open(table: KuduTable, tabletId: string, schema: TableSchema, scan: OpenedScan, signal: AbortSignal): TableScan {
    const { at, since, after } = scan;
    return table.scanTablet(tabletId, schema, {
      read: since === undefined ? { mode: 'snapshot', at } : { mode: 'diff', from: since, to: at },
      ordered: true,
      resumes: false,
      replica: { uuid: this.#options.tserver.uuid },
      cacheBlocks: false,
      timeoutMs: BATCH_TIMEOUT_MS,
      signal,
      ...(after && { afterKey: after }),
    });
  }

  /** Waits a little where a scan that broke off may go on. @throws what it cannot go on from */
  async #goOnAfter(
    error: unknown,
    tablet: CopiedTablet,
    scan: Pick<CopyScan, 'at' | 'since'>,
    fruitless: number,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const fault = this.#judge(error, tablet, scan);
    if (fault !== null || fruitless > MAX_FRUITLESS) throw fault ?? error;
    this.#options.logger.debug({ tabletId: tablet.tabletId, err: error }, 'scan of a copy broke off, going on');
    await pause(backoffMs(fruitless, SCAN_AGAIN), signal);
    signal.throwIfAborted();
  }

  /** What a scan cannot go on from; null for what passes by itself. */
  #judge(error: unknown, { tabletId }: CopiedTablet, { at, since }: Pick<CopyScan, 'at' | 'since'>): unknown {
    if (KuduError.is(error, 'tserver', TserverErrorCode.INVALID_SNAPSHOT)) {
      const window = since === undefined ? at.toString() : `${since} to ${at}`;
      const message = `tablet ${tabletId} cannot be read at ${window} any more: ${error.message}`;
      return new SpoorError('SPOOR_SNAPSHOT_TOO_OLD', message, { tabletId }, error);
    }
    if (!(error instanceof KuduError)) return null;
    const passes =
      error.retriable ||
      KuduError.is(error, 'tserver', TserverErrorCode.SCANNER_EXPIRED) ||
      KuduError.is(error, 'tserver', TserverErrorCode.INVALID_SCHEMA) ||
      KuduError.is(error, 'tserver', TserverErrorCode.MISMATCHED_SCHEMA) ||
      KuduError.is(error, 'tserver', TserverErrorCode.INVALID_SCAN_SPEC);
    return passes ? null : error;
  }

  /** Shared by the tablets of a table: it knows where they are. */
  #table(tableId: string): Promise<KuduTable> {
    return this.#tables.of(tableId, () => {
      const table = this.#options.client.openTable({ tableId });
      table.catch(() => {
        this.#tables.delete(tableId);
      });
      return table;
    });
  }

  async #leadersSchema(tabletId: string, signal: AbortSignal): Promise<SchemaSaid> {
    const { client } = this.#options;
    const { tablets } = await client.getTabletLocations([tabletId], { signal });
    const leader = tablets[0]?.replicas.find(({ role }) => role === 'leader');
    const said = leader && (await this.#schemaAt(leader.address, tabletId, signal));
    if (!said?.isLeader) throw new Error(`tablet ${tabletId} has no leader at present`);
    return { ...said, uuid: leader!.uuid };
  }

  /** What the columns of a copy are called here now, and in which version of the schema. */
  async #columnsHere(tabletId: string, { schema }: Pick<CopyScan, 'schema'>, signal: AbortSignal) {
    const { version, schema: now } = await this.#schemaHere(tabletId, signal);
    return { version, ...project(schema, now) };
  }

  /** The server looks columns up by their names: an ALTER since they were named may have made them others'. */
  async #assertVersion(tabletId: string, version: number, signal: AbortSignal): Promise<void> {
    if ((await this.#schemaHere(tabletId, signal)).version !== version)
      throw new Error('the schema changed while the scan was opened');
  }

  async #schemaHere(tabletId: string, signal: AbortSignal): Promise<SchemaSaid> {
    const { address, uuid } = this.#options.tserver;
    const said = await this.#schemaAt(address, tabletId, signal);
    if (!said) throw new Error(`${address} has no running replica of tablet ${tabletId}`);
    return { ...said, uuid };
  }

  async #schemaAt(address: string, tabletId: string, signal: AbortSignal) {
    const tablet = await this.#looks.lookAt(address, tabletId, signal);
    if (!tablet) return null;
    const { tableName, schemaVersion: version, role } = tablet;
    const schema = readableSchema(tablet);
    if (!schema || version === null) return null;
    return { tableName, schema, version, isLeader: role === 'leader' };
  }
}

/** The columns of `wanted` as they are called now, by their ids; those that are no more are left out. */
function project(wanted: TableSchema, now: TableSchema): { columns: TableSchema['columns']; places: Int32Array } {
  const byId = new Map(now.columns.map((column) => [column.id, column]));
  const columns: TableSchema['columns'][number][] = [];
  const places = Int32Array.from(wanted.columns, ({ id }) => {
    const column = byId.get(id);
    return column ? columns.push(column) - 1 : -1;
  });
  return { columns, places };
}
