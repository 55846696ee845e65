import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fetchEnds, fetchReplicas } from '../../../src/kudu-side/kudu-access.ts';
import type { KuduClient } from '../../../src/kudu/client.ts';
import { KuduError } from '../../../src/kudu/errors.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode, TserverErrorCode } from '../../../src/kudu/status.ts';

const { signal } = new AbortController();
const noSuchTable = new KuduError('master', 'no such table', {
  code: MasterErrorCode.TABLE_NOT_FOUND,
  status: AppStatus.NOT_FOUND,
});
const tableOf = (tabletId: string) => ({
  tableId: `table of ${tabletId}`,
  name: `shop.${tabletId}`,
  tablets: [{ tabletId, partitionKeyStart: Buffer.alloc(0) }],
});

/** One server that leads one tablet of each table. What is dropped the server knows no more; the master a moment later. */
class FakeCluster {
  readonly dropped = new Set<string>();
  readonly forgotten = new Set<string>();
  refusal: Error | null = null;

  get client(): KuduClient {
    const server = {
      listTablets: () =>
        Promise.resolve(
          ['t1', 't2']
            .filter((tabletId) => !this.dropped.has(tabletId))
            .map((tabletId) => ({ tabletId, role: 'leader', tableName: `shop.${tabletId}`, schemaVersion: 3 })),
        ),
      getLastOpId: ({ tabletId }: { tabletId: string }) => {
        if (this.refusal) return Promise.reject(this.refusal);
        if (this.dropped.has(tabletId))
          return Promise.reject(new KuduError('tserver', 'gone', { code: TserverErrorCode.TABLET_NOT_FOUND }));
        return Promise.resolve({ term: 7n, index: 1042n });
      },
    };
    const client = {
      tabletServer: () => server,
      getTableLocations: ({ tableId }: { tableId: string }) => {
        const tabletId = tableId.replace('table of ', '');
        if (this.forgotten.has(tabletId)) return Promise.reject(noSuchTable);
        if (this.dropped.has(tabletId)) this.forgotten.add(tabletId);
        return Promise.resolve([{ tabletId, replicas: [{ uuid: 'u', address: 'a:7050', role: 'leader' }] }]);
      },
    };
    return client as unknown as KuduClient;
  }
}

describe('fetchEnds', () => {
  const TABLES = [tableOf('t1'), tableOf('t2')];
  const endOf = (tabletId: string) => {
    return [tabletId, { opId: { term: 7n, index: 1042n }, tableName: `shop.${tabletId}`, schemaVersion: 3 }] as const;
  };

  it('asks the leader of every tablet', async () => {
    assert.deepEqual(await fetchEnds(new FakeCluster().client, TABLES, signal), new Map([endOf('t1'), endOf('t2')]));
  });

  it('leaves out a table that was dropped since the catalog was read', async () => {
    const cluster = new FakeCluster();
    cluster.forgotten.add('t1');
    assert.deepEqual(await fetchEnds(cluster.client, TABLES, signal), new Map([endOf('t2')]));
    assert.deepEqual(await fetchReplicas(cluster.client, 'table of t1', signal), new Map());
  });

  it('leaves out a table that is dropped while its server is asked', async () => {
    const cluster = new FakeCluster();
    cluster.dropped.add('t1');
    assert.deepEqual(await fetchEnds(cluster.client, TABLES, signal), new Map([endOf('t2')]));
  });

  it('leaves out nothing that the master cannot tell of yet', async () => {
    const notYet = new KuduError('master', 'being made', {
      code: MasterErrorCode.TABLE_NOT_FOUND,
      status: AppStatus.SERVICE_UNAVAILABLE,
    });
    const client = { getTableLocations: () => Promise.reject(notYet) } as unknown as KuduClient;
    await assert.rejects(fetchEnds(client, TABLES, signal), notYet);
  });

  it('passes on what Kudu will not answer to this user', async () => {
    const cluster = new FakeCluster();
    cluster.refusal = new KuduError('rpc', 'unauthorized access to method', { code: RpcErrorCode.ERROR_APPLICATION });
    await assert.rejects(fetchEnds(cluster.client, TABLES, signal), cluster.refusal);
  });
});
