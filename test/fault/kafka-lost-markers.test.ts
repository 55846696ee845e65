import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KafkaCluster } from '../../src/sinks/kafka/cluster.ts';
import { takeOver, type TakenTablet, type TakeOverOptions } from '../../src/sinks/kafka/take-over.ts';
import { TransactionTimes } from '../../src/sinks/kafka/transaction-time.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import {
  ADD_OFFSETS_TO_TXN,
  ADD_PARTITIONS_TO_TXN,
  DESCRIBE_PRODUCERS,
  DESCRIBE_TRANSACTIONS,
  END_TXN,
  FIND_COORDINATOR,
  INIT_PRODUCER_ID,
  METADATA,
  OFFSET_FETCH,
} from '../../src/sinks/kafka/wire/apis.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { FakeBroker } from '../support/fake-broker.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';

const ID = 'spoor.s.tablet';
const PRODUCER = 77n;
/** Java: "spoor.s.tablet".hashCode() is 421658362. */
const OFFSETS_PARTITIONS = 4;
const OUR_OFFSETS_PARTITION = 421658362 % OFFSETS_PARTITIONS;
const INVALID_TRANSACTION_TIMEOUT = 50;
const REQUEST_TIMEOUT_MS = 1_000;
const TRANSACTION_TIMEOUT_MS = 1_500;
const never = new AbortController().signal;

interface Script {
  /** What the coordinator says of the last transaction; a fence makes it forget. */
  state: string;
  /** Partitions where a transaction of ours is still open, `topic/partition`; ended by a transaction that has joined them. */
  readonly open: Set<string>;
  /** How many of our ends lose their markers again. */
  lost: number;
  /** Whether an earlier transaction has left an offset, so that the open one makes it unstable. */
  readonly hasOffset?: boolean;
  /** transaction.max.timeout.ms */
  readonly longestTransactionMs?: number;
  /** How often the leaders of the partitions are not known yet. */
  leaderless?: number;
}

/** What was done to the broker: each end of a transaction with what had joined it. */
async function takeOverAt(script: Script, tries = 1, transactionTimes = new TransactionTimes()) {
  const ends: { commit: boolean; partitions: string[]; offsets: boolean }[] = [];
  let joined: string[] = [];
  let offsets = false;
  const timeoutsMs: number[] = [];
  const lines: LogLine[] = [];
  await using broker = await FakeBroker.start((asked) => {
    const { apiKey, body } = asked;
    const r = new ByteReader(body);
    const w = new ByteWriter();
    switch (apiKey) {
      case METADATA.key: {
        const topics = r.array(() => r.string());
        const { host, port } = broker.address;
        w.int32(0).array([1], () => w.int32(1).string(host).int32(port).string(null));
        w.string(null).int32(1);
        w.array(topics, (topic) => {
          const partitions = Array.from(
            { length: topic === '__consumer_offsets' ? OFFSETS_PARTITIONS : 2 },
            (_, p) => p,
          );
          w.int16(0).string(topic).boolean(false);
          w.array(partitions, (p) => w.int16(0).int32(p).int32(1).int32(0).int32(0).int32(0));
        });
        break;
      }
      case FIND_COORDINATOR.key:
        w.int32(0).int16(0).string(null).int32(1).string(broker.address.host).int32(broker.address.port);
        break;
      case DESCRIBE_TRANSACTIONS.key:
        w.noTags().int32(0);
        w.compactArray([script.state], (state) =>
          w
            .int16(0)
            .compactString(ID)
            .compactString(state)
            .int32(0)
            .int64(0n)
            .int64(0n)
            .int16(0)
            .compactArray([], () => 0)
            .noTags(),
        ).noTags();
        break;
      case INIT_PRODUCER_ID.key:
        r.string();
        timeoutsMs.push(r.int32());
        if (timeoutsMs.at(-1)! > (script.longestTransactionMs ?? Infinity)) {
          w.int32(0).int16(INVALID_TRANSACTION_TIMEOUT).int64(-1n).int16(-1);
          break;
        }
        script.state = 'Empty';
        w.int32(0).int16(0).int64(PRODUCER).int16(3);
        break;
      case OFFSET_FETCH.key:
        w.noTags()
          .int32(0)
          .compactArray(script.hasOffset === true ? ['cdc.t.schema'] : [], (topic) => {
            const isUnstable = script.open.has(`__consumer_offsets/${OUR_OFFSETS_PARTITION}`);
            w.compactString(topic).compactArray([0], (p) =>
              w
                .int32(p)
                .int64(isUnstable ? -1n : 7n)
                .int32(-1)
                .compactString('')
                .int16(isUnstable ? 88 : 0)
                .noTags(),
            );
            return w.noTags();
          })
          .int16(0)
          .noTags();
        break;
      case DESCRIBE_PRODUCERS.key: {
        const errorCode = (script.leaderless ?? 0) > 0 ? 6 : 0;
        r.tags();
        const topics = r.compactArray(() => {
          const topic = r.nullableCompactString()!;
          const partitions = r.compactArray(() => r.int32());
          r.tags();
          return { topic, partitions };
        });
        w.noTags().int32(0);
        w.compactArray(topics, ({ topic, partitions }) =>
          w
            .compactString(topic)
            .compactArray(partitions, (p) => {
              const open = script.open.has(`${topic}/${p}`);
              w.int32(p).int16(errorCode).unsignedVarint(0);
              // Somebody else's open transaction is none of ours.
              w.compactArray(
                [
                  [PRODUCER, open ? 5n : -1n],
                  [5n, 9n],
                ] as const,
                ([id, since]) => w.int64(id).int32(0).int32(0).int64(0n).int32(0).int64(since).noTags(),
              ).noTags();
            })
            .noTags(),
        ).noTags();
        if (errorCode !== 0) script.leaderless!--;
        break;
      }
      case ADD_PARTITIONS_TO_TXN.key: {
        r.string();
        r.int64();
        r.int16();
        const topics = r.array(() => ({ topic: r.string(), partitions: r.array(() => r.int32()) }));
        joined.push(...topics.flatMap(({ topic, partitions }) => partitions.map((p) => `${topic}/${p}`)));
        w.int32(0).array(topics, ({ topic, partitions }) =>
          w.string(topic).array(partitions, (p) => w.int32(p).int16(0)),
        );
        break;
      }
      case ADD_OFFSETS_TO_TXN.key:
        offsets = true;
        w.int32(0).int16(0);
        break;
      case END_TXN.key:
        r.string();
        r.int64();
        r.int16();
        ends.push({ commit: r.boolean(), partitions: joined, offsets });
        script.state = ends.at(-1)!.commit ? 'CompleteCommit' : 'CompleteAbort';
        if (script.lost-- <= 0) script.open.clear();
        joined = [];
        offsets = false;
        w.int32(0).int16(0);
        break;
      default:
        assert.fail(`request ${apiKey}`);
    }
    asked.answer(w.finish());
  });
  broker.maxVersionOf.set(METADATA.key, 9); // without topic ids
  await using cluster = new KafkaCluster([`${broker.address.host}:${broker.address.port}`], {
    clientId: 'test',
    connectTimeoutMs: 500,
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    logger: keepingLogger(),
  });
  const options: TakeOverOptions = {
    id: ID,
    lane: 1,
    transactionTimeoutMs: TRANSACTION_TIMEOUT_MS,
    transactionTimes,
    topics: ['cdc.t'],
    outcomes: new Map(),
    logger: keepingLogger(lines),
  };
  let taken: unknown;
  for (let i = 0; i < tries; i++) taken = await takeOver(cluster, options, never).catch((error: unknown) => error);
  return { ends, taken, timeoutsMs, warnings: lines.filter(({ level }) => level === 'warn').length };
}

describe('a broker that ended a transaction and lost its markers', () => {
  for (const [state, commit] of [
    ['PrepareCommit', true],
    ['CompleteCommit', true],
    ['CompleteAbort', false],
    ['Empty', false],
  ] as const)
    it(`has it ended once more as it was: ${state}`, async () => {
      const open = new Set(['cdc.t/1', `__consumer_offsets/${OUR_OFFSETS_PARTITION}`]);
      const { ends, warnings } = await takeOverAt({ state, open, lost: 0 });
      assert.deepEqual(ends, [{ commit, partitions: ['cdc.t/1'], offsets: true }]);
      assert.equal(warnings, 1);
    });

  it('has the offsets settled where they alone are open', async () => {
    const open = new Set([`__consumer_offsets/${OUR_OFFSETS_PARTITION}`]);
    const { ends } = await takeOverAt({ state: 'CompleteCommit', open, lost: 0 });
    assert.deepEqual(ends, [{ commit: true, partitions: [], offsets: true }]);
  });

  it('has them settled also where an earlier offset makes them unstable until then', async () => {
    const open = new Set([`__consumer_offsets/${OUR_OFFSETS_PARTITION}`]);
    const started = performance.now();
    const { ends, taken } = await takeOverAt({ state: 'CompleteAbort', open, lost: 0, hasOffset: true });
    assert.deepEqual(ends, [{ commit: false, partitions: [], offsets: true }]);
    assert.deepEqual((taken as { offsets: { offset: bigint }[] }).offsets[0]?.offset, 7n);
    assert.ok(performance.now() - started < 5_000, 'they are not waited for first');
  });

  it('has it ended as it was also where the first try to take over came to nothing after the fence', async () => {
    const open = new Set(['cdc.t/1', `__consumer_offsets/${OUR_OFFSETS_PARTITION}`]);
    const { ends } = await takeOverAt({ state: 'CompleteCommit', open, lost: 0, leaderless: 1 }, 2);
    assert.deepEqual(ends, [{ commit: true, partitions: ['cdc.t/1'], offsets: true }]);
  });

  it('is asked for nothing where all is settled, whatever other groups have open', async () => {
    const open = new Set([`__consumer_offsets/${(OUR_OFFSETS_PARTITION + 1) % OFFSETS_PARTITIONS}`]);
    const { ends, taken } = await takeOverAt({ state: 'CompleteCommit', open, lost: 0 });
    assert.deepEqual(ends, []);
    assert.equal((taken as { identity: { epoch: number } }).identity.epoch, 3);
  });

  it('and loses them time and again is unavailable: the tablet is not taken over', async () => {
    const { taken } = await takeOverAt({ state: 'CompleteCommit', open: new Set(['cdc.t/0']), lost: 99 });
    assert.ok(taken instanceof SinkError && taken.kind === 'unavailable', String(taken));
  });
});

describe('the time of a transaction', () => {
  const script: Script = { state: 'Empty', open: new Set(), lost: 0 };

  it('is enough for its round trips at our patience with the slowest broker', async () => {
    const { timeoutsMs, taken } = await takeOverAt(script);
    assert.ok(!(taken instanceof Error), String(taken));
    assert.deepEqual(timeoutsMs, [6 * REQUEST_TIMEOUT_MS]);
  });

  it('is what brokers allow where that is less, however little', async () => {
    for (const [longestTransactionMs, asked] of [
      [5_000, [6_000, 3_000]],
      [1_499, [6_000, 3_000, 1_500]],
    ] as const) {
      const { timeoutsMs, taken } = await takeOverAt({ ...script, longestTransactionMs });
      assert.deepEqual(timeoutsMs, asked);
      if (longestTransactionMs === 5_000)
        assert.deepEqual((taken as TakenTablet).transactionTime, { ms: 3_000, wantedMs: 6_000 });
      else assert.match(String(taken), /transactions of 1500 ms \(transaction\.max\.timeout\.ms\)/);
    }
  });

  it('is more for one whose last was not enough', async () => {
    const times = new TransactionTimes();
    assert.equal(times.ranOut(ID, { ms: 6_000, wantedMs: 6_000 }), 24_000);
    const { timeoutsMs } = await takeOverAt(script, 1, times);
    assert.deepEqual(timeoutsMs, [24_000]);
  });
});
