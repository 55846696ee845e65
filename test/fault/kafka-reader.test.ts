import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SinkRecord } from '../../src/change/record.ts';
import { createKafkaReader, type KafkaReaderOptions } from '../../src/sinks/kafka/kafka-reader.ts';
import { METADATA } from '../../src/sinks/kafka/wire/cluster-apis.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { FETCH, FIRST_OFFSETS } from '../../src/sinks/kafka/wire/fetch.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import { FakeBroker, type FakeRequest } from '../support/fake-broker.ts';
import { batchOf, recompressed } from '../support/kafka-batches.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';

const TOPIC = 'cdc.t';
const NOT_LEADER = 6;
const OFFSET_OUT_OF_RANGE = 1;
const UNKNOWN_TOPIC = 3;
const TOPIC_AUTHORIZATION_FAILED = 29;
/** Two a batch, one batch an answer. */
const END = 8;
const never = new AbortController().signal;

/** What befalls the fetch of an offset: once for each time it stands there. */
type Fault =
  'hang-up' | 'silence' | 'nothing' | 'no-partition' | 'torn' | 'corrupt' | 'zstd' | { readonly code: number };

interface Script {
  readonly faults?: readonly (readonly [offset: number, fault: Fault])[];
  /** After that many fetches the other broker leads, and this one says so. */
  readonly movesAfter?: number;
  /** Where retention has come to once a fetch was out of range. */
  readonly startsAt?: number;
  /** After that many fetches there is no such topic. */
  readonly deletedAfter?: number;
  readonly options?: Partial<KafkaReaderOptions>;
}

function recordsAt(offset: number): Buffer {
  const record = (index: number): SinkRecord => ({
    kind: 'row',
    table: 't',
    key: Buffer.from(`k${index}`),
    value: Buffer.from('v'),
    position: `t/1.${index}.0`,
    timestampMs: 1,
  });
  const first = offset - (offset % 2);
  return batchOf(BigInt(first), [record(first), record(first + 1)]);
}

/** Reads the topic from two brokers that follow the script; answers the offsets seen and how often each broker fetched. */
async function readFrom(script: Script) {
  const faults = [...(script.faults ?? [])];
  const lines: LogLine[] = [];
  const fetches = [0, 0];
  let outOfRange = false;
  const total = (): number => fetches[0]! + fetches[1]!;
  const leader = (): number => (total() >= (script.movesAfter ?? Infinity) ? 2 : 1);
  const isDeleted = (): boolean => total() >= (script.deletedAfter ?? Infinity);

  const serve = (nodeId: number, request: FakeRequest): void => {
    const r = new ByteReader(request.body);
    const w = new ByteWriter();
    if (request.apiKey === METADATA.key) {
      w.int32(0).array(brokers(), ({ address }) =>
        w
          .int32(address === one.address.port ? 1 : 2)
          .string('127.0.0.1')
          .int32(address)
          .string(null),
      );
      w.string('id').int32(1);
      w.array([TOPIC], (topic) => {
        w.int16(isDeleted() ? UNKNOWN_TOPIC : 0)
          .string(topic)
          .boolean(false);
        w.array(isDeleted() ? [] : [0], (p) => w.int16(0).int32(p).int32(leader()).int32(0).int32(0).int32(0));
      });
      request.answer(w.finish());
      return;
    }
    if (request.apiKey === FIRST_OFFSETS.key) {
      r.int32();
      r.int8();
      const [timestamp] = r.array(() => {
        r.string();
        return r.array(() => {
          r.int32();
          return r.int64();
        });
      })[0]!;
      const offset = timestamp === -1n ? END : outOfRange ? (script.startsAt ?? 0) : 0;
      w.int32(0).array([TOPIC], (topic) =>
        w.string(topic).array([0], (p) => w.int32(p).int16(0).int64(-1n).int64(BigInt(offset))),
      );
      request.answer(w.finish());
      return;
    }
    assert.equal(request.apiKey, FETCH.key);
    for (let field = 0; field < 4; field++) r.int32(); // replica, wait, least and most bytes
    r.int8();
    for (let field = 0; field < 3; field++) r.int32(); // session id and epoch, count of topics
    r.string();
    for (let field = 0; field < 3; field++) r.int32(); // count of partitions, partition, leader epoch
    const offset = Number(r.int64());
    const isLeader = nodeId === leader();
    fetches[nodeId - 1]! += 1;
    const next = faults.findIndex(([at]) => at === offset);
    const fault = isLeader && next >= 0 ? faults.splice(next, 1)[0]![1] : null;
    if (fault === 'hang-up') {
      request.hangUp();
      return;
    }
    if (fault === 'silence') return;
    let records = recordsAt(offset);
    if (fault === 'nothing') records = Buffer.alloc(0);
    if (fault === 'torn') records = records.subarray(0, -1);
    if (fault === 'corrupt') records[70]! ^= 1;
    if (fault === 'zstd') records = recompressed(records, 4);
    const code = isDeleted()
      ? UNKNOWN_TOPIC
      : !isLeader
        ? NOT_LEADER
        : typeof fault === 'object'
          ? (fault?.code ?? 0)
          : 0;
    if (code === OFFSET_OUT_OF_RANGE) outOfRange = true;
    w.int32(0).int16(0).int32(0);
    w.array([TOPIC], (topic) =>
      w.string(topic).array(fault === 'no-partition' ? [] : [0], (p) => {
        w.int32(p).int16(code).int64(-1n).int64(-1n).int64(-1n).int32(-1);
        w.int32(code === 0 ? records.length : -1);
        if (code === 0) for (const byte of records) w.int8((byte << 24) >> 24);
      }),
    );
    request.answer(w.finish());
  };

  await using one: FakeBroker = await FakeBroker.start((request) => {
    serve(1, request);
  });
  await using two: FakeBroker = await FakeBroker.start((request) => {
    serve(2, request);
  });
  for (const broker of [one, two]) broker.maxVersionOf.set(METADATA.key, 9); // without topic ids
  const brokers = () => [one, two].map((broker) => ({ address: broker.address.port }));
  await using reader = createKafkaReader({
    streamName: 's',
    brokers: [`127.0.0.1:${one.address.port}`],
    topic: 'cdc.{table}',
    schemaTopic: 'schemas',
    requestTimeoutMs: 150,
    patienceMs: 10_000,
    logger: keepingLogger(lines),
    ...script.options,
  });
  const seen: number[] = [];
  let failure: unknown = null;
  try {
    for await (const records of reader.read(TOPIC, never)) {
      assert.ok(records.length > 0);
      for (const { place, key, position } of records) {
        assert.deepEqual(reader.show(place), {
          text: `${TOPIC}/0/${place.order}`,
          fields: { topic: TOPIC, partition: 0, offset: Number(place.order) },
        });
        assert.deepEqual([String(key), position], [`k${place.order}`, `t/1.${place.order}.0`]);
        seen.push(Number(place.order));
      }
    }
  } catch (error) {
    failure = error;
  }
  return { seen, fetches, failure, warnings: lines.filter(({ level }) => level === 'warn').length };
}

const all = Array.from({ length: END }, (_, i) => i);

describe('reading back from Kafka', () => {
  for (const [what, fault] of [
    ['a connection that breaks', 'hang-up'],
    ['a broker that does not answer', 'silence'],
    ['a leader that has nothing to give out yet', 'nothing'],
    ['a broker that saves a quota', 'no-partition'],
    ['a broker that has not heard of the topic yet', { code: UNKNOWN_TOPIC }],
    ['a leader that is about to be one', { code: 78 }],
  ] as const)
    it(`goes on where it was after ${what}`, async () => {
      const faults = [0, 4, 4].map((offset) => [offset, fault] as const);
      const { seen, failure, warnings } = await readFrom({ faults });
      assert.deepEqual([seen, failure], [all, null]);
      assert.equal(warnings, 2, 'one for each trouble, not one for each attempt');
    });

  it('follows a partition to its new leader', async () => {
    const { seen, failure, fetches } = await readFrom({ movesAfter: 2 });
    assert.deepEqual([seen, failure], [all, null]);
    assert.deepEqual(fetches, [3, 2]);
  });

  it('goes on where retention has come to, which may be in the midst of a batch', async () => {
    const { seen, failure } = await readFrom({ faults: [[2, { code: OFFSET_OUT_OF_RANGE }]], startsAt: 5 });
    assert.deepEqual([seen, failure], [[0, 1, 5, 6, 7], null]);
    const gone = await readFrom({ faults: [[2, { code: OFFSET_OUT_OF_RANGE }]], startsAt: 20 });
    assert.deepEqual([gone.seen, gone.failure], [[0, 1], null]);
  });

  const failed = async (script: Script, kind: SinkError['kind'], pattern: RegExp, seen: readonly number[]) => {
    const got = await readFrom(script);
    assert.ok(got.failure instanceof SinkError, String(got.failure));
    assert.equal(got.failure.kind, kind);
    assert.match(got.failure.message, pattern);
    assert.deepEqual(got.seen, seen);
  };

  it('says so when records are gone that were there', () =>
    failed(
      { faults: [[4, { code: OFFSET_OUT_OF_RANGE }]] },
      'unavailable',
      /partition 0 of topic cdc\.t from offset 4 on is gone/,
      [0, 1, 2, 3],
    ));

  it('says so when the topic was deleted meanwhile', () =>
    failed({ deletedAfter: 2 }, 'refused', /partition 0 of topic cdc\.t was deleted/, [0, 1]));

  it('gives up at once on what no time makes good, and names the topic', async () => {
    await failed({ faults: [[2, 'corrupt']] }, 'refused', /topic cdc\.t from offset 2 .*checksum/, [0, 1]);
    await failed({ faults: [[2, 'torn']] }, 'refused', /topic cdc\.t from offset 2 .*none that is whole/, [0, 1]);
    await failed({ faults: [[2, 'zstd']] }, 'refused', /topic cdc\.t from offset 2 .*zstd/, [0, 1]);
    const faults = [[2, { code: TOPIC_AUTHORIZATION_FAILED }]] as const;
    await failed({ faults }, 'refused', /topic cdc\.t: TOPIC_AUTHORIZATION_FAILED/, [0, 1]);
  });

  it('loses patience', () =>
    failed(
      { faults: new Array<readonly [number, Fault]>(50).fill([2, 'nothing']), options: { patienceMs: 300 } },
      'unavailable',
      /gives no records of partition 0 of topic cdc\.t from offset 2/,
      [0, 1],
    ));

  it('ends at once when it is told to stop, or closed', async () => {
    await using broker = await FakeBroker.start(() => undefined); // never answers
    const open = () =>
      createKafkaReader({
        streamName: 's',
        brokers: [`127.0.0.1:${broker.address.port}`],
        topic: '{table}',
        schemaTopic: 'schemas',
        logger: keepingLogger(),
      });
    const stop = new AbortController();
    await using reader = open();
    const first = reader.read(TOPIC, stop.signal)[Symbol.asyncIterator]().next();
    stop.abort();
    await assert.rejects(first, (error) => error instanceof SinkError && error.kind === 'unavailable');
    const closed = open();
    const second = closed.read(TOPIC, never)[Symbol.asyncIterator]().next();
    await Promise.all([closed[Symbol.asyncDispose](), assert.rejects(second, /the reader was closed/)]);
  });

  it('names topics as the sink does', async () => {
    await using reader = createKafkaReader({
      streamName: 's',
      brokers: ['127.0.0.1:1'],
      topic: '{stream}.{table}',
      schemaTopic: 'schemas',
      logger: keepingLogger(),
    });
    assert.deepEqual([reader.destinationOf('impala::a.b'), reader.schemaDestination], ['s.impala__a.b', 'schemas']);
    assert.throws(() => reader.destinationOf('x'.repeat(300)), SinkError);
  });
});
