import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SinkRecord } from '../../src/change/record.ts';
import { createKafkaSink, type KafkaSinkOptions } from '../../src/sinks/kafka/kafka-sink.ts';
import { partitionForKey } from '../../src/sinks/kafka/murmur2.ts';
import {
  ADD_PARTITIONS_TO_TXN,
  DESCRIBE_PRODUCERS,
  END_TXN,
  INIT_PRODUCER_ID,
  PRODUCE,
} from '../../src/sinks/kafka/wire/transaction-apis.ts';
import { SinkError, type Sink, type TabletWriter } from '../../src/sinks/sink.ts';
import { asError } from '../../src/util/as-error.ts';
import { positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { ModelKafka, type Fate } from '../support/model-kafka.ts';
import { seededRandom } from '../support/sink-load.ts';
import { batches } from '../support/record-batches.ts';
import { RecordBatch } from '../../src/change/record-batch.ts';

/*
 * The whole Kafka sink, on a model of Kafka that loses what real brokers lose: markers of partitions without a leader, answers,
 * connections, in any order. docs/sinks.md: exactly once all the same.
 */

const SEEDS = Number(process.env['SIM_SEEDS'] ?? 15);
const chosen = process.env['SIM_SEED'];
const never = new AbortController().signal;
const STREAM = 's';
const TOPIC = 's.shop.orders';
const POSITIONS = 'spoor.positions';
const TABLETS = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(32));
const KEYS = 6;
/** Partitions that are added are to be known after twice as long. */
const LOOK_AGAIN_MS = 60;
/** Operations that come when all is quiet. */
const MORE = 3;

function sinkOn(kafka: ModelKafka, sidecar: string, changes: Partial<KafkaSinkOptions> = {}): Sink {
  return createKafkaSink({
    streamName: STREAM,
    streamGeneration: 'first',
    installation: 'i',
    sidecar,
    brokers: kafka.brokers,
    topic: '{stream}.{table}',
    tables: () => ['shop.orders'],
    delivery: 'exactly-once',
    partitions: 4,
    replicationFactor: 1,
    createTopics: true,
    logger: keepingLogger(),
    ...changes,
  });
}

function recordOf(tabletId: string, index: number, row = 0) {
  const id = (index + row) % KEYS;
  const key = Buffer.from(`{"id":"${tabletId[0]}${id}"}`);
  return recordAt(index, id, { key, position: `${tabletId}/3.${index}.${row}` });
}

/** Some operations have more rows than one transaction takes. */
function rowsOf(index: number): number {
  return index % 7 === 3 ? 11 : 1;
}

/** Of these operations, three records a slice. */
function slicesOf(tabletId: string, from: number, upTo: number): RecordBatch[] {
  const records: SinkRecord[] = [];
  for (let index = from; index <= upTo; index++)
    for (let row = 0; row < rowsOf(index); row++) records.push(recordOf(tabletId, index, row));
  return Array.from({ length: Math.ceil(records.length / 3) }, (_, i) =>
    RecordBatch.of(records.slice(3 * i, 3 * i + 3)),
  );
}

/** Ships operations of a tablet until there are `last`, or it is told to stop. @returns whether all are there */
async function ship(
  sink: Sink,
  tabletId: string,
  last: number,
  random: (n: number) => number,
  stop: (() => boolean) & { readonly isQuiet: () => boolean },
): Promise<boolean> {
  const tablet = tabletOf(STREAM, { tabletId });
  let writer: TabletWriter | null = null;
  let next = 1;
  while (!stop()) {
    // Some are given up: while they wait for their transaction, in its midst, or behind it.
    const patience = AbortSignal.timeout(!stop.isQuiet() && random(4) === 0 ? random(60) : 20_000);
    try {
      if (!writer) {
        writer = await sink.openTablet(tablet, AbortSignal.timeout(20_000));
        next = Number(writer.position?.opId.index ?? 0n) + 1;
      }
      if (next > last) break;
      const upTo = Math.min(last, next + random(4));
      await writer.write(slicesOf(tabletId, next, upTo), positionAt(upTo), patience);
      next = upTo + 1;
    } catch (error) {
      assert.ok(error instanceof SinkError || error === patience.reason, String(error));
      await writer?.[Symbol.asyncDispose]();
      writer = null;
      await sleep(random(20));
    }
  }
  await writer?.[Symbol.asyncDispose]();
  return next > last;
}

/** Every row of each tablet once, and in the order of each key. */
function assertExactlyOnce(kafka: ModelKafka, last: number): void {
  const seen = new Map<string, number[]>();
  const placeOf = (index: number, row: number): number => index * 100 + row;
  for (let partition = 0; partition < kafka.partitionsOf(TOPIC); partition++) {
    const newest = new Map<string, number>();
    for (const { key, position } of kafka.committed(TOPIC, partition)) {
      const [tablet, opId] = position!.split('/') as [string, string];
      const [, index, row] = opId.split('.').map(Number) as [number, number, number];
      const place = placeOf(index, row);
      seen.set(tablet, [...(seen.get(tablet) ?? []), place]);
      const before = newest.get(key!.toString()) ?? 0;
      assert.ok(place > before, `${key!.toString()}: ${place} behind ${before}`);
      newest.set(key!.toString(), place);
    }
  }
  const all = Array.from({ length: last }, (_, i) => i + 1).flatMap((index) =>
    Array.from({ length: rowsOf(index) }, (_, row) => placeOf(index, row)),
  );
  for (const tablet of TABLETS)
    assert.deepEqual(
      (seen.get(tablet) ?? []).sort((a, b) => a - b),
      all,
      `tablet ${tablet[0]}`,
    );
}

/** All sidecars know how many partitions there are. */
function assertWhereTheyBelong(kafka: ModelKafka, after: number): void {
  const count = kafka.partitionsOf(TOPIC);
  for (let partition = 0; partition < count; partition++)
    for (const { key, position } of kafka.committed(TOPIC, partition))
      if (Number(position!.split('.')[1]) > after)
        assert.equal(partitionForKey(key!, count), partition, `${position} of ${count} partitions`);
}

async function play(seed: number): Promise<void> {
  const random = seededRandom(seed);
  let isQuiet = false;
  const losses = [0, 20, 60][random(3)]!;
  const fate = (): Fate =>
    !isQuiet && losses > 0 && random(losses) === 0 ? (['lose-answer', 'hang-up'] as const)[random(2)]! : 'serve';
  const markersAfterMs = (): number => (random(3) === 0 ? random(15) : 0);
  await using kafka = await ModelKafka.start({ fate, markersAfterMs, verifies: random(2) === 0 });
  kafka.createTopic(TOPIC, 4);
  kafka.createTopic(POSITIONS, 16);
  const last = 40;
  const changes = { requestTimeoutMs: 500, maxTransactionBytes: 500, lookAgainMs: LOOK_AGAIN_MS };
  const sinks = ['x', 'y', 'z'].map((name) => sinkOn(kafka, name, changes));
  const leaders = TABLETS.map(() => random(sinks.length));
  const shipping = TABLETS.map(async (tabletId, tablet) => {
    for (let by = leaders[tablet]!; ; by = leaders[tablet]!) {
      const stop = Object.assign(() => !isQuiet && leaders[tablet] !== by, { isQuiet: () => isQuiet });
      if (await ship(sinks[by]!, tabletId, last, random, stop)) return;
    }
  });
  const troubling = (async () => {
    for (let round = 0; round < 25; round++) {
      await sleep(random(40));
      if (random(3) === 0) leaders[random(TABLETS.length)] = random(sinks.length);
      if (random(20) === 0) kafka.addPartitions(TOPIC, 1 + random(2));
      if (random(2) === 0) continue;
      const topic = random(4) === 0 ? POSITIONS : TOPIC;
      const partition = random(kafka.partitionsOf(topic));
      const leader = partition % 2;
      kafka.setLeader(topic, partition, -1);
      await sleep(random(60));
      kafka.setLeader(topic, partition, random(4) === 0 ? 1 - leader : leader);
    }
    for (let partition = 0; partition < kafka.partitionsOf(TOPIC); partition++)
      kafka.setLeader(TOPIC, partition, partition % 2);
    isQuiet = true;
  })();
  try {
    await troubling;
    await Promise.all(shipping);
    await eventually('nothing is open', () => Promise.resolve(kafka.open().length === 0), 20_000);
    assertExactlyOnce(kafka, last);
    if (random(2) === 0) kafka.addPartitions(TOPIC, 1);
    await sleep(2 * LOOK_AGAIN_MS);
    const quiet = Object.assign(() => false, { isQuiet: () => true });
    await Promise.all(TABLETS.map((id) => ship(sinks[random(3)]!, id, last + MORE, random, quiet)));
    assertExactlyOnce(kafka, last + MORE);
    assertWhereTheyBelong(kafka, last);
  } catch (error) {
    const path = join(await mkdtemp(join(tmpdir(), 'spoor-lanes-')), 'journal');
    await writeFile(path, kafka.journal.join('\n'));
    throw new Error(`SIM_SEED=${seed}, ${path}: ${asError(error).message}`, { cause: error });
  } finally {
    for (const sink of sinks) await sink[Symbol.asyncDispose]();
  }
}

describe('an operation that is larger than a transaction', () => {
  it('goes in several, and on in its midst by whoever takes the tablet over, whatever batches it makes', async () => {
    await using kafka = await ModelKafka.start({});
    kafka.createTopic(TOPIC, 4);
    const [tabletId] = TABLETS as [string];
    const tablet = tabletOf(STREAM, { tabletId });
    const records = (from: number, upTo: number) => slicesOf(tabletId, from, upTo);
    const first = sinkOn(kafka, 'first', { maxTransactionBytes: 300 });
    {
      await using writer = await first.openTablet(tablet, never);
      await writer.write(records(1, 1), positionAt(1), never);
      const slices = {
        *[Symbol.iterator](): Generator<RecordBatch> {
          for (const [i, slice] of records(2, 10).entries()) {
            if (i === 4) throw new Error('the log is gone');
            yield slice;
          }
        },
      };
      await assert.rejects(writer.write(slices, positionAt(10), never));
    }
    await first[Symbol.asyncDispose]();
    const placesSeen = (): string[] =>
      [0, 1, 2, 3].flatMap((p) => kafka.committed(TOPIC, p).map(({ position }) => position!.split('/')[1]!));
    assert.ok(placesSeen().includes('3.3.0') && !placesSeen().includes('3.3.10'), placesSeen().join(' '));
    await using second = sinkOn(kafka, 'second', { maxTransactionBytes: 300 });
    await using writer = await second.openTablet(tablet, never);
    assert.deepEqual(writer.position, positionAt(1), 'operations are told of as a whole');
    await writer.write(records(2, 2), positionAt(2), never); // less than had been written
    await writer.write(records(3, 10), positionAt(10), never);
    const expected = records(1, 10).flatMap((batch) => Array.from(batch, ({ position }) => position.split('/')[1]!));
    assert.deepEqual(placesSeen().sort(), expected.sort());
    assert.ok(kafka.ends.filter(({ commit }) => commit).length > 6, 'several transactions');
  });
});

describe('a transaction after a pause', () => {
  it('need not ask what the last one has left open: that was seen meanwhile', async () => {
    const asked: number[] = [];
    const fate = (apiKey: number): Fate => {
      asked.push(apiKey);
      return 'serve';
    };
    await using kafka = await ModelKafka.start({ fate });
    kafka.createTopic(TOPIC, 4);
    const [tabletId] = TABLETS as [string];
    await using sink = sinkOn(kafka, 'x');
    await using writer = await sink.openTablet(tabletOf(STREAM, { tabletId }), never);
    for (let index = 1; index <= 5; index++) {
      await sleep(60);
      asked.length = 0;
      await writer.write(batches([recordOf(tabletId, KEYS * index)]), positionAt(index), never); // of one partition
      if (index > 1) assert.ok(!asked.includes(DESCRIBE_PRODUCERS.key), asked.join());
    }
  });
});

describe('a look in the pause that gets no answer', () => {
  it('holds up nobody', async () => {
    let silent = 0;
    const fate = (apiKey: number): Fate =>
      apiKey === DESCRIBE_PRODUCERS.key && silent-- > 0 ? { afterMs: 3_000 } : 'serve';
    await using kafka = await ModelKafka.start({ fate });
    kafka.createTopic(TOPIC, 4);
    const [tabletId] = TABLETS as [string];
    await using sink = sinkOn(kafka, 'x');
    await using writer = await sink.openTablet(tabletOf(STREAM, { tabletId }), never);
    await writer.write(batches([recordOf(tabletId, 1)]), positionAt(1), never);
    await sleep(60);
    await writer.write(batches([recordOf(tabletId, 2)]), positionAt(2), never);
    silent = 1;
    await sleep(60);
    const startMs = performance.now();
    await writer.write(batches([recordOf(tabletId, 3)]), positionAt(3), never);
    assert.ok(performance.now() - startMs < 1_500, `${performance.now() - startMs} ms`);
    assert.ok(silent <= 0, 'it was asked');
  });
});

describe('a write that is given up before its transaction begins', () => {
  const slices = batches([recordOf(TABLETS[0]!, 1)]);
  const opened = (sink: Sink): Promise<TabletWriter> =>
    sink.openTablet(tabletOf(STREAM, { tabletId: TABLETS[0]! }), never);
  /** The lane looks for open ends first, and that takes long. */
  const slowToLook = () => {
    let isSlow = true;
    const fate = (apiKey: number): Fate => (isSlow && apiKey === DESCRIBE_PRODUCERS.key ? { afterMs: 300 } : 'serve');
    return { fate, quicken: () => void (isSlow = false) };
  };

  it('moves no position: its records are not there', async () => {
    const { fate, quicken } = slowToLook();
    await using kafka = await ModelKafka.start({ fate });
    kafka.createTopic(TOPIC, 4);
    await using sink = sinkOn(kafka, 'x');
    const writer = await opened(sink);
    await assert.rejects(writer.write(slices, positionAt(1), AbortSignal.timeout(50)));
    quicken();
    await sleep(500); // whatever was to be written is
    await writer[Symbol.asyncDispose]();
    const again = await opened(sink);
    assert.equal(again.position, null);
    await again.write(slices, positionAt(1), never);
    const rows = [0, 1, 2, 3].flatMap((partition) => kafka.committed(TOPIC, partition));
    assert.equal(rows.length, 1);
    await again[Symbol.asyncDispose]();
  });

  it('moves none either where another sidecar has claimed the tablet meanwhile', async () => {
    const { fate, quicken } = slowToLook();
    await using kafka = await ModelKafka.start({ fate });
    kafka.createTopic(TOPIC, 4);
    await using sink = sinkOn(kafka, 'x');
    await using other = sinkOn(kafka, 'y');
    const writer = await opened(sink);
    const written = writer.write(slices, positionAt(1), never);
    const taken = opened(other);
    await assert.rejects(written, (error) => error instanceof SinkError && error.kind === 'fenced');
    quicken();
    const its = await taken;
    if (its.position === null) await its.write(slices, positionAt(1), never); // else it was in time, with its records
    const rows = [0, 1, 2, 3].flatMap((partition) => kafka.committed(TOPIC, partition));
    assert.equal(rows.length, 1);
    await writer[Symbol.asyncDispose]();
    await its[Symbol.asyncDispose]();
  });
});

describe('a transaction that was aborted, whose end one partition did not get', () => {
  const [tabletId] = TABLETS as [string];
  const PARTITIONS = 4;
  const old = partitionForKey(recordOf(tabletId, 2).key, PARTITIONS);
  const placesSeen = (kafka: ModelKafka): string[] =>
    Array.from({ length: kafka.partitionsOf(TOPIC) }, (_, partition) =>
      kafka.committed(TOPIC, partition).map(({ position }) => position!.split('/')[1]!),
    ).flat();
  const openOn = (sink: Sink): Promise<TabletWriter> =>
    eventually('it is opened', () => sink.openTablet(tabletOf(STREAM, { tabletId }), never));

  /** Until it is there. */
  async function write(sink: Sink, index: number): Promise<void> {
    await eventually('it is written', async () => {
      await using writer = await openOn(sink);
      if (writer.position?.opId.index !== BigInt(index))
        await writer.write(slicesOf(tabletId, index, index), positionAt(index), never);
      return true;
    });
  }

  it('stays aborted where its rows would go elsewhere since: they wait until that can be seen to', async () => {
    let isArmed = false;
    const setPositionsLeader = (leaderOf: (partition: number) => number): void => {
      for (let partition = 0; partition < 16; partition++) kafka.setLeader(POSITIONS, partition, leaderOf(partition));
    };
    const fate = (apiKey: number): Fate => {
      // Its rows are taken, its position is not; and what ends it does not come to the rows.
      if (isArmed && apiKey === PRODUCE.key) {
        setPositionsLeader(() => -1);
        setImmediate(() => {
          setPositionsLeader((partition) => partition % 2);
        });
      }
      if (isArmed && apiKey === INIT_PRODUCER_ID.key) {
        isArmed = false;
        kafka.setLeader(TOPIC, old, -1);
      }
      return 'serve';
    };
    await using kafka = await ModelKafka.start({ fate });
    kafka.createTopic(TOPIC, PARTITIONS);
    kafka.createTopic(POSITIONS, 16);
    await using sink = sinkOn(kafka, 'x', { requestTimeoutMs: 500, lookAgainMs: LOOK_AGAIN_MS });
    await write(sink, 1);
    {
      await using writer = await openOn(sink);
      isArmed = true;
      await assert.rejects(writer.write(slicesOf(tabletId, 2, 2), positionAt(2), never), SinkError);
    }
    await eventually('it is ended', () => kafka.journal.some((line) => /abort .*: lost/.test(line)));
    while (partitionForKey(recordOf(tabletId, 2).key, kafka.partitionsOf(TOPIC)) === old) kafka.addPartitions(TOPIC, 1);
    await sleep(2 * LOOK_AGAIN_MS);
    let isWritten = false;
    const writing = write(sink, 2).then(() => (isWritten = true));
    await sleep(1_500);
    assert.ok(!isWritten, 'its position has moved, by which it was to be told how its rows ended');
    kafka.setLeader(TOPIC, old, old % 2);
    await writing;
    await eventually('nothing is open', () => kafka.open().length === 0);
    assert.deepEqual(placesSeen(kafka).sort(), ['3.1.0', '3.2.0']);
  });
});

describe('lanes on brokers that lose things', { skip: chosen !== undefined }, () => {
  it(`ship exactly once, with ${SEEDS} seeds`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) await play(seed);
  });
});

describe('one seed', { skip: chosen === undefined }, () => {
  it('is played again', () => play(Number(chosen)));
});

describe('a marker that Kafka loses', () => {
  it('of a commit is not taken for that of the next transaction, which fails', async () => {
    const lines: LogLine[] = [];
    let fails = false;
    let isLost = false;
    const fate = (apiKey: number): Fate => (fails && apiKey === PRODUCE.key ? { refuse: 6 } : 'serve');
    await using kafka = await ModelKafka.start({
      fate,
      keepsMarker: (place) => !isLost || !place.startsWith(TOPIC),
    });
    kafka.createTopic(TOPIC, 1);
    await using sink = sinkOn(kafka, 'x', { logger: keepingLogger(lines) });
    const [tabletId] = TABLETS;
    const writer = await sink.openTablet(tabletOf(STREAM, { tabletId: tabletId! }), never);
    await writer.write(batches([recordOf(tabletId!, 1)]), positionAt(1), never);
    isLost = true;
    await writer.write(batches([recordOf(tabletId!, 2)]), positionAt(2), never);
    isLost = false;
    fails = true;
    setTimeout(() => (fails = false), 300);
    await writer.write(batches([recordOf(tabletId!, 3)]), positionAt(3), never).catch(() => undefined);
    await writer[Symbol.asyncDispose]();
    await using again = await sink.openTablet(tabletOf(STREAM, { tabletId: tabletId! }), never);
    if (again.position?.opId.index !== 3n) await again.write(batches([recordOf(tabletId!, 3)]), positionAt(3), never);
    assert.deepEqual(kafka.open(), []);
    const positions = kafka.committed(TOPIC, 0).map(({ position }) => position);
    assert.deepEqual(
      positions,
      [1, 2, 3].map((index) => `${tabletId}/3.${index}.0`),
    );
    assert.ok(lines.some(({ message }) => message.includes('ended once more')));
  });

  for (const partition of [TOPIC, POSITIONS])
    it(`of the ${partition === TOPIC ? 'rows' : 'positions'} is made up for by who takes the tablet over, as it was decided`, async () => {
      let isLost = false;
      await using kafka = await ModelKafka.start({ keepsMarker: (place) => !isLost || !place.startsWith(partition) });
      kafka.createTopic(TOPIC, 1);
      const [tabletId] = TABLETS;
      const tablet = tabletOf(STREAM, { tabletId: tabletId! });
      const dead = sinkOn(kafka, 'dead');
      const writer = await dead.openTablet(tablet, never);
      await writer.write(batches([recordOf(tabletId!, 1)]), positionAt(1), never);
      isLost = true;
      await writer.write(batches([recordOf(tabletId!, 2)]), positionAt(2), never);
      isLost = false;
      // It is not closed: it died.
      await using sink = sinkOn(kafka, 'next');
      await using next = await sink.openTablet(tablet, never);
      assert.deepEqual(next.position, positionAt(2));
      await next.write(batches([recordOf(tabletId!, 3)]), positionAt(3), never);
      await eventually('nothing is open', () => Promise.resolve(kafka.open().length === 0), 10_000);
      const positions = kafka.committed(TOPIC, 0).map(({ position }) => position);
      assert.deepEqual(
        positions,
        [1, 2, 3].map((index) => `${tabletId}/3.${index}.0`),
      );
      await dead[Symbol.asyncDispose]();
    });

  for (const [step, apiKey] of [
    ['begins', ADD_PARTITIONS_TO_TXN.key],
    ['ends', END_TXN.key],
  ] as const)
    for (const fate of ['lose-answer', 'hang-up'] as const)
      for (const partition of [TOPIC, POSITIONS])
        for (const who of ['the same sidecar', 'another'] as const)
          it(`stays decided where its mend in the ${partition === TOPIC ? 'rows' : 'positions'} is cut off (${fate} as it ${step}), and ${who} goes on`, async () => {
            let isLost = false;
            let isCut = false;
            let cuts = 0;
            await using kafka = await ModelKafka.start({
              keepsMarker: (place) => !isLost || !place.startsWith(partition),
              fate: (key) => (isCut && key === apiKey && cuts++ === 0 ? fate : 'serve'),
            });
            kafka.createTopic(TOPIC, 1);
            const [tabletId] = TABLETS as [string];
            const tablet = tabletOf(STREAM, { tabletId });
            const first = sinkOn(kafka, 'first');
            const writer = await first.openTablet(tablet, never);
            // What a copy reads has no place in the log that could tell whether it is shipped.
            await writer.write(batches([recordAt(1, 1, { position: `${tabletId}/copy` })]), positionAt(1), never);
            isLost = true;
            await writer.write(batches([recordAt(2, 1, { position: `${tabletId}/copy 2` })]), positionAt(2), never);
            isLost = false;
            isCut = true;
            await eventually('its mend is cut off', () => Promise.resolve(cuts > 0), 10_000);
            isCut = false;
            if (who === 'another') void first[Symbol.asyncDispose]();
            await using second = who === 'another' ? sinkOn(kafka, 'second') : null;
            await using next = await (second ?? first).openTablet(tablet, never);
            assert.deepEqual(next.position, positionAt(2));
            await next.write(batches([recordAt(3, 1, { position: `${tabletId}/copy 3` })]), positionAt(3), never);
            await eventually('nothing is open', () => Promise.resolve(kafka.open().length === 0), 10_000);
            assert.deepEqual(
              kafka.committed(TOPIC, 0).map(({ position }) => position),
              ['copy', 'copy 2', 'copy 3'].map((what) => `${tabletId}/${what}`),
            );
            if (who !== 'another') await first[Symbol.asyncDispose]();
          });

  for (const isLeaderless of [false, true])
    it(`is looked for where nothing is written behind it${isLeaderless ? ', as soon as the partition has a leader again' : ''}`, async () => {
      let isLost = false;
      await using kafka = await ModelKafka.start({ keepsMarker: (place) => !isLost || !place.startsWith(TOPIC) });
      kafka.createTopic(TOPIC, 1);
      await using sink = sinkOn(kafka, 'x');
      const [tabletId] = TABLETS as [string];
      await using writer = await sink.openTablet(tabletOf(STREAM, { tabletId }), never);
      await writer.write(batches([recordOf(tabletId, 1)]), positionAt(1), never);
      isLost = true;
      await writer.write(batches([recordOf(tabletId, 2)]), positionAt(2), never);
      isLost = false;
      assert.deepEqual(kafka.open(), [`${TOPIC}/0`]);
      if (isLeaderless) {
        kafka.setLeader(TOPIC, 0, -1);
        await sleep(1_500);
        assert.deepEqual(kafka.open(), [`${TOPIC}/0`]);
        kafka.setLeader(TOPIC, 0, 0);
      }
      await eventually('nothing is open', () => Promise.resolve(kafka.open().length === 0), 12_000);
      const positions = kafka.committed(TOPIC, 0).map(({ position }) => position);
      assert.deepEqual(
        positions,
        [1, 2].map((index) => `${tabletId}/3.${index}.0`),
      );
    });
});
