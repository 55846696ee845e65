import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { truncate } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TabletPosition } from '../../src/change/position.ts';
import { RecordBatch } from '../../src/change/record-batch.ts';
import type { RedisServer } from '../../src/demo/redis-server.ts';
import { createRedisReader } from '../../src/sinks/redis/redis-reader.ts';
import { createRedisSink, type RedisSinkOptions } from '../../src/sinks/redis/redis-sink.ts';
import type { StoredRecord } from '../../src/sinks/reader.ts';
import { SinkError, type Sink, type TabletWriter } from '../../src/sinks/sink.ts';
import { assertComplete, openWhenBack, positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { CuttingProxy } from '../support/cutting-proxy.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { batches } from '../support/record-batches.ts';
import {
  appendedSize,
  appendOnlyFile,
  readEntries,
  redisMissing,
  serverAt,
  sinkOptions,
  startRedis,
} from '../support/redis.ts';
import { seededRandom, shipLog } from '../support/sink-load.ts';

const never = new AbortController().signal;
const seed = Date.now() % 1_000_000;
const ONCE = { exactlyOnce: true };
const skip = await redisMissing();

const freshStream = (): string => `s-${randomUUID().slice(0, 8)}`;
const keyOf = (stream: string): string => `cdc.${stream}.shop.orders`;

describe(`Redis in trouble, seed ${seed}`, { skip }, () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(async () => {
    await redis[Symbol.asyncDispose]();
  });

  const sinkOf = (stream: string, changes: Partial<RedisSinkOptions> = {}): Sink =>
    createRedisSink(sinkOptions(serverAt(redis.port), stream, { requestTimeoutMs: 1_000, ...changes }));

  it('killed and started again from its append-only file under load: nothing twice, nothing left out', async () => {
    const stream = freshStream();
    await using sink = sinkOf(stream);
    const random = seededRandom(seed);
    const kills = { areOver: false };
    const killing = (async () => {
      for (let kill = 0; kill < 4; kill++) {
        await sleep(150 + random(200));
        await redis.kill();
        await redis.restart();
      }
      kills.areOver = true;
    })();
    let last = 0;
    while (!kills.areOver) await shipLog({ sink, tablet: tabletOf(stream), last: (last += 300), random });
    await killing;
    await shipLog({ sink, tablet: tabletOf(stream), last: (last += 10), random });
    assertComplete(await readEntries(redis, [keyOf(stream)]), last, ONCE);
  });

  it('having lost the last of what it acknowledged: the position is back as well, and it goes on from there', async () => {
    await using own = await startRedis();
    const stream = freshStream();
    await using sink = createRedisSink(sinkOptions(serverAt(own.port), stream, { requestTimeoutMs: 1_000 }));
    const random = seededRandom(seed);
    await shipLog({ sink, tablet: tabletOf(stream), last: 200, random });
    const size = await appendedSize(own);
    await own.kill();
    await truncate(await appendOnlyFile(own), Math.floor(size * 0.7));
    await own.restart();
    const left = await readEntries(own, [keyOf(stream)]);
    assert.ok(left.length > 0 && left.length < 200, `${left.length} of 200 are left`);
    await shipLog({ sink, tablet: tabletOf(stream), last: 260, random });
    assertComplete(await readEntries(own, [keyOf(stream)]), 260, ONCE);
  });

  it('having lost all that it had of a tablet, and not saved, does not let it go on behind that', async () => {
    await using own = await startRedis();
    const stream = freshStream();
    const lines: LogLine[] = [];
    await using sink = createRedisSink(
      sinkOptions(serverAt(own.port), stream, { requestTimeoutMs: 1_000, logger: keepingLogger(lines) }),
    );
    const size = await appendedSize(own);
    const writer = await sink.openTablet(tabletOf(stream), never);
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    await own.kill();
    await truncate(await appendOnlyFile(own), size);
    await own.restart();
    {
      await using back = await openWhenBack(sink, tabletOf(stream));
      assert.equal(
        back.position?.opId.index,
        0n,
        'less than was acknowledged, so that the core begins where it was saved',
      );
      assert.equal(back.saved, null);
    }
    assert.ok(lines.some(({ level, message }) => level === 'warn' && message.startsWith('redis has lost')));
    await using anew = await openWhenBack(sink, tabletOf(stream));
    assert.equal(anew.position, null);
  });

  it('having lost what it had saved, as a replica may that took over too early, does so with an error that says what is missing', async () => {
    await using own = await startRedis();
    const stream = freshStream();
    const lines: LogLine[] = [];
    await using sink = createRedisSink(
      sinkOptions(serverAt(own.port), stream, { requestTimeoutMs: 1_000, logger: keepingLogger(lines) }),
    );
    const writer = await sink.openTablet(tabletOf(stream), never);
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    const size = await appendedSize(own);
    await writer.write(batches([recordAt(2)]), positionAt(2), never);
    await eventually('it is saved', () => writer.saved?.opId.index === 2n);
    await own.kill();
    await truncate(await appendOnlyFile(own), size);
    await own.restart();
    await using back = await openWhenBack(sink, tabletOf(stream));
    assert.equal(back.position?.opId.index, 1n);
    const [error] = lines.filter(({ level }) => level === 'error');
    assert.match(error!.message, /^redis has lost what it had saved/);
  });

  for (const shards of [1, 3])
    it(`answers that are lost leave neither a hole nor a repeat, over ${shards} keys`, async () => {
      await using proxy = await CuttingProxy.start(redis.port);
      const random = seededRandom(seed);
      const stream = freshStream();
      await using sink = createRedisSink(
        sinkOptions(serverAt(proxy.port), stream, { requestTimeoutMs: 1_000, shards }),
      );
      let answers = 0;
      proxy.cuts = (answer) =>
        answer.includes('+OK') || answer.includes('$2\r\nOK') ? ++answers % (5 + random(20)) === 0 : false;
      await shipLog({ sink, tablet: tabletOf(stream), last: 400, random });
      const keys = shards === 1 ? [keyOf(stream)] : [0, 1, 2].map((shard) => `${keyOf(stream)}.${shard}`);
      assertComplete(await readEntries(redis, keys), 400, ONCE);
      assert.ok(proxy.cut > 0, 'answers were lost');
    });

  it('an operation of many rows that is cut in its midst comes whole, each row once', async () => {
    await using proxy = await CuttingProxy.start(redis.port);
    const stream = freshStream();
    await using sink = createRedisSink(sinkOptions(serverAt(proxy.port), stream, { requestTimeoutMs: 1_000 }));
    const rows = 30_000;
    let answers = 0;
    proxy.cuts = (answer) => answer.includes('$2\r\nOK') && ++answers % 6 === 0;
    const tablet = tabletOf(stream);
    let writer: TabletWriter = await openWhenBack(sink, tablet);
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    let tries = 0;
    for (; ; tries++) {
      assert.ok(tries < 100);
      // As the core does: what `upTo` says is there is not sent again.
      const from = writer.position?.upTo ? writer.position.upTo.row + 1 : 0;
      if (writer.position?.opId.index === 2n) break;
      try {
        await writer.write(slices(2, from, rows), positionAt(2), never);
        break;
      } catch (error) {
        assert.ok(error instanceof SinkError && error.kind === 'unavailable', String(error));
        await writer[Symbol.asyncDispose]();
        writer = await openWhenBack(sink, tablet);
      }
    }
    await writer[Symbol.asyncDispose]();
    const seen = await readEntries(redis, [keyOf(stream)]);
    assert.equal(seen.length, rows + 1);
    assert.equal(new Set(seen.map(({ position }) => position)).size, rows + 1);
    assert.ok(tries > 1, 'it was cut');
  });

  it('the first write of a tablet, and rows of a copy, are not repeated either', async () => {
    await using proxy = await CuttingProxy.start(redis.port);
    const stream = freshStream();
    await using sink = createRedisSink(sinkOptions(serverAt(proxy.port), stream, { requestTimeoutMs: 1_000 }));
    let answers = 0;
    proxy.cuts = (answer) => answer.includes('$2\r\nOK') && ++answers % 7 === 0;
    const tablet = tabletOf(stream);
    const copyAt = (rows: number): TabletPosition => ({ ...positionAt(10), copy: { cut: 10n, at: 70n, rows } });
    const steps: [TabletPosition, () => Generator<RecordBatch>][] = [
      [copyAt(0), () => slices(1, 0, 0)],
      [copyAt(3_000), () => copySlices(0, 3_000)],
      [copyAt(6_000), () => copySlices(3_000, 6_000)],
      [positionAt(10), () => slices(1, 0, 0)],
      [positionAt(11), () => slices(11, 0, 3_000)],
    ];
    let writer = await openWhenBack(sink, tablet);
    for (let at = 0; at < steps.length;)
      try {
        await writer.write(steps[at]![1](), steps[at]![0], never);
        at++;
      } catch (error) {
        assert.ok(error instanceof SinkError && error.kind === 'unavailable', String(error));
        await writer[Symbol.asyncDispose]();
        writer = await openWhenBack(sink, tablet);
        const { position } = writer;
        const done = steps.findIndex(([to]) => JSON.stringify(bare(to)) === JSON.stringify(bare(position)));
        at = done + 1;
      }
    await writer[Symbol.asyncDispose]();
    const seen = await readEntries(redis, [keyOf(stream)]);
    assert.equal(seen.length, 9_000);
    assert.equal(new Set(seen.map(({ key, position }) => `${key} ${position}`)).size, 9_000);
    assert.ok(proxy.cut > 0);
  });

  it('is refused before it is full, and goes on by itself when there is room', async () => {
    await using own = await startRedis({ settings: { 'maxmemory-policy': 'noeviction' } });
    const stream = freshStream();
    await using sink = createRedisSink(sinkOptions(serverAt(own.port), stream));
    const used = await own.withClient(async (client) =>
      Number(/used_memory:(\d+)/.exec(await client.info('memory'))![1]),
    );
    await own.withClient((client) => client.config('SET', 'maxmemory', used + 3_000_000));
    let failure: unknown = null;
    let writer = await sink.openTablet(tabletOf(stream), never);
    let last = 0;
    const value = Buffer.alloc(10_000, 'x');
    for (; failure === null && last < 2_000; last++)
      await writer
        .write(batches([recordAt(last + 1, 1, { value })]), positionAt(last + 1), never)
        .catch((error: unknown) => {
          failure = error;
          last--;
        });
    assert.ok(failure instanceof SinkError && failure.kind === 'refused', String(failure));
    assert.match(failure.message, /maxmemory/);
    await writer[Symbol.asyncDispose]();
    await assert.rejects(sink.openTablet(tabletOf(stream), never), { kind: 'refused' });
    await own.withClient((client) => client.config('SET', 'maxmemory', used + 100_000_000));
    writer = await eventually('it opens', () => sink.openTablet(tabletOf(stream), never));
    assert.deepEqual(writer.position, positionAt(last));
    await writer.write(batches([recordAt(last + 1, 1)]), positionAt(last + 1), never);
    await writer[Symbol.asyncDispose]();
    assertComplete(await readEntries(own, [keyOf(stream)]), last + 1, ONCE);
  });

  it('is refused where it does not keep what it is told', async () => {
    const stream = freshStream();
    const CASES: [settings: Record<string, string>, why: RegExp][] = [
      [{ appendonly: 'no' }, /it keeps nothing/],
      [{ appendfsync: 'no' }, /appendfsync is no/],
      [{ 'maxmemory-policy': 'allkeys-lru' }, /noeviction/],
    ];
    for (const [settings, why] of CASES) {
      await using own = await startRedis({ settings });
      await using sink = createRedisSink(sinkOptions(serverAt(own.port), stream));
      await assert.rejects(
        sink.openTablet(tabletOf(stream), never),
        (error: SinkError) => error.kind === 'refused' && why.test(error.message),
      );
      if (settings['appendonly'] === undefined) continue;
      await using taken = createRedisSink(sinkOptions(serverAt(own.port), stream, { durability: 'memory' }));
      await using writer = await taken.openTablet(tabletOf(stream), never);
      await writer.write(batches([recordAt(1)]), positionAt(1), never);
      assert.deepEqual(writer.saved, positionAt(1));
    }
  });

  it('tells a stream that was deleted, and a Redis that was emptied, by the id of the sink', async () => {
    await using own = await startRedis();
    const stream = freshStream();
    await using sink = createRedisSink(sinkOptions(serverAt(own.port), stream));
    const idAfter = async (index: number): Promise<string> => {
      await using writer = await eventually('it opens', () => sink.openTablet(tabletOf(stream), never));
      await writer.write(batches([recordAt(index)]), positionAt(index), never);
      return writer.sinkId!;
    };
    const first = await idAfter(1);
    assert.match(first, new RegExp(`^redis:-/${keyOf(stream)}@[\\w-]{16}$`));
    assert.equal(await idAfter(2), first);
    await own.withClient((client) => client.del(keyOf(stream)));
    const second = await idAfter(3);
    assert.notEqual(second, first);
    {
      await using writer = await sink.openTablet(tabletOf(stream), never);
      await own.withClient((client) => client.del(keyOf(stream)));
      await writer.write(batches([recordAt(4)]), positionAt(4), never);
      assert.notEqual(writer.sinkId, second, 'while it is written to');
      await own.withClient((client) => client.flushall());
      await assert.rejects(writer.write(batches([recordAt(5)]), positionAt(5), never), { kind: 'unavailable' });
    }
    await (await sink.openTablet(tabletOf(stream), never))[Symbol.asyncDispose](); // it was not saved yet: see above
    await using writer = await sink.openTablet(tabletOf(stream), never);
    assert.equal(writer.position, null);
  });

  it('is trimmed as far as is asked, and never past what a consumer group needs', async () => {
    const stream = freshStream();
    await using sink = sinkOf(stream, { maxLen: 500 });
    await redis.withClient((client) => client.xgroup('CREATE', keyOf(stream), 'g', '0', 'MKSTREAM'));
    const random = seededRandom(seed);
    await shipLog({ sink, tablet: tabletOf(stream), last: 3_000, random });
    await sleep(1_500);
    const length = (): Promise<number> => redis.withClient((client) => client.xlen(keyOf(stream)));
    assert.equal(await length(), 3_000, 'the group has read nothing');
    await redis.withClient(async (client) => {
      const read = (await client.xreadgroup('GROUP', 'g', 'c', 'COUNT', 2_000, 'STREAMS', keyOf(stream), '>'))!;
      const ids = (read as [string, [string, string[]][]][])[0]![1].map(([id]) => id);
      await client.xack(keyOf(stream), 'g', ...ids.slice(0, 1_200));
    });
    await shipLog({ sink, tablet: tabletOf(stream), last: 3_010, random });
    await eventually('it is trimmed', async () => (await length()) < 1_950);
    await sleep(1_200);
    const kept = await length();
    assert.ok(kept >= 1_810, `${kept} are kept, 1810 of them are needed`);
  });

  it('is read back as it was written, in either layout', async () => {
    for (const layout of ['extended', 'compact'] as const) {
      const stream = freshStream();
      await using sink = sinkOf(stream, { layout, shards: 2 });
      const records = [
        recordAt(1),
        recordAt(2, 1, { kind: 'tombstone', value: null }),
        ...Array.from({ length: 1_200 }, (_, i) => recordAt(i + 3)),
      ];
      {
        await using writer = await sink.openTablet(tabletOf(stream), never);
        await writer.write(batches(records), positionAt(1_202), never);
      }
      const logger = keepingLogger();
      await using reader = createRedisReader({
        ...sinkOptions(serverAt(redis.port), stream, { layout, shards: 2 }),
        logger,
      });
      const seen: StoredRecord[] = [];
      for await (const some of reader.read(reader.destinationOf('shop.orders'), never)) seen.push(...some);
      const text = ({ key, value }: { key: Buffer | null; value: Buffer | null }): string =>
        `${String(key)} ${String(value)}`;
      const expected = layout === 'compact' ? records.filter(({ value }) => value !== null) : records;
      assert.deepEqual(seen.map(text).sort(), expected.map(text).sort());
      if (layout === 'extended')
        assert.deepEqual(seen.map(({ position }) => position).sort(), records.map(({ position }) => position).sort());
      const last: StoredRecord[] = [];
      for await (const some of reader.read(reader.destinationOf('shop.orders'), never, 5)) last.push(...some);
      for (const lane of new Set(seen.map(({ place }) => place.lane)))
        assert.deepEqual(
          last.filter(({ place }) => place.lane === lane).map(text),
          seen
            .filter(({ place }) => place.lane === lane)
            .slice(layout === 'compact' ? -last.filter(({ place }) => place.lane === lane).length : -5)
            .map(text),
        );
      assert.ok(last.length > 0 && last.length <= 10);
      for await (const some of reader.read('no.such.key', never)) assert.fail(`${some.length} records of nothing`);
    }
  });
});

function bare(position: TabletPosition | null): unknown {
  return (
    position && [String(position.opId.index), position.copy && position.copy !== 'wanted' ? position.copy.rows : null]
  );
}

function* slices(index: number, from: number, to: number): Generator<RecordBatch> {
  const [tablet] = recordAt(1).position.split('/');
  for (let at = from; at < to; at += 700)
    yield RecordBatch.of(
      Array.from({ length: Math.min(700, to - at) }, (_, i) =>
        recordAt(index, at + i, { position: `${tablet}/3.${index}.${at + i}` }),
      ),
    );
}

function* copySlices(from: number, to: number): Generator<RecordBatch> {
  const [tablet] = recordAt(1).position.split('/');
  for (let at = from; at < to; at += 700)
    yield RecordBatch.of(
      Array.from({ length: Math.min(700, to - at) }, (_, i) => recordAt(1, at + i, { position: `${tablet}/base.70` })),
    );
}
