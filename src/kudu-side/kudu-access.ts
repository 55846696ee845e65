import { isDeepStrictEqual } from 'node:util';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TableListing, TabletLocation } from '../kudu/catalog.ts';
import type { KuduClient } from '../kudu/client.ts';
import { KuduError } from '../kudu/errors.ts';
import { decodeKey, encodeKey } from '../kudu/key-encoder.ts';
import { UnknownTypeError } from '../kudu/schema-codec.ts';
import { SpoorError } from '../errors.ts';
import { MIN_OPID, type OpId } from '../kudu/opid.ts';
import { partitionBounds, type PartitionBounds } from '../kudu/partition-bounds.ts';
import type { ConsensusState } from '../kudu/raft.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { MasterErrorCode, TserverErrorCode } from '../kudu/status.ts';
import { type LocalTablet, OpIdType } from '../kudu/tserver-proxy.ts';
import type { TabletPosition } from '../change/position.ts';
import type { Logger } from '../util/logger.ts';
import { oncePer } from '../util/once-per.ts';
import { pause } from '../util/pause.ts';
import { Slots } from '../util/slots.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import type { TabletFates } from '../keeping/dropped-tablets.ts';
import type { LocalReplica, LocalTserver } from '../keeping/local-replica.ts';
import type { NamedVersion } from '../source/name-history.ts';
import { FolderError, readServerUuid } from '../keeping/server-folders.ts';
import { explain } from './kudu-refusal.ts';

/** How long to wait before a tablet without a leader is asked after again. */
const ELECTION_POLL_MS = 300;
/** A server's service queue holds 50 calls (kudu-facts 1.1). */
const CALLS_AT_A_TIME = 16;

/**
 * The tables of the cluster with their tablets, the soft-deleted ones too: they still take writes. While nothing about the
 * tables changes, each is the same object as before.
 */
export async function fetchCatalog(client: KuduClient, signal: AbortSignal): Promise<readonly CatalogTable[]> {
  const lists = await Promise.all([
    client.listTables({ withTablets: true, signal }),
    client.listTables({ withTablets: true, showSoftDeleted: true, signal }),
  ]);
  return lists.flat().map(catalogTable);
}

const catalogTable = oncePer(({ tableId, name, tablets }: TableListing): CatalogTable => ({
  tableId,
  name,
  tablets: (tablets ?? []).map(({ tabletId, partition }) => ({ tabletId, partitionKeyStart: partition.start })),
}));

/**
 * Uuids of the tablet servers of each tablet of a table, its leader's first; as old as the master's last heartbeats. None
 * where there is no such table any more.
 */
export async function fetchReplicas(
  client: KuduClient,
  tableId: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const locations = await locationsOf(client, tableId, signal);
  return new Map(
    locations.map(({ tabletId, replicas }) => {
      const leaderFirst = replicas.toSorted((a, b) => Number(b.role === 'leader') - Number(a.role === 'leader'));
      return [tabletId, leaderFirst.map(({ uuid }) => uuid)] as const;
    }),
  );
}

/**
 * Where every tablet of some tables stands now: the last operation that its leader knows to be committed, with the name
 * and schema version in force there. Waits for elections; what is dropped meanwhile is left out.
 * @throws {KuduError} or the signal's reason
 */
export async function fetchEnds(
  client: KuduClient,
  tables: readonly CatalogTable[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, TabletPosition>> {
  for (;;) {
    // All in one round: an end that is old when the stream is made may be behind what other streams have let go of.
    const ends = new Map<string, TabletPosition>();
    const locations = (await inTurns(tables, ({ tableId }) => locationsOf(client, tableId, signal), signal)).flat();
    const byLeader = new Map<string, { uuid: string; address: string; tabletIds: string[] }>();
    for (const { tabletId, replicas } of locations) {
      const leader = replicas.find(({ role }) => role === 'leader');
      if (!leader) continue;
      const known = byLeader.get(leader.uuid);
      if (known) known.tabletIds.push(tabletId);
      else byLeader.set(leader.uuid, { uuid: leader.uuid, address: leader.address, tabletIds: [tabletId] });
    }
    const found = await Promise.all([...byLeader.values()].map((leader) => endsAt(client, leader, signal)));
    for (const [tabletId, end] of found.flat()) ends.set(tabletId, end);
    if (ends.size >= locations.length) return ends;
    await pause(ELECTION_POLL_MS, signal);
    signal.throwIfAborted();
  }
}

/** How many rows each table has, by its id, as its leaders have last told the master; tables of which none has are left out. */
export async function fetchRowCounts(client: KuduClient, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const tables = await client.listTables({ signal });
  return new Map(
    tables.flatMap(({ tableId, liveRowCount }): [string, number][] =>
      liveRowCount === null ? [] : [[tableId, Number(liveRowCount)]],
    ),
  );
}

/** The tablets of a table; none where the master knows no such table any more. */
async function locationsOf(
  client: KuduClient,
  tableId: string,
  signal: AbortSignal,
): Promise<readonly TabletLocation[]> {
  try {
    return await client.getTableLocations({ tableId }, { signal });
  } catch (error) {
    if (KuduError.is(error, 'master', MasterErrorCode.TABLE_NOT_FOUND) && !error.retriable) return [];
    throw error;
  }
}

/** Those of the tablets that the server leads, and led all the while. */
async function endsAt(
  client: KuduClient,
  leader: { readonly uuid: string; readonly address: string; readonly tabletIds: readonly string[] },
  signal: AbortSignal,
): Promise<(readonly [string, TabletPosition])[]> {
  const tserver = client.tabletServer(leader.address);
  try {
    const before = await ledTablets(client, leader.address, signal);
    const request = { serverUuid: leader.uuid, type: OpIdType.COMMITTED };
    const opIds = await inTurns(
      leader.tabletIds.filter((tabletId) => before.has(tabletId)),
      async (tabletId) => [tabletId, await tserver.getLastOpId({ ...request, tabletId }, { signal })] as const,
      signal,
    );
    const after = await ledTablets(client, leader.address, signal);
    return opIds.flatMap(([tabletId, opId]) => {
      const tablet = after.get(tabletId);
      // An ALTER in between: the version would be of one side of `opId`, the name of the other.
      if (!tablet || tablet.schemaVersion !== before.get(tabletId)?.schemaVersion) return [];
      return [[tabletId, { opId, tableName: tablet.tableName, schemaVersion: tablet.schemaVersion ?? 0 }] as const];
    });
  } catch (error) {
    if (error instanceof KuduError && error.retriable) return [];
    throw error;
  }
}

async function ledTablets(
  client: KuduClient,
  address: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, LocalTablet>> {
  const tablets = await client.tabletServer(address).listTablets({ withSchema: true, signal });
  return new Map(tablets.filter(({ role }) => role === 'leader').map((tablet) => [tablet.tabletId, tablet]));
}

/** Calls `work` for each item, a few at a time; the answers are in the order of the items. */
async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>, signal: AbortSignal): Promise<R[]> {
  const slots = new Slots(CALLS_AT_A_TIME);
  return Promise.all(
    items.map(async (item) => {
      const giveBack = await slots.acquire(signal);
      try {
        return await work(item);
      } finally {
        giveBack();
      }
    }),
  );
}

/** What the master says of tablets that may be no more. */
export function tabletFates(client: KuduClient): TabletFates {
  return {
    async dropKind({ tableId, tabletId }, signal) {
      const { missing } = await client.getTabletLocations([tabletId], { signal });
      if (!missing.some(({ isGone }) => isGone)) return null;
      return (await isThere(client, tableId, signal)) ? 'range-dropped' : 'table-dropped';
    },
    async partitionsOf(tableId, signal) {
      try {
        const before = await client.getTable({ tableId }, { signal });
        const tablets = await client.getTableLocations({ tableId }, { signal });
        const table = await client.getTable({ tableId }, { signal });
        // A range that came or went between the answers would be taken for one that is hashed as the table is.
        if (!isDeepStrictEqual(before.partitionSchema, table.partitionSchema)) return new Map(); // asked again soon
        return new Map(
          tablets.map(({ tabletId, partition }) => [tabletId, boundsToJson(partitionBounds(table, partition))]),
        );
      } catch (error) {
        if (error instanceof KuduError && !error.retriable) return new Map(); // dropped just now
        if (error instanceof UnknownTypeError) return unknownPartitions(client, tableId, signal);
        throw error;
      }
    },
  };
}

async function isThere(client: KuduClient, tableId: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await client.findTable({ tableId }, { signal })) !== null;
  } catch (error) {
    if (error instanceof UnknownTypeError) return true;
    throw error;
  }
}

/** Of a table that cannot be read; asked once, so that it takes nobody's turn. */
async function unknownPartitions(
  client: KuduClient,
  tableId: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const tablets = await locationsOf(client, tableId, signal);
  return new Map(tablets.map(({ tabletId }) => [tabletId, 'null']));
}

/** Values as in records: INT64 as the integer that it is, BINARY as base64. */
function boundsToJson(bounds: PartitionBounds): string {
  const text = (value: unknown): string => {
    if (typeof value === 'bigint') return value.toString();
    if (Buffer.isBuffer(value)) return JSON.stringify(value.toString('base64'));
    if (Array.isArray(value)) return `[${value.map(text).join(',')}]`;
    if (typeof value !== 'object' || value === null) return JSON.stringify(value);
    return `{${Object.entries(value)
      .map(([name, member]) => `${JSON.stringify(name)}:${text(member)}`)
      .join(',')}}`;
  };
  return text(bounds);
}

/** By encoded primary key: the tablet whose partition it belongs to; null for none, and for what is no key of the table. */
export async function tabletsOfKeys(
  client: KuduClient,
  tableId: string,
  keys: readonly Buffer[],
  signal: AbortSignal,
): Promise<readonly (string | null)[]> {
  const table = await client.openTable({ tableId });
  const columns = table.description.schema.columns.filter(({ isKey }) => isKey);
  return Promise.all(
    keys.map(async (key) => {
      try {
        const row = decodeKey(columns, key);
        return encodeKey(columns, row).equals(key) ? await table.tabletOf(row, { signal }) : null;
      } catch (error) {
        if (error instanceof KuduError && (error.kind === 'protocol' || error.kind === 'usage')) return null;
        throw error;
      }
    }),
  );
}

/** A table's schema; null where there is no such table, or it has a column of a type that this version does not know. */
export async function schemaOfTable(
  client: KuduClient,
  tableId: string,
  signal: AbortSignal,
): Promise<TableSchema | null> {
  try {
    return (await client.findTable({ tableId }, { signal }))?.schema ?? null;
  } catch (error) {
    if (error instanceof UnknownTypeError) return null; // its tablets say it, when they come to such a column
    throw error;
  }
}

/** The schema of a replica that was asked for it. @throws {SpoorError} it has a column of a type that this version does not know */
export function readableSchema({ tabletId, tableName, schema, unreadable }: LocalTablet): TableSchema | null {
  if (unreadable === undefined) return schema;
  throw new SpoorError('SPOOR_WAL_UNSUPPORTED', `table ${tableName}: ${unreadable}`, { tabletId });
}

/** The schema that a replica of a tablet has now. @throws {Error} when that server has no such replica */
export async function lookUpSchema(
  client: KuduClient,
  address: string,
  tabletId: string,
  signal: AbortSignal,
): Promise<{ readonly version: number; readonly schema: TableSchema }> {
  const tablets = await client.tabletServer(address).listTablets({ withSchema: true, signal });
  const tablet = tablets.find((known) => known.tabletId === tabletId);
  const schema = tablet && readableSchema(tablet);
  if (!schema || tablet.schemaVersion === null) throw new Error(`${address} has no running tablet ${tabletId}`);
  return { version: tablet.schemaVersion, schema };
}

/** An ALTER reaches the tablets a moment after the master has it; one without a leader waits for it. */
const NAME_PATIENCE_MS = 10_000;
const NAME_POLL_MS = 250;

/**
 * What a replica calls its table, and the schema version that it has with that name: as soon as the master calls it the
 * same, for a replica may not have taken yet what made the table join. Null where there is no such replica.
 */
export async function lookUpName(
  client: KuduClient,
  address: string,
  { tableId, tabletId }: { readonly tableId: string; readonly tabletId: string },
  signal: AbortSignal,
): Promise<NamedVersion | null> {
  for (const sinceMs = performance.now(); ;) {
    const table = await client.findTable({ tableId }, { signal });
    const tablets = await client.tabletServer(address).listTablets({ signal });
    const tablet = tablets.find((known) => known.tabletId === tabletId);
    if (!tablet || tablet.schemaVersion === null) return null;
    const { tableName, schemaVersion } = tablet;
    if (!table || table.name === tableName || performance.now() - sinceMs > NAME_PATIENCE_MS)
      return { tableName, schemaVersion };
    await pause(NAME_POLL_MS, signal);
    signal.throwIfAborted();
  }
}

/** One answer for all times, so that it is known to be the same. */
const NOT_TOLD: readonly ConsensusState[] = [];

function replicasOf(tablets: readonly LocalTablet[], states: readonly ConsensusState[]): readonly LocalReplica[] {
  const groups = new Map(states.map((state) => [state.tabletId, state]));
  // A replica that was moved away leaves a tombstone: it is listed, and is none.
  const present = tablets.filter(({ dataState }) => dataState !== 'tombstoned' && dataState !== 'deleted');
  return present.map(({ tabletId, role, state, dataState }) => {
    const group = groups.get(tabletId);
    return {
      tabletId,
      isLeader: role === 'leader',
      isRunning: state === 'running' && dataState === 'ready',
      leaderUuid: group?.leaderUuid ?? null,
      voterUuids: (group?.peers ?? []).filter(({ memberType }) => memberType === 'voter').map(({ uuid }) => uuid),
    };
  });
}

/** The tablet server beside us, over RPC. */
export class RpcTserver implements LocalTserver {
  readonly #client: KuduClient;
  readonly #address: string;
  readonly #uuid: string;
  #last: {
    readonly tablets: readonly LocalTablet[];
    readonly states: readonly ConsensusState[];
    readonly replicas: readonly LocalReplica[];
  } | null = null;

  #refused: string | null = null;
  readonly #logger: Logger;

  constructor(client: KuduClient, address: string, uuid: string, logger: Logger) {
    this.#client = client;
    this.#address = address;
    this.#uuid = uuid;
    this.#logger = logger;
  }

  /** The call that this sidecar may not make although it would do more with it, and the right that it takes. */
  get refused(): string | null {
    return this.#refused;
  }

  async listReplicas(signal: AbortSignal): Promise<readonly LocalReplica[]> {
    const tserver = this.#client.tabletServer(this.#address);
    const [tablets, states] = await Promise.all([tserver.listTablets({ signal }), this.#consensusStates(signal)]);
    if (this.#last?.tablets !== tablets || this.#last.states !== states)
      this.#last = { tablets, states, replicas: replicasOf(tablets, states) };
    return this.#last.replicas;
  }

  /** Nobody but the server's own user may ask (kudu-facts 3.1); another one ships what is led here, and stands in for none. */
  async #consensusStates(signal: AbortSignal): Promise<readonly ConsensusState[]> {
    try {
      const tserver = this.#client.tabletServer(this.#address);
      const states = await tserver.getConsensusState({ serverUuid: this.#uuid }, { signal });
      this.#refused = null;
      return states;
    } catch (error) {
      if (!(error instanceof KuduError) || error.retriable) throw error;
      const reason = explain(error);
      if (this.#refused === null)
        this.#logger.warn({ reason }, 'tablets that others lead cannot be seen, shipping what is led here');
      this.#refused = reason;
      return NOT_TOLD;
    }
  }

  async committedOpId(tabletId: string, signal: AbortSignal): Promise<OpId> {
    try {
      const request = { serverUuid: this.#uuid, tabletId, type: OpIdType.COMMITTED };
      return await this.#client.tabletServer(this.#address).getLastOpId(request, { signal });
    } catch (error) {
      if (KuduError.is(error, 'tserver', TserverErrorCode.TABLET_NOT_FOUND)) return MIN_OPID; // dropped just now
      throw error;
    }
  }
}

/**
 * Checks that the folder holds the log of the tablet server beside us, and that we may read it.
 * @throws {Error} saying what is wrong and what it should be
 */
export async function checkWalDir(walDir: string, tserver: string, uuid: string): Promise<void> {
  if (readServerUuid(walDir) !== uuid)
    throw new FolderError(
      `SPOOR_WAL_DIR ${walDir} is of another server than SPOOR_TSERVER ${tserver}, whose uuid is ${uuid}`,
    );
  await readdir(join(walDir, 'wals'));
}
