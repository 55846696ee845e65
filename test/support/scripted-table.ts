import type { TabletLocation } from '../../src/kudu/catalog.ts';
import type { SignedTokenPB } from '../../src/kudu/proto/rpc_pb.ts';
import { SecurityContext } from '../../src/kudu/security/security-context.ts';
import { Messenger } from '../../src/kudu/rpc/messenger.ts';
import { RequestTracker } from '../../src/kudu/rpc/request-tracker.ts';
import { DataType } from '../../src/kudu/schema.ts';
import { ClusterClock } from '../../src/kudu/cluster-clock.ts';
import { ObservedTime, type TableContext } from '../../src/kudu/table-context.ts';
import { KuduTable } from '../../src/kudu/table.ts';
import { TabletServerProxy } from '../../src/kudu/tserver-proxy.ts';
import { column } from './kudu-columns.ts';
import type { ScriptedKuduServer } from './scripted-kudu-server.ts';

/**
 * A table of one key column `n` (INT32), split at 0 and 100 into tablets `low` and `high`, on scripted servers: the
 * first leads in the master's eyes until {@link ScriptedTable.leader} says otherwise. The master never fails.
 */
export class ScriptedTable implements Disposable {
  readonly table: KuduTable;
  /** Index of the server that the master takes for the leader. */
  leader = 0;
  /** Tablets that were dropped. */
  readonly dropped = new Set<string>();
  /** What the master gives to those who ask for a token. */
  token: SignedTokenPB | null = null;
  readonly #servers: readonly ScriptedKuduServer[];
  readonly #messenger = new Messenger(new SecurityContext({ user: 'tester' }));

  constructor(servers: readonly ScriptedKuduServer[], timeoutMs = 5000) {
    this.#servers = servers;
    const context: TableContext = {
      tracker: new RequestTracker(),
      observed: new ObservedTime(),
      clock: new ClusterClock(),
      timeoutMs,
      tabletServer: (address) => new TabletServerProxy(this.#messenger, address, timeoutMs),
    };
    const source = {
      getTableLocations: () => Promise.resolve(this.#tablets()),
      getTabletLocations: (ids: readonly string[]) =>
        Promise.resolve({ tablets: this.#tablets().filter(({ tabletId }) => ids.includes(tabletId)) }),
      getAuthorizationToken: () => Promise.resolve(this.token),
    };
    this.table = new KuduTable(context, source, {
      tableId: 'table',
      name: 'scripted',
      schema: { columns: [column('n', DataType.INT32, { id: 0, isKey: true })] },
      partitionSchema: { hash: [], rangeColumnIds: [0], customHashRanges: [] },
      numReplicas: servers.length,
      owner: '',
      comment: '',
      extraConfigs: {},
    });
  }

  [Symbol.dispose](): void {
    this.#messenger[Symbol.dispose]();
  }

  #tablets(): TabletLocation[] {
    const [zero, hundred] = [Buffer.from('80000000', 'hex'), Buffer.from('80000064', 'hex')];
    const replicas = this.#servers.map(({ address }, i) => ({
      uuid: `server-${i}`,
      address,
      role: i === this.leader ? ('leader' as const) : ('follower' as const),
    }));
    return [
      { tabletId: 'low', partition: { hashBuckets: [], start: zero, end: hundred }, replicas },
      { tabletId: 'high', partition: { hashBuckets: [], start: hundred, end: Buffer.alloc(0) }, replicas },
    ].filter(({ tabletId }) => !this.dropped.has(tabletId));
  }
}
