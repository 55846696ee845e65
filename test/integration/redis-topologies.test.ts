import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../src/demo/ports.ts';
import type { RedisServer } from '../../src/demo/redis-server.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { createRedisReader } from '../../src/sinks/redis/redis-reader.ts';
import { createRedisSink } from '../../src/sinks/redis/redis-sink.ts';
import { slotOf } from '../../src/sinks/redis/key-slot.ts';
import { assertComplete, positionAt, recordAt, tabletOf, type SeenRecord } from '../contract/sink.ts';
import { eventually } from '../support/eventually.ts';
import { batches } from '../support/record-batches.ts';
import { RedisPair } from '../support/redis-pair.ts';
import { readEntries, redisMissing, serverAt, sinkOptions, startRedis } from '../support/redis.ts';
import { seededRandom, shipLog } from '../support/sink-load.ts';
import { TestAuthority } from '../support/test-authority.ts';

const never = new AbortController().signal;
const ONCE = { exactlyOnce: true };
const skip = await redisMissing();
const seed = Date.now() % 1_000_000;
const freshStream = (): string => `s-${randomUUID().slice(0, 8)}`;

/** Through the reader of `spoor verify`, which finds each key where it is. */
async function readAll(options: Parameters<typeof createRedisReader>[0]): Promise<SeenRecord[]> {
  await using reader = createRedisReader(options);
  const seen: SeenRecord[] = [];
  for await (const some of reader.read(reader.destinationOf('shop.orders'), never))
    for (const { key, value, position } of some)
      seen.push({ key: String(key), value: value && String(value), position: position!, timestampMs: 0 });
  return seen;
}

describe('Redis with Sentinel', { skip }, () => {
  it('fails over to the other server under load: nothing twice, nothing left out, and the old master is out', async () => {
    await using pair = await RedisPair.start();
    const stream = freshStream();
    await using sink = createRedisSink(
      sinkOptions(pair.servers, stream, { requestTimeoutMs: 1_000, wait: { replicas: 0, timeoutMs: 500 } }),
    );
    const random = seededRandom(seed);
    const tablet = tabletOf(stream);
    await shipLog({ sink, tablet, last: 300, random });
    const newer = shipLog({ sink, tablet, last: 2_000, random });
    const master = await pair.master();
    await master.freeze(); // as if it were cut off: it will wake up and take itself for the master
    await newer;
    master.thaw();
    const replica = await pair.master();
    assert.notEqual(replica, master);
    const rows = await readEntries(replica, [`cdc.${stream}.shop.orders`]);
    assertComplete(rows, 2_000, ONCE);
    assert.match(await replica.withClient((client) => client.info('replication')), /role:master/);
  });

  it('saves what a replica has, where that is asked for', async () => {
    await using master = await startRedis({ settings: { appendonly: 'no' } });
    const stream = freshStream();
    await using sink = createRedisSink(
      sinkOptions(serverAt(master.port), stream, { wait: { replicas: 1, timeoutMs: 300 } }),
    );
    await assert.rejects(sink.openTablet(tabletOf(stream), never), { kind: 'unavailable' });
    await using replica = await startRedis({ settings: { replicaof: `127.0.0.1 ${master.port}` } });
    await using writer = await eventually('it opens', () => sink.openTablet(tabletOf(stream), never));
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    await eventually('it is saved', () => writer.saved?.opId.index === 1n);
    await replica.freeze();
    await writer.write(batches([recordAt(2)]), positionAt(2), never);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.deepEqual(writer.saved, positionAt(1), 'nobody has it but the master');
    replica.thaw();
    await eventually('it is saved', () => writer.saved?.opId.index === 2n);
  });

  it('saves what a replica has and is on disk while more is written all the time', async () => {
    await using master = await startRedis(); // appendfsync everysec
    await using replica = await startRedis({ settings: { replicaof: `127.0.0.1 ${master.port}` } });
    const stream = freshStream();
    await using sink = createRedisSink(
      sinkOptions(serverAt(master.port), stream, { wait: { replicas: 1, timeoutMs: 300 } }),
    );
    await using writer = await eventually('it opens', () => sink.openTablet(tabletOf(stream), never));
    let index = 0;
    await eventually('something is saved', async () => {
      index++;
      await writer.write(batches([recordAt(index)]), positionAt(index), never);
      return writer.saved !== null;
    });
    assert.ok(writer.saved!.opId.index < BigInt(index), 'what was written last is not on disk yet');
    await eventually('all is saved', () => writer.saved?.opId.index === BigInt(index));
    await replica.kill();
    await writer.write(batches([recordAt(index + 1)]), positionAt(index + 1), never);
    await sleep(3_500);
    assert.deepEqual(writer.saved, positionAt(index), 'what is on disk alone');
  });
});

describe('Redis as a Cluster', { skip }, () => {
  it('of three masters: shards on different nodes, a node killed under load, a slot that moves', async () => {
    const node = async (): Promise<RedisServer> =>
      startRedis({
        settings: {
          'cluster-enabled': 'yes',
          'cluster-config-file': 'nodes.conf',
          'cluster-port': await freePort(),
          'cluster-node-timeout': 1_000,
          'cluster-require-full-coverage': 'no',
        },
      });
    await using one = await node();
    await using two = await node();
    await using three = await node();
    const nodes = [one, two, three];
    for (const [at, server] of nodes.entries())
      await server.withClient(async (client) => {
        const from = Math.floor((at * 16384) / 3);
        const to = Math.floor(((at + 1) * 16384) / 3) - 1;
        await client.call('CLUSTER', 'ADDSLOTSRANGE', from, to);
        const [, bus] = /@(\d+)/.exec(String(await one.withClient((first) => first.call('CLUSTER', 'NODES'))))!;
        if (server !== one) await client.call('CLUSTER', 'MEET', '127.0.0.1', one.port, bus!);
      });
    await eventually('the cluster is whole', async () => {
      const infos = await Promise.all(
        nodes.map((server) => server.withClient((client) => client.call('CLUSTER', 'INFO'))),
      );
      return infos.every(
        (info) => String(info).includes('cluster_state:ok') && String(info).includes('cluster_known_nodes:3'),
      );
    });
    const stream = freshStream();
    const servers = serverAt(two.port, { kind: 'cluster' });
    const options = sinkOptions(servers, stream, { requestTimeoutMs: 1_000, shards: 5 });
    await using sink = createRedisSink(options);
    await sink.check(never);
    const random = seededRandom(seed);
    const tablet = tabletOf(stream);
    await shipLog({ sink, tablet, last: 500, random });
    const shipping = shipLog({ sink, tablet, last: 2_000, random });
    await three.kill();
    await three.restart();
    await shipping;

    const key = `cdc.${stream}.shop.orders.0`;
    const slot = slotOf(key);
    const from = nodes[Math.floor((slot * 3) / 16384)]!;
    const to = nodes.find((server) => server !== from)!;
    const idOf = async (server: RedisServer): Promise<string> =>
      String(await server.withClient((client) => client.call('CLUSTER', 'MYID')));
    const [fromId, toId] = [await idOf(from), await idOf(to)];
    await to.withClient((client) => client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId));
    await from.withClient((client) => client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId));
    const moving = shipLog({ sink, tablet, last: 2_500, random });
    const keys = (await from.withClient((client) => client.call('CLUSTER', 'GETKEYSINSLOT', slot, 100))) as string[];
    await from.withClient((client) => client.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys));
    for (const server of [to, from, ...nodes])
      await server.withClient((client) => client.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId));
    await moving;
    assertComplete(await readAll(options), 2_500, ONCE);
    assert.ok((await to.withClient((client) => client.xlen(key))) > 0);
  });
});

describe('a Redis that is guarded', { skip }, () => {
  it('is written to and read by TLS, as a user with the rights of docs/sinks-redis.md and no others', async () => {
    const dir = await WorkDir.create('spoor-test-redis-tls');
    const authority = await TestAuthority.create(dir.path, 'ca');
    const files = await authority.issue('127.0.0.1');
    const ca = await readFile(authority.cert, 'utf8');
    await using redis = await startRedis({ tls: { ...files, ca: authority.cert }, client: { ca } });
    const page = await readFile(new URL('../../docs/sinks-redis.md', import.meta.url), 'utf8');
    const [, rule] = /ACL SETUSER (spoor [^`]+)/.exec(page)!;
    const more = '+select +xlen +xrange +xtrim +xpending +time +xinfo|groups +xinfo|stream';
    await redis.withClient((client) =>
      client.call(
        'ACL',
        'SETUSER',
        ...rule!.replace('<password>', 's3cret').replace('~cdc.*', '~cdc.*').trim().split(/\s+/),
        ...more.split(' '),
      ),
    );
    const stream = freshStream();
    const servers = serverAt(redis.port, { isTls: true });
    const login = { username: 'spoor', password: 's3cret', ca };
    const options = sinkOptions(servers, stream, { access: { credentials: () => login }, maxLen: 50_000 });
    await using sink = createRedisSink(options);
    await sink.check(never);
    await shipLog({ sink, tablet: tabletOf(stream), last: 200, random: seededRandom(seed) });
    assertComplete(await readAll(options), 200, ONCE);

    const WRONG: [login: object, kind: string, why: RegExp][] = [
      [{ ...login, password: 'no' }, 'refused', /SPOOR_REDIS_PASSWORD/],
      [{ ca, username: 'spoor' }, 'refused', /SPOOR_REDIS_PASSWORD|wants a password/],
      [{ ...login, ca: undefined }, 'unavailable', /certificate/],
    ];
    for (const [wrong, kind, why] of WRONG) {
      const credentials = (): object =>
        Object.fromEntries(Object.entries(wrong).filter(([, value]) => value !== undefined));
      await using refused = createRedisSink({ ...options, access: { credentials } });
      await assert.rejects(refused.openTablet(tabletOf(stream), never), (error: { kind: string; message: string }) => {
        assert.equal(error.kind, kind, error.message);
        assert.match(error.message, why);
        return true;
      });
    }
    await redis.withClient((client) => client.call('ACL', 'SETUSER', 'spoor', '-xadd'));
    await using writer = await sink.openTablet(tabletOf(stream), never);
    await assert.rejects(
      writer.write(batches([recordAt(201)]), positionAt(201), never),
      (error: { kind: string; message: string }) => {
        assert.equal(error.kind, 'refused', error.message);
        assert.match(error.message, /rights in docs\/sinks-redis\.md/);
        return true;
      },
    );
  });
});
