import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { RedisServer, type RedisServerOptions } from '../../src/demo/redis-server.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import type { RedisSinkOptions } from '../../src/sinks/redis/redis-sink.ts';
import { redisSink } from '../../src/sinks/redis/definition.ts';
import type { RedisServers } from '../../src/sinks/redis/settings.ts';
import type { SeenRecord } from '../contract/sink.ts';
import { toolsMissing } from './cluster.ts';
import { eventually } from './eventually.ts';
import { keepingLogger } from './loggers.ts';

/** A Redis in a temporary folder. */
export async function startRedis(options: Partial<Omit<RedisServerOptions, 'dir'>> = {}): Promise<RedisServer> {
  const dir = await WorkDir.create('spoor-test-redis');
  return RedisServer.start({ dir: dir.path, ...options });
}

/** What it has appended since it was made, as long as it is not rewritten. */
export async function appendOnlyFile(server: RedisServer): Promise<string> {
  const folder = join(dirname(server.logFile), 'appendonlydir');
  const numberOf = (name: string): number => Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1] ?? -1);
  // One that was a replica has another one since, and may not have let go of the first yet.
  const [name] = (await readdir(folder)).sort((x, y) => numberOf(y) - numberOf(x));
  if (name === undefined || numberOf(name) < 0) throw new Error(`no append-only file in ${folder}`);
  return join(folder, name);
}

/**
 * Resolves when all that was answered until now is in the append-only file: while an earlier sync is on its way Redis answers first,
 * and appends up to two seconds later. Source: redis/src/aof.c flushAppendOnlyFile.
 */
export async function isAppended(server: RedisServer): Promise<void> {
  await eventually('nothing that was answered is held back from the file', async () => {
    const facts = await server.withClient((client) => client.info('persistence'));
    return /^aof_pending_bio_fsync:0\r$/m.test(facts);
  });
}

/** Of the append-only file, in bytes, with all that was answered until now. */
export async function appendedSize(server: RedisServer): Promise<number> {
  await isAppended(server);
  return (await stat(await appendOnlyFile(server))).size;
}

/** For a test's `skip`: why there is no Redis here, or false. In CI it rejects instead. */
export function redisMissing(): Promise<string | false> {
  return toolsMissing({ redis: true });
}

export function serverAt(port: number, changes: Partial<RedisServers> = {}): RedisServers {
  return { kind: 'single', hosts: [{ host: '127.0.0.1', port }], masterName: '', db: 0, isTls: false, ...changes };
}

/** What a sink is made with, the stream's definition as it is without options. */
export function sinkOptions(
  servers: RedisServers,
  streamName: string,
  changes: Partial<RedisSinkOptions> = {},
): RedisSinkOptions {
  return {
    ...redisSink.parse({ type: 'redis', key: 'cdc.{stream}.{table}' }),
    streamName,
    installation: 'test',
    servers,
    access: { credentials: () => ({}) },
    logger: keepingLogger(),
    requestTimeoutMs: 3_000,
    ...changes,
  };
}

/** All entries of stream keys, as Debezium Server's `extended` layout has them. */
export async function readEntries(
  server: RedisServer,
  keys: readonly string[],
  timestampOf: (position: string) => number = () => 0,
): Promise<SeenRecord[]> {
  return server.withClient(async (client) => {
    const seen: SeenRecord[] = [];
    for (const key of keys)
      for (let from = '-'; ;) {
        const entries = await client.xrange(key, from, '+', 'COUNT', 1000);
        for (const [, fields] of entries) {
          const [, name, , value, , position] = fields as [string, string, string, string, string, string];
          if (name === 'default') continue; // a mark
          seen.push({
            key: name,
            value: value === 'default' ? null : value,
            position,
            timestampMs: timestampOf(position),
          });
        }
        const last = entries.at(-1);
        if (!last) break;
        from = `(${last[0]}`;
      }
    return seen;
  });
}
