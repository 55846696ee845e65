import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { loadUsableConfig } from '../../src/config/usable-config.ts';
import { freePort } from '../../src/demo/ports.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { diagnose } from '../../src/doctor/doctor.ts';
import type { CheckName, Finding } from '../../src/doctor/finding.ts';
import { ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { serversMissing, startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { FakeBroker } from '../support/fake-broker.ts';
import { javaTool } from '../support/java-tools.ts';
import { keepingLogger } from '../support/loggers.ts';
import { redisMissing, startRedis } from '../support/redis.ts';
import { mountSmall, unmount } from '../support/small-disk.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

interface Diagnosis {
  readonly code: number | null;
  readonly faults: number;
  readonly findings: readonly Finding[];
}

type Env = Readonly<Record<string, string>>;

const PROGRAM = process.env['TEST_SPOOR_PROGRAM'];
const METADATA = 3;
/** Nobody. */
const OTHER_UID = 65534;
const noRedis = await redisMissing();

describe('spoor doctor', { skip: await serversMissing() }, () => {
  let cluster: SpoorCluster;
  let env: Env;
  let scratch: string;

  before(async () => {
    cluster = await SpoorCluster.start({
      tservers: 2,
      flags: ['--log_min_segments_to_retain=10'],
      env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1' },
      kafka: {
        settings: {
          'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
          'super.users': 'User:ANONYMOUS',
        },
        listeners: {
          SASL: {
            protocol: 'SASL_PLAINTEXT',
            settings: {
              'sasl.enabled.mechanisms': 'PLAIN',
              'plain.sasl.jaas.config':
                'org.apache.kafka.common.security.plain.PlainLoginModule required user_weak="secret-of-weak";',
            },
          },
        },
      },
    });
    const [first] = cluster.kudu.tservers;
    env = { SPOOR_TSERVER: first!.rpc, SPOOR_WAL_DIR: first!.walDir };
    scratch = join(cluster.dir, 'doctor');
    mkdirSync(scratch);
    chmodSync(cluster.dir, 0o755);
    await javaTool('create-table', {
      masters: cluster.masters,
      table: 'shop.orders',
      shape: 'small',
      buckets: 2,
      replicas: 1,
    });
    await cluster.createStream('orders', ['shop.orders'], { sink: { partitions: 3 } });
    await cluster.waitForTablets('orders', ({ state }) => state === 'running');
  });
  after(() => cluster[Symbol.asyncDispose]());

  async function ask(more: Env = {}): Promise<Diagnosis> {
    const { code, out, err } = await cluster.cli(['doctor', '--json'], { ...env, ...more });
    assert.equal(err, '');
    return { code, ...(JSON.parse(out) as Omit<Diagnosis, 'code'>) };
  }

  /** That one thing is found to be wrong, with what to do, and nothing else. */
  function assertFaults(
    { code, findings }: Diagnosis,
    expected: readonly (readonly [CheckName, RegExp, RegExp])[],
  ): void {
    const faults = findings.flatMap((finding) => (finding.state === 'fault' ? [finding] : []));
    const said = JSON.stringify(faults, null, 1);
    assert.deepEqual(
      [...new Set(faults.map(({ check }) => check))],
      [...new Set(expected.map(([check]) => check))],
      said,
    );
    for (const [check, what, remedy] of expected) {
      const found = faults.find((each) => each.check === check && what.test(each.what));
      assert.ok(found, `${check} ${String(what)}: ${said}`);
      assert.match(found.remedy, remedy);
    }
    assert.equal(code, 1);
  }

  it('finds nothing where nothing is wrong, while a sidecar runs and while none does', async () => {
    const { code, faults, findings } = await ask();
    assert.deepEqual([code, faults], [0, 0], JSON.stringify(findings, null, 1));
    const whatOf = (name: string) => findings.find(({ check }) => check === name)?.what ?? '';
    assert.match(whatOf('api'), /^the sidecar at 127\.0\.0\.1:\d+ \(.*\) runs, and is ready$/);
    assert.match(whatOf('sidecars'), /^2 live; process \d+ is the one here$/);
    const text = await cluster.cli(['doctor'], env);
    assert.match(text.out, /^ok {5}configuration [^]*\n\nnothing is wrong\n$/);
    for (const line of text.out.split('\n')) assert.ok(line.length <= 80 || !line.trim().includes(' '), line);

    const [sidecar] = cluster.sidecars;
    await sidecar!.stop();
    const alone = await ask();
    assert.deepEqual([alone.code, alone.faults], [0, 0], JSON.stringify(alone.findings, null, 1));
    assert.match(alone.findings.find(({ check }) => check === 'api')!.what, /is free; no sidecar runs there$/);
    assert.match(alone.findings.find(({ check }) => check === 'sidecars')!.what, /^1 live; none runs here$/);
    await sidecar!.restart();
    await sidecar!.waitUntilReady();
  });

  it('makes nothing: no table, no topic, no folder', async () => {
    const topics = () => cluster.kafka.withAdmin((admin) => admin.listTopics());
    const files = () => readdirSync(env['SPOOR_WAL_DIR']!).sort();
    const tables = async () => (await cluster.kudu.kuduCli(['table', 'list', cluster.masters])).stdout;
    const before = [await topics(), files(), await tables()];
    await ask({ SPOOR_SYSTEM_TABLE_PREFIX: 'other.', SPOOR_HOLD_DIR: join(env['SPOOR_WAL_DIR']!, 'another') });
    assert.deepEqual([await topics(), files(), await tables()], before);
  });

  it('tells every fault of the configuration, and looks at the rest all the same', async () => {
    const diagnosis = await ask({ SPOOR_HTTP_TOKN: 'x', SPOOR_KAFKA_SASL_USERNAME: 'u', SPOOR_NICE: '99' });
    assertFaults(diagnosis, [
      ['configuration', /^SPOOR_HTTP_TOKN: got \*\*\* is no variable of Spoor$/, /^Did you mean SPOOR_HTTP_TOKEN\?$/],
      ['configuration', /^SPOOR_NICE: got "99"$/, /^Allowed: a whole number from 0 to 19$/],
      ['configuration', /^SPOOR_KAFKA_SASL_MECHANISM: not given$/, /goes with SPOOR_KAFKA_SASL_USERNAME/],
      ['configuration', /^SPOOR_KAFKA_SASL_PASSWORD: not given$/, /^Allowed: a password/],
    ]);
    const states = new Map(diagnosis.findings.map(({ check, state }) => [check, state]));
    assert.deepEqual([states.get('kafka'), states.get('masters'), states.get('hold folder')], ['unknown', 'ok', 'ok']);
  });

  describe('of Kudu', () => {
    it('a master that does not answer', async () => {
      assertFaults(await ask({ SPOOR_KUDU_MASTERS: `${cluster.masters},127.0.0.1:1` }), [
        ['masters', /127\.0\.0\.1:1.*ECONNREFUSED/, /SPOOR_KUDU_MASTERS/],
      ]);
    });

    it('masters of another cluster than the tablet server', async () => {
      await using other: KuduCluster = await startKudu({ tservers: 0 });
      const { findings } = await ask({ SPOOR_KUDU_MASTERS: other.masters.join() });
      const found = findings.find(({ check, state }) => check === 'tablet server' && state === 'fault');
      assert.ok(found?.state === 'fault', JSON.stringify(findings, null, 1));
      assert.match(found.what, /do not know the tablet server/);
      assert.match(found.remedy, /--tserver_master_addrs/);
    });

    it('a tablet server that does not answer', async () => {
      assertFaults(await ask({ SPOOR_TSERVER: '127.0.0.1:1' }), [
        ['tablet server', /SPOOR_TSERVER 127\.0\.0\.1:1.*ECONNREFUSED/, /^Start that tablet server/],
      ]);
    });

    it('a right that is missing', async () => {
      assertFaults(await ask({ SPOOR_KUDU_USER: 'stranger' }), [
        ['rights', /GetConsensusState.*unauthorized/i, /--superuser_acl/],
      ]);
    });

    it('a flag that leaves the log no room', async () => {
      const set = (value: number) =>
        cluster.kudu.kuduCli(['tserver', 'set_flag', env['SPOOR_TSERVER']!, 'log_min_segments_to_retain', `${value}`]);
      await set(1);
      try {
        const { code, findings } = await ask();
        const found = findings.find(({ check }) => check === 'flags');
        assert.deepEqual([code, found?.state], [0, 'advice'], 'stock servers have it so');
        assert.match(JSON.stringify(found), /log_min_segments_to_retain is 1:.*set_flag .* 10/);
        assert.equal((await ask({ SPOOR_HOLD_SERVER: 'on' })).code, 0);
      } finally {
        await set(10);
      }
    });

    it("a clock that is minutes off Kudu's", async () => {
      const config = loadUsableConfig(
        { SPOOR_KUDU_MASTERS: cluster.masters, ...env, SPOOR_HTTP_LISTEN: '127.0.0.1:0' },
        cluster.dir,
      );
      const findings = await diagnose({
        config,
        kafka: null,
        redis: null,
        sinks: {
          isUsable: () => true,
          plan: () => ({ places: new Map(), faults: [], warnings: [] }),
          inquire: () => Promise.resolve({ places: [], missing: [], warnings: [] }),
        },
        registryAt: () => ({ schemaTypes: () => Promise.resolve(null) }),
        logger: keepingLogger(),
        signal: new AbortController().signal,
        now: () => Date.now() + 5 * 60_000,
      });
      const clocks = findings.flatMap((finding) =>
        finding.state === 'fault' && finding.check === 'clock' ? finding : [],
      );
      assert.equal(clocks.length, 3, 'the tablet server, and the two sidecars');
      assert.match(clocks[0]!.what, /clock is 5 min ahead of that of the tablet server/);
      assert.match(clocks[0]!.remedy, /NTP/);
    });
  });

  describe('of the folders', () => {
    it('the log of another tablet server', async () => {
      const [, second] = cluster.kudu.tservers;
      assertFaults(await ask({ SPOOR_WAL_DIR: second!.walDir, SPOOR_HOLD_DIR: join(second!.walDir, 'spoor-hold') }), [
        ['wal folder', /is of tablet server [0-9a-f]{32}, and SPOOR_TSERVER/, /--fs_wal_dir/],
      ]);
    });

    it('what is no folder of a tablet server, and its folder wals', async () => {
      assertFaults(await ask({ SPOOR_WAL_DIR: scratch }), [
        ['wal folder', /is not the --fs_wal_dir of a tablet server/, /Set SPOOR_WAL_DIR/],
      ]);
      const { findings } = await ask({ SPOOR_WAL_DIR: join(env['SPOOR_WAL_DIR']!, 'wals') });
      assert.match(JSON.stringify(findings), /it is the folder wals in one, give /);
    });

    it('a folder for held logs on another file system', async () => {
      assertFaults(await ask({ SPOOR_HOLD_DIR: '/dev/shm/spoor-doctor-test' }), [
        ['hold folder', /on another file system/, /Set SPOOR_HOLD_DIR/],
        ['sidecars', /has a sidecar already/, /one sidecar/],
      ]);
    });

    it('a folder for held logs that is of another tablet server, and two sidecars of one', async () => {
      const [, second] = cluster.kudu.tservers;
      const dir = join(second!.walDir, 'spoor-hold');
      await eventually('the other holds something', () => readdirSync(dir).some((name) => /^[0-9a-f]{32}$/.test(name)));
      assertFaults(await ask({ SPOOR_HOLD_DIR: dir }), [
        ['hold folder', /holds the logs of tablet server/, /SPOOR_HOLD_DIR of its own/],
        ['sidecars', /has a sidecar already: process \d+ on host/, /one sidecar/],
      ]);
    });

    it('two sidecars that are called by one address', async () => {
      const [, second] = cluster.sidecars;
      assertFaults(await ask({ SPOOR_HTTP_ADVERTISE: second!.url.replace('http://', '') }), [
        ['sidecars', /other sidecars are called by 127/, /SPOOR_HTTP_ADVERTISE/],
      ]);
    });

    it('a disk that is full', async (t) => {
      const disk = join(scratch, 'disk');
      mkdirSync(disk);
      const why = mountSmall(disk, 1);
      if (why !== null) {
        t.skip(why);
        return;
      }
      try {
        mkdirSync(join(disk, 'wals'));
        copyFileSync(join(env['SPOOR_WAL_DIR']!, 'instance'), join(disk, 'instance'));
        writeFileSync(join(disk, 'filler'), Buffer.alloc(960 << 10));
        assertFaults(await ask({ SPOOR_WAL_DIR: disk }), [
          ['disk', /^\d(\.\d)? % of the disk .* are free, SPOOR_HOLD_MIN_FREE_PERCENT is 10/, /^Make room/],
        ]);
      } finally {
        unmount(disk);
      }
    });

    it('a user who may not read the log, nor write beside it', async (t) => {
      if (process.getuid?.() !== 0 || PROGRAM === undefined) {
        t.skip('another user takes root, and the program as it is built');
        return;
      }
      const { findings } = await asProcess(process.execPath, [PROGRAM, 'doctor', '--json'], { uid: OTHER_UID });
      const user = findings.find(({ check }) => check === 'user');
      const wal = findings.find(({ check }) => check === 'wal folder');
      assert.ok(wal?.state === 'fault' && /EACCES/.test(wal.what), JSON.stringify(findings, null, 1));
      assert.match(wal.remedy + wal.what, /run Spoor as the tablet server's own user/i);
      assert.ok(
        (user?.state === 'fault' && /uid 65534.*belongs to uid 0/.test(user.what)) || user?.state === 'unknown',
      );
    });

    it('too few open files', async (t) => {
      if (PROGRAM === undefined) {
        t.skip('it takes the program as it is built');
        return;
      }
      await cluster.sidecars[0]!.stop(); // else its own limit is what counts
      try {
        const limited = `ulimit -n 240; exec "${process.execPath}" "${PROGRAM}" doctor --json`;
        assertFaults(await asProcess('sh', ['-c', limited], {}), [
          ['open files', /may have 240 files open/, /LimitNOFILE/],
        ]);
      } finally {
        await cluster.sidecars[0]!.restart();
        await cluster.sidecars[0]!.waitUntilReady();
      }
    });

    /** In a process of its own, with what only a process can have. */
    async function asProcess(command: string, args: readonly string[], more: { uid?: number }): Promise<Diagnosis> {
      const child = spawn(command, args, {
        cwd: scratch,
        ...more,
        env: {
          PATH: process.env['PATH'],
          SPOOR_KUDU_MASTERS: cluster.masters,
          SPOOR_KUDU_USER: 'root',
          SPOOR_KAFKA_BROKERS: cluster.kafka.brokers.join(),
          SPOOR_HTTP_LISTEN: cluster.sidecars[0]!.url.replace('http://', ''),
          ...env,
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      const [code] = (await once(child, 'close')) as [number | null];
      return { code, ...(JSON.parse(out) as Omit<Diagnosis, 'code'>) };
    }
  });

  describe('of Kafka', () => {
    it('a broker that does not answer', async () => {
      assertFaults(await ask({ SPOOR_KAFKA_BROKERS: `${cluster.kafka.brokers.join()},127.0.0.1:1` }), [
        ['kafka', /SPOOR_KAFKA_BROKERS: 127\.0\.0\.1:1.*ECONNREFUSED/, /^Start that broker/],
      ]);
    });

    it('an advertised address that cannot be reached from here', async () => {
      const closed = await freePort();
      await using broker = await FakeBroker.start((request) => {
        if (request.apiKey === METADATA) request.answer(metadataWith('127.0.0.1', closed));
        else request.hangUp();
      });
      const { findings } = await ask({ SPOOR_KAFKA_BROKERS: `127.0.0.1:${broker.address.port}` });
      const found = findings.find(({ check, state }) => check === 'kafka' && state === 'fault');
      assert.ok(found?.state === 'fault', JSON.stringify(findings, null, 1));
      assert.match(found.what, new RegExp(`says that a broker is at 127.0.0.1:${closed}, which cannot be reached`));
      assert.match(found.remedy, /advertised\.listeners/);
    });

    it('a broker that is too old', async () => {
      await using broker = await FakeBroker.start((request) => {
        request.hangUp();
      });
      broker.maxVersionOf.set(0, 7); // Produce of Kafka 2.3
      const { findings } = await ask({ SPOOR_KAFKA_BROKERS: `127.0.0.1:${broker.address.port}` });
      const found = findings.find(({ check, state }) => check === 'kafka' && state === 'fault');
      assert.ok(found?.state === 'fault', JSON.stringify(findings, null, 1));
      assert.match(found.what, /is too old: it does not speak Produce version 8$/);
      assert.match(found.remedy, /Kafka 2\.5 or newer/);
    });

    it('a user without the rights', async () => {
      const diagnosis = await ask({
        SPOOR_KAFKA_BROKERS: cluster.kafka.brokersAt('SASL').join(),
        SPOOR_KAFKA_SASL_MECHANISM: 'plain',
        SPOOR_KAFKA_SASL_USERNAME: 'weak',
        SPOOR_KAFKA_SASL_PASSWORD: 'secret-of-weak',
      });
      assertFaults(diagnosis, [
        ['streams', /TOPIC_AUTHORIZATION_FAILED/, /right/],
        ['streams', /TRANSACTIONAL_ID_AUTHORIZATION_FAILED/, /prefix spoor\./],
      ]);
      const wrong = await ask({
        SPOOR_KAFKA_BROKERS: cluster.kafka.brokersAt('SASL').join(),
        SPOOR_KAFKA_SASL_MECHANISM: 'plain',
        SPOOR_KAFKA_SASL_USERNAME: 'weak',
        SPOOR_KAFKA_SASL_PASSWORD: 'a-wrong-secret',
      });
      assert.match(JSON.stringify(wrong.findings), /Kafka refused to authenticate us/);
      assert.doesNotMatch(JSON.stringify([wrong, diagnosis]), /secret/);
    });

    it('topics with too few partitions, too small messages, and what compaction takes', async () => {
      await cluster.kafka.createTopic('narrow', 1, { 'max.message.bytes': '1000', 'cleanup.policy': 'compact' });
      await cluster.createStream('narrow', ['shop.orders'], { sink: { partitions: 3 }, images: 'changed' });
      try {
        assertFaults(await ask(), [
          ['streams', /stream narrow: topic narrow has 1 partitions, 3 are asked for/, /--partitions 3/],
          ['streams', /topic narrow takes no record of more than 1000 bytes/, /max\.message\.bytes=1048588/],
          ['streams', /topic narrow is compacted, and the stream has images "changed"/, /cleanup\.policy=delete/],
        ]);
      } finally {
        await cluster.api('DELETE', '/v1/streams/narrow');
      }
    });
  });

  describe('of the others', () => {
    it('a schema registry that does not answer', async () => {
      const url = `http://127.0.0.1:${await freePort()}`;
      await cluster.createStream('typed', ['shop.orders'], { format: { type: 'avro', registry: url } });
      try {
        assertFaults(await ask(), [['registry', /^schema registry http:\/\/127.*ECONNREFUSED/, /^Start the registry/]]);
      } finally {
        await cluster.api('DELETE', '/v1/streams/typed');
      }
    });

    it('Redis: none there, and one that drops what is old', { skip: noRedis }, async () => {
      assertFaults(await ask({ SPOOR_REDIS_URL: 'redis://127.0.0.1:1' }), [
        ['redis', /127\.0\.0\.1:1/, /^Start Redis/],
      ]);
      await using redis = await startRedis({ settings: { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' } });
      assertFaults(await ask({ SPOOR_REDIS_URL: redis.url }), [
        ['redis', /maxmemory-policy is allkeys-lru/, /^set it to noeviction$/],
      ]);
      await redis.withClient((client) => client.config('SET', 'maxmemory-policy', 'noeviction'));
      const { code, findings } = await ask({ SPOOR_REDIS_URL: redis.url });
      assert.equal(code, 0, JSON.stringify(findings, null, 1));
      assert.match(findings.find(({ check }) => check === 'clock')!.what, /, Redis at 127/);
    });

    it('a port that something else listens at', async () => {
      const other: Server = createServer((_request, response) => response.end('<html>'));
      const port = await freePort();
      await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
      try {
        assertFaults(await ask({ SPOOR_HTTP_LISTEN: `127.0.0.1:${port}` }), [
          ['api', /is taken by something that is no Spoor/, /another SPOOR_HTTP_LISTEN/],
        ]);
      } finally {
        other.close();
      }
      assertFaults(await ask({ SPOOR_HTTP_LISTEN: '192.0.2.1:8100', SPOOR_HTTP_TOKEN: 'a-token-of-the-test' }), [
        ['api', /192\.0\.2\.1:8100 is no address of this machine/, /127|loopback/],
      ]);
    });

    it('a file of variables is read, and must be there', async () => {
      const file = join(scratch, 'spoor.env');
      writeFileSync(file, 'SPOOR_NICE=99\n');
      const { out } = await cluster.cli(['doctor', '--json', '--env-file', file], env);
      assert.match(out, /SPOOR_NICE: got \\"99\\"/);
      rmSync(file);
      const { code, err } = await cluster.cli(['doctor', '--env-file', file], env);
      assert.deepEqual([code, /^--env-file: ENOENT/.test(err)], [2, true]);
    });
  });
});

/** Version 10: one broker, at another address than it was asked at. */
function metadataWith(host: string, port: number): Buffer {
  const w = new ByteWriter().noTags().int32(0);
  w.compactArray([1], (nodeId) => w.int32(nodeId).compactString(host).int32(port).int8(0).noTags());
  w.compactString('cluster').int32(1);
  w.compactArray([], () => w);
  return w.int32(0).noTags().finish();
}
