import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { serversMissing, startKafka, startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool } from '../support/java-tools.ts';

describe('servers of the demo and the tests', { skip: await serversMissing() }, () => {
  it('die with their parent, and their data with them, when the parent is killed', async () => {
    const script = fileURLToPath(new URL('../support/start-and-hang.ts', import.meta.url));
    const parent = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
    const { pids, walDir } = JSON.parse(line) as { pids: number[]; walDir: string };
    assert.ok(pids.every(runs) && existsSync(walDir));
    parent.kill('SIGKILL');
    await eventually('the servers are gone', () => !pids.some(runs));
    await eventually('their folder is removed', () => !existsSync(walDir));
  });

  it('keep address and data over kill and restart, and stand still while frozen', async () => {
    await using kudu = await startKudu({ tservers: 1 });
    const [server] = kudu.tservers;
    const table = { masters: kudu.masters, table: 'kept' };
    await javaTool('create-table', { ...table, shape: 'small', buckets: 1, replicas: 1 });
    await javaTool('write-mixed', { ...table, ops: 500, keys: 50 });
    const before = await javaTool('dump', table);
    const { pid } = server!;
    await server!.kill();
    assert.throws(() => server!.pid, /is not running/);
    await server!.restart();
    assert.notEqual(server!.pid, pid);
    assert.deepEqual(await javaTool('dump', table), before);

    await server!.freeze();
    const status = await kudu.kuduCli(['tserver', 'status', server!.rpc, '--timeout_ms=500']);
    assert.notEqual(status.exitCode, 0, 'answered while frozen');
    server!.thaw();
    assert.equal((await kudu.kuduCli(['tserver', 'status', server!.rpc])).exitCode, 0);
  });

  it('take a tablet server more', async () => {
    await using kudu = await startKudu({ tservers: 1 });
    await kudu.addTabletServer();
    await kudu.waitForTabletServers(2);
    assert.notEqual(kudu.tservers[0]!.rpc, kudu.tservers[1]!.rpc);
  });

  it('keep topics over kill and restart of the broker', async () => {
    await using kafka = await startKafka();
    await kafka.createTopic('kept', 2, { 'max.message.bytes': '2000000' });
    await kafka.kill();
    await kafka.restart();
    const topics = await kafka.withAdmin((admin) => admin.fetchTopicMetadata({ topics: ['kept'] }));
    assert.equal(topics.topics[0]!.partitions.length, 2);
  });

  it('say what ended a server that does not start', async () => {
    await assert.rejects(startKudu({ tservers: 1, flags: ['--no_such_flag'] }), /tablet server 0 ended.*no_such_flag/s);
  });
});

function runs(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}
