import { runCommand } from '../../src/demo/run-command.ts';
import type { RedisServer } from '../../src/demo/redis-server.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { startKafka, startKudu } from '../support/cluster.ts';
import { startRedis } from '../support/redis.ts';
import { measureShipping, type Drain } from './backlog.ts';
import { createStream, loadgen, startSidecars } from './bench-cluster.ts';
import { cpuSeconds } from './process-usage.ts';

/** A backlog into Redis and into Kafka, and what Redis itself reaches with entries of that size. */
export interface RedisMeasure {
  readonly drains: readonly Drain[];
  readonly entryBytes: number;
  readonly ceiling: { readonly rowsPerSecond: number; readonly redisCpuSecondsPerMillion: number };
  /** Of redis-server, for the stream with one key for the table. */
  readonly redisCpuSecondsPerMillion: number;
}

const KEY = 'bench';
const SHARDED = 4;

/** One cluster for all: the same rows, one stream after the other. */
export async function measureRedis(rows: number, say: (line: string) => void): Promise<RedisMeasure> {
  await using kudu = await startKudu({ flags: ['--log_min_segments_to_retain=64'] });
  await using kafka = await startKafka({ lasting: true });
  await using redis = await startRedis();
  await using dir = await WorkDir.create('spoor-bench');
  const sidecars = await startSidecars(kudu, kafka, dir.path, { SPOOR_REDIS_URL: redis.url });
  try {
    const cpuOf = async (): Promise<number> =>
      (await Promise.all(sidecars.map(({ pid }) => cpuSeconds(pid)))).reduce((a, b) => a + b, 0);
    const drain = async (name: string, what: string, sink: object): Promise<Drain> => {
      say(`# a backlog of ${rows} rows: ${what}`);
      const database = `bench_${name}`;
      await createStream(sidecars[0]!.url, name, `${database}.*`, 'exactly-once', 'now', { sink });
      await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
      await loadgen(kudu, database, rows);
      await Promise.all(sidecars.map((sidecar) => sidecar.restart()));
      return measureShipping(sidecars, name, rows, what, await cpuOf());
    };
    const redisSink = (key: string, shards: number): object => ({ type: 'redis', key, shards, schemaKey: 'schema' });
    const kafkaSink = { type: 'kafka', topic: 'kafka', partitions: 3, replicationFactor: 1 };
    const before = await cpuSeconds(redis.pid);
    const toRedis = await drain('redis', 'Redis', redisSink(KEY, 1));
    const redisCpu = (await cpuSeconds(redis.pid)) - before;
    const entryBytes = await meanEntryBytes(redis);
    await redis.withClient((client) => client.flushall());
    const toShards = await drain('shards', `Redis, ${SHARDED} shards`, redisSink('shards', SHARDED));
    await redis.withClient((client) => client.flushall());
    const toKafka = await drain('kafka', 'Kafka, exactly-once', kafkaSink);
    say('# redis-benchmark with pipelined XADD of that size, while nothing is shipped');
    const ceiling = await redisCeiling(redis, rows, entryBytes);
    const redisCpuSecondsPerMillion = (redisCpu / rows) * 1e6;
    return { drains: [toRedis, toShards, toKafka], entryBytes, ceiling, redisCpuSecondsPerMillion };
  } finally {
    await Promise.all(sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
  }
}

/** Of key, value and position. */
async function meanEntryBytes(redis: RedisServer): Promise<number> {
  return redis.withClient(async (client) => {
    const entries = await client.xrange(KEY, '-', '+', 'COUNT', 1_000);
    let bytes = 0;
    for (const [, [, key = '', , value = '', , position = '']] of entries)
      for (const text of [key, value, position]) bytes += Buffer.byteLength(text);
    return Math.round(bytes / entries.length);
  });
}

async function redisCeiling(redis: RedisServer, rows: number, entryBytes: number): Promise<RedisMeasure['ceiling']> {
  const before = await cpuSeconds(redis.pid);
  const key = '{"key":123456789}';
  const position = '0f1e2d3c4b5a69788796a5b4c3d2e1f0/1.123456.789';
  const value = 'x'.repeat(entryBytes - key.length - position.length);
  const args = ['-p', String(redis.port), '-n', String(rows), '-c', '4', '-P', '250', '--csv'];
  const xadd = ['XADD', 'ceiling', '*', 'key', key, 'value', value, 'SPOOR.POS', position];
  const { exitCode, output } = await runCommand('redis-benchmark', [...args, ...xadd]);
  const rate = /"XADD[^\n]*?","?([\d.]+)/.exec(output)?.[1];
  if (exitCode !== 0 || rate === undefined) throw new Error(`redis-benchmark failed:\n${output}`);
  const cpu = (await cpuSeconds(redis.pid)) - before;
  return { rowsPerSecond: Number(rate), redisCpuSecondsPerMillion: (cpu / rows) * 1e6 };
}
