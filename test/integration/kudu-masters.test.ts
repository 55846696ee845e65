import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fetchKudu } from '../../src/demo/artifacts.ts';
import { accepts, freePort } from '../../src/demo/ports.ts';
import { ServerProcess } from '../../src/demo/server-process.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import { artifactOptions } from '../support/cluster.ts';

/** Needs three real masters: which of them leads is theirs to decide, and may change. */
describe('Kudu client with several masters', () => {
  let dir: WorkDir;
  const masters = new Map<string, ServerProcess>();
  before(async () => {
    dir = await WorkDir.create('spoor-test-masters');
    const ports = [await freePort(), await freePort(), await freePort()];
    const addresses = ports.map((port) => `127.0.0.1:${port}`);
    const starts = ports.map(async (port, i) => {
      masters.set(addresses[i]!, await startMaster(join(dir.path, String(i)), port, addresses));
    });
    await Promise.all(starts);
  });
  after(async () => {
    await Promise.all([...masters.values()].map((master) => master.kill()));
    await dir[Symbol.asyncDispose]();
  });

  const addresses = (): string[] => [...masters.keys()];

  /** The one that answers when it alone is asked. */
  async function leader(): Promise<string> {
    const asked = addresses().map(async (address) => {
      using client = await KuduClient.connect({ masters: [address], timeoutMs: 3000 });
      await client.listTables();
      return address;
    });
    return Promise.any(asked);
  }

  it('finds the leader among them, wherever it stands in the list', async () => {
    for (const order of [addresses(), addresses().reverse()]) {
      using client = await KuduClient.connect({ masters: order, timeoutMs: 30_000 });
      assert.deepEqual(await client.listTables(), []);
    }
  });

  it('gets no answer from followers alone', async () => {
    const leading = await leader();
    const followers = addresses().filter((address) => address !== leading);
    await assert.rejects(
      KuduClient.connect({ masters: followers, timeoutMs: 1000 }),
      (error) => KuduError.is(error, 'timeout') && error.notRun,
    );
  });

  it('goes over to the next leader when the first is killed, and when the next one freezes', async () => {
    using client = await KuduClient.connect({ masters: addresses(), timeoutMs: 60_000 });
    const first = await leader();
    await masters.get(first)!.kill();
    assert.deepEqual(await client.listTables(), []);
    await masters.get(first)!.restart();
    const second = await leader();
    const frozen = masters.get(second)!;
    await frozen.freeze();
    try {
      assert.deepEqual(await client.listTables(), []);
    } finally {
      frozen.thaw();
    }
  });
});

async function startMaster(dir: string, port: number, addresses: readonly string[]): Promise<ServerProcess> {
  const { binDir, env } = await fetchKudu(await artifactOptions());
  await mkdir(dir, { recursive: true });
  return ServerProcess.start({
    name: `master ${port}`,
    command: join(binDir, 'kudu-master'),
    args: [
      `--fs_wal_dir=${join(dir, 'wal')}`,
      `--fs_data_dirs=${join(dir, 'data')}`,
      '--logtostderr',
      `--rpc_bind_addresses=127.0.0.1:${port}`,
      `--master_addresses=${addresses.join()}`,
      '--host_for_tests=127.0.0.1',
      '--webserver_enabled=false',
      '--unlock_unsafe_flags',
      '--unlock_experimental_flags',
      '--time_source=system_unsync',
      '--never_fsync',
      '--ipki_ca_key_size=1024',
      '--ipki_server_key_size=1024',
      '--tsk_num_rsa_bits=1024',
      '--openssl_security_level_override=0',
    ],
    env,
    logFile: join(dir, 'output.log'),
    isReady: (signal) => accepts(port, signal),
    readyTimeoutMs: 60_000,
  });
}
