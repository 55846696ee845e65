import { after, before } from 'node:test';
import type { RedisServer } from '../../src/demo/redis-server.ts';
import { createRedisSink } from '../../src/sinks/redis/redis-sink.ts';
import { shardKeys } from '../../src/sinks/redis/keys.ts';
import { describeSink, recordAt } from '../contract/sink.ts';
import { form } from '../support/forms.ts';
import { readEntries, serverAt, sinkOptions, startRedis } from '../support/redis.ts';

let redis: RedisServer;
before(async () => {
  redis = await startRedis();
});
after(async () => {
  await redis[Symbol.asyncDispose]();
});

/** The layout has no place for a record's own time; of the suite's records their operation tells it. */
function timestampOf(position: string): number {
  return recordAt(Number(position.split('.')[1])).timestampMs;
}

for (const shards of form([1], [1, 3]))
  describeSink(
    `Redis with ${shards === 1 ? 'one key' : `${shards} keys`} for a table`,
    () => ({
      open: (streamName) => createRedisSink(sinkOptions(serverAt(redis.port), streamName, { shards })),
      read: (streamName) => readEntries(redis, shardKeys(`cdc.${streamName}.shop.orders`, shards), timestampOf),
      duringOutage: async (work) => {
        await redis.kill();
        try {
          await work();
        } finally {
          await redis.restart();
        }
      },
    }),
    { exactlyOnce: true },
  );
