import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

const FLAGS = ['--raft_heartbeat_interval_ms=200'];

/** With a right missing, the sidecar says which call, which right and which flag; and what can go on goes on. */
describe('a right that is missing', { skip: await serversMissing(), timeout: 300_000 }, () => {
  let cluster: SpoorCluster;
  let table: KuduTable;
  let client: KuduClient;
  let written = 0;
  before(async () => {
    cluster = await SpoorCluster.start({
      tservers: 1,
      flags: FLAGS,
      env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1', SPOOR_HOLD_SERVER: 'on' },
    });
    client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 });
    table = await client.createTable({
      name: 'rights',
      numReplicas: 1,
      columns: [{ name: 'id', type: 'INT32', key: true }],
    });
    await cluster.createStream('rights', ['rights']);
    await cluster.waitForTablets('rights', isCaughtUp);
  });
  after(async () => {
    client[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  async function restartTserver(flags: readonly string[]): Promise<void> {
    await cluster.kudu.tservers[0]!.restart(flags);
  }

  /** What `/readyz` says of Kudu, once that is about the call. */
  const trouble = (call: string): Promise<string> =>
    eventually(
      `readyz names ${call}`,
      async () => {
        const answer = await fetch(`${cluster.sidecars[0]!.url}/readyz`);
        const { kudu } = (await answer.json()) as { kudu: { reason?: string } };
        return kudu.reason?.includes(call) === true ? kudu.reason : null;
      },
      60_000,
    );

  async function shipsOn(): Promise<void> {
    for (let i = 0; i < 20; i++) await table.insert({ id: written++ }, { timeoutMs: 30_000 });
    const fold = await cluster.fold('rights', written);
    assert.equal(fold.records, written);
  }

  const logText = (): Promise<string> => readFile(cluster.sidecars[0]!.logFile, 'utf8');

  it('(flags): the held log alone does, and the log says what to set', async () => {
    await restartTserver(['--superuser_acl=nobody']);
    await eventually(
      'the log names it',
      async () => /GetFlags takes the right: superuser\..*--superuser_acl/.test(await logText()),
      60_000,
    );
    await shipsOn();
    await cluster.sidecars[0]!.waitUntilReady();
  });

  it('(the list of tablets, with access control): what ships goes on', async () => {
    await restartTserver(['--superuser_acl=nobody', '--tserver_enforce_access_control=true']);
    assert.match(await trouble('ListTablets'), /ListTablets takes the right: superuser\..*--superuser_acl/);
    assert.match(await logText(), /ListTablets takes the right: superuser\./);
    await shipsOn();
  });

  it('(consensus): what ships goes on', async () => {
    await restartTserver(['--superuser_acl=root,nobody']);
    await cluster.sidecars[0]!.waitUntilReady();
    await cluster.replaceSidecars({ SPOOR_KUDU_USER: 'a-stranger' }, { ready: false });
    const reason = await trouble('GetConsensusState');
    assert.match(reason, /GetConsensusState takes the right: service user or superuser\./);
    assert.match(reason, /SPOOR_KUDU_USER.*--superuser_acl/);
    assert.match(await logText(), /GetConsensusState takes the right/);
  });

  it('(any call): the sidecar waits, and says so', async () => {
    await cluster.kudu.master.restart(['--user_acl=somebody']);
    await cluster.replaceSidecars({ SPOOR_KUDU_USER: 'a-stranger' }, { ready: false });
    assert.match(await trouble('ConnectToMaster'), /ConnectToMaster takes the right: user\..*--user_acl/);
  });
});
