import type { RedisClient } from '../sinks/redis/redis-type.ts';
import { withConnection } from '../sinks/redis/redis-sink.ts';
import { SinkError } from '../sinks/sink.ts';
import type { Logger } from '../util/logger.ts';
import { asError } from '../util/as-error.ts';
import type { ClockReading } from './clocks.ts';
import type { Probe } from './examine.ts';
import { fault, faultBy, ok, unknown } from './finding.ts';

/** What any stream wants; what one wants besides is looked at with the streams. */
const ANY_STREAM = { durability: 'memory', wait: { replicas: 0, timeoutMs: 1000 } } as const;
const MEND = 'Set on the server what the message says; it is asked again each second.';
const START =
  'Start Redis, or mend SPOOR_REDIS_URL, _USERNAME and _PASSWORD; look at firewalls between here and there.';

/** Redis, and who is asked what time it is. */
export interface RedisToAsk extends RedisClient {
  readonly logger: Logger;
}

export function redisProbe(redis: RedisToAsk | null): Probe {
  return {
    check: 'redis',
    look: async (signal) => {
      if (redis === null)
        return [unknown('redis', 'SPOOR_REDIS_URL is not given: this sidecar ships no stream to Redis')];
      const names = redis.servers.hosts.map(({ host, port }) => `${host}:${port}`).join(', ');
      try {
        await withConnection({ ...redis, ...ANY_STREAM }, signal, () => Promise.resolve());
        return [ok('redis', `${names} answers`)];
      } catch (error) {
        signal.throwIfAborted();
        const { message } = asError(error);
        const isRefused = error instanceof SinkError && error.kind === 'refused';
        return [
          isRefused ? faultBy('redis', message, MEND) : fault('redis', `SPOOR_REDIS_URL ${names}: ${message}`, START),
        ];
      }
    },
  };
}

/** What time it is by each server. @throws {SinkError} */
export async function readRedisClocks(
  redis: RedisToAsk,
  now: () => number,
  signal: AbortSignal,
): Promise<readonly ClockReading[]> {
  const readings: ClockReading[] = [];
  await withConnection({ ...redis, ...ANY_STREAM }, signal, async (connection) => {
    for (const node of await connection.allNodes(signal)) {
      const askedAtMs = now();
      const [seconds, micros] = await node.ask((client) => client.time());
      const theirMs = Number(seconds) * 1000 + Number(micros) / 1000;
      readings.push({ of: `Redis at ${node.address}`, theirMs, askedAtMs, answeredAtMs: now() });
    }
  });
  return readings;
}
