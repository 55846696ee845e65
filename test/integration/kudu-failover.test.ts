import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import type { KuduCluster, TabletServer } from '../../src/demo/kudu-servers.ts';
import { startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** Needs a real cluster: servers are killed, frozen and told to hand over while the client works. */
describe('Kudu client when servers go away', () => {
  let cluster: KuduCluster;
  let client: KuduClient;
  before(async () => {
    // Quick elections: the claims are about what arrives, not about how long Raft takes.
    cluster = await startKudu({ tservers: 3, flags: ['--raft_heartbeat_interval_ms=200'] });
    client = await KuduClient.connect({ masters: cluster.masters, timeoutMs: 60_000 });
  });
  after(async () => {
    client[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  function makeTable(name: string): Promise<KuduTable> {
    return client.createTable({
      name,
      columns: [
        { name: 'n', type: 'INT32', key: true },
        { name: 'text', type: 'STRING', nullable: true },
      ],
    });
  }

  async function leaderOf(table: KuduTable): Promise<{ tabletId: string; uuid: string; server: TabletServer }> {
    return eventually('the tablet has a leader', async () => {
      const [tablet] = await client.getTableLocations({ tableId: table.description.tableId });
      const leader = tablet?.replicas.find(({ role }) => role === 'leader');
      const server = cluster.tservers.find(({ rpc }) => rpc === leader?.address);
      return tablet && leader && server ? { tabletId: tablet.tabletId, uuid: leader.uuid, server } : null;
    });
  }

  /** Waits until every replica runs again, so that the next test begins whole. */
  async function settle(table: KuduTable): Promise<void> {
    const { tabletId } = await leaderOf(table);
    await eventually('all replicas run', async () => {
      const lists = await Promise.all(cluster.tservers.map(({ rpc }) => client.tabletServer(rpc).listTablets()));
      const states = lists.map((tablets) => tablets.find((tablet) => tablet.tabletId === tabletId)?.state);
      return states.every((state) => state === 'running');
    });
  }

  it('applies every insert once, whatever happens to its leader', async () => {
    const table = await makeTable('failover.once');
    let next = 0;
    let stopping = false;
    const outcomes: boolean[] = [];
    // An insert that ran twice would find its own row and come out false.
    const writers = Array.from({ length: 4 }, async () => {
      while (!stopping) outcomes.push(await table.insert({ n: next++, text: 'x' }));
    });
    const untilMore = (count: number) => {
      const wanted = outcomes.length + count;
      return eventually('writes go on', () => outcomes.length >= wanted, 60_000);
    };
    await untilMore(50);

    const first = await leaderOf(table);
    await client.tabletServer(first.server.rpc).leaderStepDown({ serverUuid: first.uuid, tabletId: first.tabletId });
    await untilMore(50);

    const second = await leaderOf(table);
    await second.server.kill();
    await untilMore(50);
    await second.server.restart();

    const third = await leaderOf(table);
    await third.server.freeze();
    try {
      await untilMore(50);
    } finally {
      third.server.thaw();
    }
    await untilMore(50);

    stopping = true;
    await Promise.all(writers);
    assert.equal(outcomes.filter((inserted) => !inserted).length, 0, 'inserts that found their own row');
    const rows = await table.readAll({ columns: ['n'] });
    assert.deepEqual(
      rows.map((row) => row['n'] as number).sort((a, b) => a - b),
      Array.from({ length: next }, (_, n) => n),
    );
    await settle(table);
  });

  it('goes on with an ordered scan of a snapshot when its server dies, and repeats no row', async () => {
    const table = await makeTable('failover.scan');
    const rows = Array.from({ length: 3000 }, (_, n) => ({
      type: 'insert' as const,
      row: { n, text: 'x'.repeat(100) },
    }));
    await table.write(rows);
    const { server } = await leaderOf(table);
    const seen: number[] = [];
    let killed = false;
    for await (const block of table.scan({ ordered: true, batchBytes: 5000 })) {
      for (const row of block) seen.push(row['n'] as number);
      if (!killed && seen.length > 0) {
        await server.kill();
        killed = true;
      }
    }
    assert.equal(killed && seen.length > 0, true);
    assert.deepEqual(
      seen,
      Array.from({ length: 3000 }, (_, n) => n),
    );
    await server.restart();
    await settle(table);
  });

  it('fails an unordered scan that has begun, instead of repeating or leaving out rows', async () => {
    const table = await makeTable('failover.unordered');
    const rows = Array.from({ length: 3000 }, (_, n) => ({
      type: 'insert' as const,
      row: { n, text: 'x'.repeat(100) },
    }));
    await table.write(rows);
    const { server } = await leaderOf(table);
    const readAndKill = async (): Promise<void> => {
      for await (const block of table.scan({ batchBytes: 5000 }))
        if (block.rowCount > 0 && server.running) await server.kill();
    };
    await assert.rejects(readAndKill(), (error) => error instanceof KuduError && error.retriable);
    assert.equal((await table.readAll()).length, 3000, 'a small read begins anew by itself');
    await server.restart();
    await settle(table);
  });

  it('gives up a call to a frozen server in its own time, and goes on when it thaws', async () => {
    const [server] = cluster.tservers;
    const proxy = client.tabletServer(server!.rpc);
    await proxy.getStatus();
    await server!.freeze();
    try {
      const began = performance.now();
      await assert.rejects(proxy.getStatus({ timeoutMs: 300 }), (error) => KuduError.is(error, 'timeout'));
      assert.equal(performance.now() - began < 5000, true);
    } finally {
      server!.thaw();
    }
    await proxy.getStatus();
  });

  it('reconnects to a server that was restarted', async () => {
    const server = cluster.tservers[1]!;
    const proxy = client.tabletServer(server.rpc);
    const before = await proxy.getStatus();
    await server.restart();
    const after = await eventually('the server answers', () => proxy.getStatus());
    assert.deepEqual([after.uuid, after.instanceSeqno > before.instanceSeqno], [before.uuid, true]);
  });

  it('waits for a master that comes back', async () => {
    await cluster.master.kill();
    const waiting = client.listTables();
    await sleep(300);
    await cluster.master.restart();
    assert.equal((await waiting).length >= 3, true);
    await cluster.master.kill();
    try {
      await assert.rejects(client.listTables({ timeoutMs: 500 }), (error) => KuduError.is(error, 'timeout'));
    } finally {
      await cluster.master.restart();
    }
  });
});
