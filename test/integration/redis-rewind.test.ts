import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { RewoundStream } from '../../src/api/shapes.ts';
import type { RedisServer } from '../../src/demo/redis-server.ts';
import { parseOpId } from '../../src/kudu/opid.ts';
import { shardKeys } from '../../src/sinks/redis/keys.ts';
import { APPEND } from '../../src/sinks/redis/scripts.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { TableFold } from '../support/fold.ts';
import { HoldingProxy } from '../support/holding-proxy.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { readEntries, redisMissing, startRedis } from '../support/redis.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

const skip = (await serversMissing()) || (await redisMissing());
const [STREAM, TABLE, SHARDS] = ['back-redis', 'back.redis', 4];
const KEYS = shardKeys(`cdc.${TABLE}`, SHARDS);
/** Words of a call of the script APPEND that has entries: EVALSHA, its digest, 2, stream, hash, field, and six more. */
const WORDS_OF_APPEND = 12;

interface EventRecord {
  readonly event?: string;
  readonly tablet_id: string;
  readonly index: number;
}

describe('a rewind into Redis', { skip, timeout: 240_000 }, () => {
  let redis: RedisServer;
  let proxy: HoldingProxy;
  let cluster: SpoorCluster;
  before(async () => {
    redis = await startRedis();
    proxy = await HoldingProxy.start(redis.port);
    const env = { SPOOR_SYSTEM_TABLE_REPLICAS: '1', SPOOR_REDIS_URL: `redis://127.0.0.1:${proxy.port}` };
    cluster = await SpoorCluster.start({ tservers: 1, env });
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await redis[Symbol.asyncDispose]();
  });

  const lengths = (): Promise<number[]> =>
    redis.withClient((client) => Promise.all(KEYS.map((key) => client.xlen(key))));

  it('comes once more and in order over several keys, with a sidecar killed between two of them', async (t) => {
    const { masters } = cluster;
    await javaTool('create-table', { masters, table: TABLE, shape: 'small', buckets: 2, replicas: 1 });
    const sink = { type: 'redis', key: 'cdc.{table}', shards: SHARDS, schemaKey: `${STREAM}.schema` };
    const asked = { name: STREAM, tables: [TABLE], start: 'now', sink };
    const { status, body } = await cluster.api('POST', '/v1/streams', asked);
    assert.equal(status, 201, JSON.stringify(body));
    await writeMixed({ masters, table: TABLE, ops: 1_000, keys: 300 });
    const [tablet] = await cluster.waitForTablets(STREAM, isCaughtUp);
    const { tabletId, applyOpId } = tablet!;
    const { term, index } = parseOpId(applyOpId!);
    const from = index + 1n;
    await writeMixed({ masters, table: TABLE, ops: 2_000, keys: 300, seed: 8 });
    await cluster.waitForTablets(STREAM, isCaughtUp);
    const shipped = await lengths();

    const holdAppendTo = (shard: number): void => {
      proxy.holds = (words) =>
        words.length === WORDS_OF_APPEND &&
        words[1]!.equals(Buffer.from(APPEND.extended.sha)) &&
        words[3]!.equals(Buffer.from(KEYS[shard]!)) &&
        words[5]!.toString().endsWith(tabletId);
    };
    const killWhenHeld = async (times: number): Promise<void> => {
      await eventually('a shard of a write is held back', () => proxy.held === times);
      await cluster.sidecars[0]!.kill();
      proxy.holds = () => false;
    };
    holdAppendTo(2);
    const rewind = { to: `${term}.${from}`, tablets: [tabletId] };
    const { body: taken } = await cluster.api<RewoundStream>('POST', `/v1/streams/${STREAM}/rewind`, rewind);
    await killWhenHeld(1);
    const grown = (await lengths()).map((length, shard) => length > shipped[shard]!);
    assert.deepEqual(grown, [true, true, false, false], 'it was between two keys');
    // And once more, while the keys are apart and more comes behind them.
    using load = Load.start(cluster, TABLE, { ops: 3_000, rate: 1_000, keys: 300, seed: 9 });
    holdAppendTo(3);
    await cluster.sidecars[0]!.restart();
    await killWhenHeld(2);
    await cluster.sidecars[0]!.restart();
    await cluster.sidecars[0]!.waitUntilReady();
    await load.finished();
    await cluster.waitForTablets(STREAM, (each) => isCaughtUp(each) && each.copy === undefined, 120_000);
    const [rewound] = (await cluster.tablets(STREAM)).filter((each) => each.tabletId === tabletId);
    assert.equal(rewound!.rewound, taken.rewind);

    const schemas = await readEntries(redis, [`${STREAM}.schema`]);
    const events = schemas.map(({ value }) => JSON.parse(value!) as EventRecord).filter(({ event }) => event);
    assert.deepEqual(
      events.map((each) => [each.event, each.tablet_id]),
      [['rewound', tabletId]],
    );
    const upTo = BigInt(events[0]!.index);
    const folded = new TableFold({ lenient: true, hasWholeImages: true });
    for (const { value } of schemas) folded.addSchema(Buffer.from(value!));
    const times = new Map<string, number>();
    for (const [lane, key] of KEYS.entries()) {
      const turns = new Map<string, number>();
      const last = new Map<string, bigint>();
      for (const { key: name, value, position } of await readEntries(redis, [key])) {
        folded.push({ key: Buffer.from(name), value: value === null ? null : Buffer.from(value), position }, lane);
        if (value === null) continue; // a tombstone beside its delete
        times.set(position, (times.get(position) ?? 0) + 1);
        const { of, order } = placeOf(position);
        if (order <= (last.get(of) ?? -1n)) turns.set(of, (turns.get(of) ?? 0) + 1);
        last.set(of, order);
      }
      assert.deepEqual([...turns], [[tabletId, 1]], 'its order starts again once, and no other does');
    }
    let again = 0;
    for (const [position, count] of times) {
      const { of, order } = placeOf(position);
      const isAgain = of === tabletId && order >> 32n >= from && order >> 32n < upTo;
      if (isAgain) again++;
      assert.equal(count, isAgain ? 2 : 1, position);
    }
    assert.ok(again > 500, `${again} came again`);
    folded.sweep();
    assert.deepEqual(folded.compare(await cluster.dump(TABLE)).differences, []);
    const { code, out, err } = await cluster.cli(['verify', STREAM], { SPOOR_REDIS_URL: redis.url });
    assert.equal(code, 0, out + err);
    assert.match(out, /\nmissing +0\nextra +0\ndifferent +0\n/);
    t.diagnostic(`${again} of ${times.size} operations came again`);
  });
});

/** Whose a position is, and where in its order: the index of the operation above 32 bits of the row. */
function placeOf(position: string): { readonly of: string; readonly order: bigint } {
  const [, of, index, row] = /^(\w+)\/\d+\.(\d+)\.(\d+)$/.exec(position)!;
  return { of: of!, order: (BigInt(index!) << 32n) | BigInt(row!) };
}
