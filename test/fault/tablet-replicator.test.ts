import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Change } from '../../src/change/change.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import type { RecordFormat } from '../../src/formats/format.ts';
import { ByteArena } from '../../src/util/byte-arena.ts';
import { formatOf } from '../support/record-batches.ts';
import { SpoorError } from '../../src/errors.ts';
import { MIN_OPID } from '../../src/kudu/opid.ts';
import type { ChangeRead, ChangeSource } from '../../src/source/change-source.ts';
import { TabletReplicator, type TabletReplicatorOptions } from '../../src/shipping/tablet-replicator.ts';
import type { ReplicationMetrics } from '../../src/api/counters.ts';
import { type Sink, type TabletWriter, SinkError } from '../../src/sinks/sink.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import { steadyNow } from '../../src/util/steady-clock.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { MemorySink, MemoryStore } from '../support/memory-sink.ts';
import { NO_METRICS } from '../support/no-metrics.ts';

/** The replicator with its real core, over a log and a sink whose faults are scripted. */
describe('tablet replicator under faults', () => {
  it('delivers each operation once and in order, when writes fail before and after they took effect', async () => {
    const store = new MemoryStore();
    const replicator = start({
      store,
      sink: new FaultySink(store, ['before', 'after', 'after', 'before', 'after']),
      ops: 20,
    });
    await eventually('all is shipped', () => store.records.length >= 20 && replicator.view(Date.now()).lagOps === 0);
    assert.deepEqual(positionsIn(store), range(1, 20));
    assert.equal(await replicator.stop(), 'stopped');
  });

  it('keeps no room that others may wait for while its sink is away, and reads again what it let go of', async () => {
    const store = new MemoryStore();
    const logs: ScriptedLog[] = [];
    const openSource = (after: TabletPosition): ChangeSource => {
      const log = new ScriptedLog(range(Number(after.opId.index) + 1, 20), null, true);
      logs.push(log);
      return log;
    };
    const replicator = start({ store, sink: new FaultySink(store, ['before', 'after', 'before']), openSource });
    await eventually('all is shipped', () => store.records.length >= 20 && replicator.view(Date.now()).lagOps === 0);
    assert.deepEqual(positionsIn(store), range(1, 20));
    assert.equal(logs.length, 4, 'each failure let go of one');
    assert.deepEqual(
      logs.slice(0, 3).map(({ isClosed }) => isClosed),
      [true, true, true],
    );
    assert.equal(await replicator.stop(), 'stopped');
  });

  it('goes on after a clean stop, and after one that was cut short, without a repeat', async () => {
    const store = new MemoryStore();
    const first = start({ store, ops: 7 });
    await eventually('all is shipped', () => store.records.length === 7);
    await first.stop();
    const second = start({ store, ops: 12 });
    await eventually('the rest is shipped', () => store.records.length === 12);
    await second.stop(AbortSignal.abort(new Error('hurry')));
    assert.deepEqual(positionsIn(store), range(1, 12));
  });

  it('lags although it has read nothing: by the age of the last operation that the sink has', async () => {
    const store = new MemoryStore();
    const sink: Sink = {
      openTablet: () => Promise.reject(new SinkError('unavailable', 'no broker')),
      check: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const nowMs = Date.now();
    const time = BigInt(nowMs - 60_000) * 1000n * 4096n;
    const replicator = start({ store, sink, time, kuduNow: () => nowMs });
    assert.equal(replicator.view(nowMs).lagSeconds, 0);
    replicator.noteCommitted({ term: 1n, index: 5n });
    assert.deepEqual([replicator.view(nowMs).lagOps, replicator.view(nowMs).lagSeconds], [5, 60]);
    await replicator.stop();
  });

  it('does not take how long it was idle for its lag: what came later came after it was known to have all', async () => {
    const store = new MemoryStore();
    const hourAgo = BigInt(Date.now() - 3_600_000) * 1000n * 4096n;
    const replicator = start({ store, time: hourAgo });
    replicator.noteCommitted(MIN_OPID);
    const nowMs = steadyNow();
    replicator.noteCommitted({ term: 1n, index: 5n });
    const { lagOps, lagSeconds } = replicator.view(nowMs + 10_000);
    assert.equal(lagOps, 5);
    assert.ok(lagSeconds !== null && lagSeconds >= 10 && lagSeconds < 20, String(lagSeconds));
    await replicator.stop();
  });

  it("ships on whatever the machine's clock is set to, and lags by the clock that stamps the operations", async (t) => {
    const store = new MemoryStore();
    const log = new ScriptedLog([]);
    const beganMs = Date.now();
    const replicator = start({ store, log, kuduNow: () => beganMs });
    let [shipped, index, setByMs] = [0, 0, 0];
    t.mock.method(Date, 'now', () => beganMs + setByMs);
    for (setByMs of [0, -3_600_000, 86_400_000, -86_400_000]) {
      for (let more = 0; more < 3; more++) {
        log.add(++index);
        shipped++;
        await eventually(`${shipped} are shipped`, () => store.records.length === shipped);
        assert.equal(replicator.view(steadyNow()).lagSeconds, 0);
      }
    }
    await replicator.stop();
  });

  it('is blocked with the reason while the sink is away, says so once, and goes on by itself', async () => {
    const store = new MemoryStore();
    store.outage = new SinkError('refused', 'topic cdc.t is missing');
    const lines: LogLine[] = [];
    const replicator = start({ store, ops: 3, lines });
    const blocked = await eventually('it is blocked', () => {
      const view = replicator.view(Date.now());
      return view.state === 'blocked' ? view : null;
    });
    assert.equal(blocked.error.code, 'SPOOR_SINK_REFUSED');
    assert.match(blocked.error.message, /cdc\.t is missing/);
    store.outage = null;
    await eventually('all is shipped', () => store.records.length === 3);
    assert.equal(replicator.view(Date.now()).state, 'running');
    assert.equal(lines.filter(({ level }) => level === 'error').length, 1);
    await replicator.stop();
  });

  it('stops when another writer takes the tablet over', async () => {
    const store = new MemoryStore();
    const log = new ScriptedLog(range(1, 3));
    const old = start({ store, log });
    await eventually('the first are shipped', () => store.records.length === 3);
    const successor = start({ store, ops: 3 });
    await eventually('the successor runs', () => successor.view(Date.now()).state === 'running');
    assert.equal(await old.done, 'fenced', 'without a write');
    log.add(4);
    assert.deepEqual(positionsIn(store), range(1, 3));
    await successor.stop();
  });

  it('takes no notice where a writer that it has left is fenced', async () => {
    const [store, lines] = [new MemoryStore(), [] as LogLine[]];
    const log = new ScriptedLog(range(1, 3));
    const replicator = start({ store, log, lines });
    await eventually('the first are shipped', () => store.records.length === 3);
    store.outage = new SinkError('unavailable', 'no answer');
    log.add(4);
    await eventually('it has failed', () => replicator.view(Date.now()).state === 'blocked');
    store.outage = null;
    await eventually('it goes on', () => store.records.length === 4);
    await sleep(20);
    assert.equal(replicator.view(Date.now()).state, 'running');
    assert.ok(!lines.some(({ message }) => message === 'another sidecar ships this tablet now'));
    await replicator.stop();
  });

  it('says so once when it goes on in another sink than the one that the marker spoke of', async () => {
    for (const [startSink, warnings] of [
      ['memory:0', 1],
      ['memory:1', 0],
      ['', 0],
    ] as const) {
      const [store, lines] = [new MemoryStore(), [] as LogLine[]];
      const replicator = start({ store, ops: 3, lines, startSink });
      await eventually('it is shipped', () => store.records.length === 3);
      await replicator.stop();
      assert.equal(lines.filter(({ level }) => level === 'warn').length, warnings, startSink);
    }
  });

  describe('when the topic was made anew', () => {
    const warnings = (lines: readonly LogLine[]): LogLine[] => lines.filter(({ level }) => level === 'warn');

    it('says so once, with both ids, the topic and from where, when it finds that at its start', async () => {
      const [store, lines] = [new MemoryStore(), [] as LogLine[]];
      store.sinkId = 'memory:1/cdc.t@new';
      const replicator = start({ store, ops: 3, lines, startSink: 'memory:1/cdc.t@old' });
      await eventually('it is shipped', () => store.records.length === 3);
      await replicator.stop();
      const [warning, ...others] = warnings(lines);
      assert.deepEqual(others, []);
      assert.match(warning?.message ?? '', /topic was made anew.*resync/);
      const fields = { marked: 'memory:1/cdc.t@old', sink: 'memory:1/cdc.t@new', opId: '0.0', topic: 'cdc.t' };
      assert.deepEqual(warning?.fields, fields);
      assert.deepEqual(positionsIn(store), range(1, 3), 'and goes on where it was');
    });

    it('says so once when that happens while it ships, whether a write fails of it or not', async () => {
      for (const isSeenAt of ['write', 'opening'] as const) {
        const [store, lines, sinks] = [new MemoryStore(), [] as LogLine[], new Set<string>()];
        store.sinkId = 'memory:1/cdc.t@old';
        const log = new ScriptedLog(range(1, 3));
        const replicator = start({ store, log, lines, onAcked: (_, __, sink) => sinks.add(sink) });
        await eventually('it is shipped', () => replicator.view(Date.now()).applyOpId === '1.3');
        assert.deepEqual(warnings(lines), []);
        if (isSeenAt === 'opening') store.outage = new SinkError('unavailable', 'no such topic');
        store.sinkId = 'memory:1'; // it is gone
        log.add(4);
        if (isSeenAt === 'opening') {
          await eventually('it is blocked', () => replicator.view(Date.now()).state === 'blocked');
          store.outage = null;
        }
        await eventually('the next is shipped', () => replicator.view(Date.now()).applyOpId === '1.4');
        assert.deepEqual(warnings(lines), [], 'that a topic is not there says nothing of another');
        store.sinkId = 'memory:1/cdc.t@new';
        for (const index of [5, 6]) {
          log.add(index);
          await eventually('it is shipped', () => replicator.view(Date.now()).applyOpId === `1.${index}`);
        }
        await replicator.stop();
        const opIds = warnings(lines).map(({ fields }) => (fields as { opId: string }).opId);
        assert.deepEqual(opIds, ['1.4'], isSeenAt);
        assert.deepEqual(
          [...sinks],
          ['memory:1/cdc.t@old', 'memory:1/cdc.t@new'],
          'markers keep the old id for so long',
        );
      }
    });

    it('says nothing of it where the marker of before does not tell which topic, or another one', async () => {
      for (const startSink of ['', 'memory:1', 'memory:1/cdc.t@new', 'memory:1/cdc.before_the_rename@old']) {
        const [store, lines] = [new MemoryStore(), [] as LogLine[]];
        store.sinkId = 'memory:1/cdc.t@new';
        const replicator = start({ store, ops: 3, lines, startSink });
        await eventually('it is shipped', () => store.records.length === 3);
        await replicator.stop();
        assert.deepEqual(warnings(lines), [], startSink);
      }
    });
  });

  it('is stalled when its server commits more and its log does not go on', async () => {
    const store = new MemoryStore();
    const replicator = start({ store, log: new ScriptedLog(range(1, 3)) });
    await eventually('it is shipped', () => store.records.length === 3);
    const laterMs = (): number => Date.now() + 40_000;
    assert.equal(replicator.view(laterMs()).state, 'running', 'there is nothing to ship');
    replicator.noteCommitted({ term: 1n, index: 9n });
    assert.equal(replicator.view(Date.now()).state, 'running', 'it may only be late');
    assert.equal(replicator.view(laterMs()).state, 'stalled');
    assert.equal(replicator.view(Date.now()).lagOps, 6);
    await replicator.stop();
  });

  it('ships what came before a gap, then stays at it and says from where', async () => {
    const store = new MemoryStore();
    const failure = new SpoorError('SPOOR_WAL_GAP', 'index 6 is gone');
    const replicator = start({ store, log: new ScriptedLog(range(1, 5), failure) });
    await eventually('it stands at the gap', () => replicator.view(Date.now()).state === 'gap');
    await eventually('what came before is shipped', () => store.records.length === 5);
    assert.equal(replicator.view(Date.now()).applyOpId, '1.5');
    assert.match(replicator.view(Date.now()).error?.message ?? '', /index 6 is gone/);
    await replicator.stop();
  });

  it('is blocked, and ships nothing of it, where the log has what it cannot ship', async () => {
    const store = new MemoryStore();
    const failure = new SpoorError('SPOOR_TRANSACTION_UNSUPPORTED', 'operation 1.3 belongs to a transaction');
    const replicator = start({ store, log: new ScriptedLog(range(1, 2), failure) });
    await eventually('it is blocked', () => replicator.view(Date.now()).state === 'blocked');
    await eventually('what came before is shipped', () => store.records.length === 2);
    assert.equal(replicator.view(Date.now()).error?.code, 'SPOOR_TRANSACTION_UNSUPPORTED');
    await replicator.stop();
  });

  it('opens a log that could not be read again, where it stopped', async () => {
    const store = new MemoryStore();
    const logs = [new ScriptedLog(range(1, 4), new Error('EIO')), new ScriptedLog(range(5, 8))];
    const opened: string[] = [];
    const replicator = start({
      store,
      openSource: (after) => {
        opened.push(String(after.opId.index));
        return logs.shift()!;
      },
    });
    await eventually('all is shipped', () => store.records.length === 8);
    assert.deepEqual(opened, ['0', '4']);
    await replicator.stop();
  });

  it('has one source at a time, and reads it, when its log is lost and repaired while another one is being opened', async () => {
    const store = new MemoryStore();
    const lines: LogLine[] = [];
    const open = new Set<number>();
    const beside: number[] = [];
    let [made, opened, fails] = [0, 0, false];
    const openSource = (after: TabletPosition, first: ScriptedLog): ChangeSource => {
      const id = ++made;
      beside.push(...open);
      open.add(id);
      const log = id === 1 ? first : new ScriptedLog(range(Number(after.opId.index) + 1, 9));
      return {
        committed: MIN_OPID,
        next: async () => {
          if (id === 2) await sleep(300); // still reading when the other is there
          return log.next();
        },
        [Symbol.asyncDispose]: async () => {
          await log[Symbol.asyncDispose]();
          if (id === 1) await sleep(100); // a slow disk
          open.delete(id);
        },
      };
    };
    const inner = new MemorySink(store);
    const sink: Sink = {
      openTablet: async (...args) => {
        const writer = await inner.openTablet(...args);
        const isAgain = opened++ > 0;
        // Another sidecar has shipped meanwhile, and stopped between our reads.
        return {
          position: isAgain ? { ...writer.position!, opId: { term: 1n, index: 5n } } : writer.position,
          write: (slices, position, signal) => {
            if (!fails) return writer.write(slices, position, signal);
            fails = false;
            return Promise.reject(new SinkError('unavailable', 'broker away'));
          },
          [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
        };
      },
      check: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const first = new ScriptedLog(range(1, 3));
    const replicator = start({ store, sink, openSource: (after) => openSource(after, first), lines });
    await eventually('the first are shipped', () => store.records.length === 3);
    fails = true;
    first.add(4);
    while (opened < 2) await sleep(1); // now the first source is being closed
    await sleep(5);
    replicator.logLost(new SpoorError('SPOOR_WAL_GAP', 'the hold was bounded'));
    replicator.repair();
    await eventually('the rest is shipped', () => positionsIn(store).at(-1) === 9, 5000);
    assert.deepEqual([open.size, beside], [1, []]);
    assert.equal(await replicator.stop(), 'stopped');
    assert.deepEqual([...open], []);
  });

  it('takes whatever nobody expected to fail for a fault of its own, says so, and goes on', async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', onUnhandled);
    try {
      for (const what of ['metrics', 'onAcked', 'dispose'] as const) {
        const [store, lines] = [new MemoryStore(), [] as LogLine[]];
        let fails = true;
        const mayFail = (): void => {
          if (fails) throw new Error(`${what} failed`);
        };
        const log = new ScriptedLog(range(1, 3), what === 'dispose' ? new SpoorError('SPOOR_WAL_GAP', 'gone') : null);
        const replicator = start({
          store,
          lines,
          openSource: (after) => {
            if (after.opId.index > 0n) return new ScriptedLog(range(Number(after.opId.index) + 1, 5));
            return {
              committed: MIN_OPID,
              next: () => log.next(),
              [Symbol.asyncDispose]: () =>
                what === 'dispose' && fails ? Promise.reject(new Error('dispose failed')) : log[Symbol.asyncDispose](),
            };
          },
          ...(what === 'metrics' && { metrics: { ...NO_METRICS, shipped: mayFail } }),
          ...(what === 'onAcked' && { onAcked: mayFail }),
        });
        await eventually(`${what}: it is told`, () => lines.some(({ message }) => message === 'unexpected error'));
        if (what !== 'dispose') {
          const blocked = lines.find(({ message }) => message === 'tablet is blocked');
          const { code, reason } = blocked!.fields as { code?: string; reason?: string };
          assert.deepEqual([code, reason], ['SPOOR_INTERNAL', `${what} failed`]);
        }
        fails = false;
        if (what === 'dispose') replicator.logFilled();
        else log.add(4);
        await eventually(`${what}: it goes on`, () => store.records.length >= 4 && !replicator.view(Date.now()).error);
        fails = true;
        await Promise.race([replicator.stop(), sleep(5000).then(() => assert.fail('it has not stopped'))]);
        const expected = what === 'dispose' ? range(1, 5) : range(1, 4);
        assert.deepEqual(positionsIn(store), expected, what);
      }
      await sleep(10);
      assert.deepEqual(unhandled, []);
    } finally {
      process.off('unhandledRejection', onUnhandled);
    }
  });

  it('names the operation that no record can be made of', async () => {
    const store = new MemoryStore();
    const format = formatOf((change) => {
      if (change.opId.index === 2n) throw new RangeError('Invalid string length');
      return [recordOf(change)];
    });
    const replicator = start({ store, ops: 3, format });
    const { error } = await eventually('it is blocked', () => {
      const view = replicator.view(Date.now());
      return view.error?.code === 'SPOOR_NOT_ENCODABLE' && view;
    });
    assert.match(error!.message, /operation 1\.2 of t makes no record: Invalid string length/);
    await replicator.stop();
  });

  it('says what it waits for while its sink is being opened, and while a write hangs', async () => {
    const gate = { open: (): void => undefined, write: (): void => undefined };
    const store = new MemoryStore();
    const inner = new MemorySink(store);
    const sink: Sink = {
      openTablet: async (tablet, signal) => {
        const isOpened = new Promise<void>((resolve) => (gate.open = resolve));
        await sleep(20);
        tablet.onWait?.('Kafka, which answers: COORDINATOR_NOT_AVAILABLE');
        await isOpened;
        const writer = await inner.openTablet(tablet, signal);
        return {
          position: null,
          waits: { for: "Kafka's quota", sinceMs: 1_000_000 },
          write: async (...args) => {
            await new Promise<void>((resolve) => (gate.write = resolve));
            await writer.write(...args);
          },
          [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
        };
      },
      check: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const replicator = start({ store, sink, ops: 1 });
    const shown = (laterMs = 0): string => {
      const { state, waiting } = replicator.view(Date.now() + laterMs);
      return `${state}: ${waiting?.for ?? ''}`;
    };
    assert.equal(shown(), "starting: its sink's writer, which is being opened");
    await eventually('the sink waits', () => shown() === 'starting: Kafka, which answers: COORDINATOR_NOT_AVAILABLE');
    gate.open();
    await eventually('it writes', () => shown() === 'running: ');
    await eventually('the write hangs', () => shown(40_000) === "stalled: Kafka's quota");
    assert.equal(replicator.view(Date.now() + 40_000).waiting?.since, new Date(1_000_000).toISOString());
    gate.write();
    await eventually('it is shipped', () => shown(40_000) === 'running: ');
    await replicator.stop();
  });

  it('ends when the tablet is gone, with all of it shipped', async () => {
    const store = new MemoryStore();
    const replicator = start({ store, log: new ScriptedLog(range(1, 5), 'gone') });
    assert.equal(await replicator.done, 'tablet-gone');
    assert.deepEqual(positionsIn(store), range(1, 5));
  });
});

/** Gives the operations with these indexes, then fails, is gone, or waits for more. */
class ScriptedLog implements ChangeSource {
  readonly #indexes: number[];
  readonly #end: Error | 'gone' | null;
  readonly holdsRoom: boolean;
  #wake: () => void = () => undefined;
  isClosed = false;

  constructor(indexes: readonly number[], end: Error | 'gone' | null = null, holdsRoom = false) {
    this.#indexes = [...indexes];
    this.#end = end;
    this.holdsRoom = holdsRoom;
  }

  get committed(): typeof MIN_OPID {
    return MIN_OPID;
  }

  add(index: number): void {
    this.#indexes.push(index);
    this.#wake();
  }

  async next(): Promise<ChangeRead | { readonly kind: 'gone' }> {
    for (;;) {
      if (this.isClosed) throw new Error('closed');
      const index = this.#indexes.shift();
      if (index !== undefined) return readOf(index);
      if (this.#end === 'gone') return { kind: 'gone' };
      if (this.#end) throw this.#end;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
    this.#wake();
    return Promise.resolve();
  }
}

/** Fails the first writes as scripted: before they took effect, or after, so that only the answer is lost. */
class FaultySink implements Sink {
  readonly #inner: MemorySink;
  readonly #faults: ('before' | 'after')[];

  constructor(store: MemoryStore, faults: ('before' | 'after')[]) {
    this.#inner = new MemorySink(store);
    this.#faults = faults;
  }

  async openTablet(...args: Parameters<Sink['openTablet']>): Promise<TabletWriter> {
    const writer = await this.#inner.openTablet(...args);
    return {
      position: writer.position,
      write: async (...write) => {
        const fault = this.#faults.shift();
        if (fault !== 'before') await writer.write(...write);
        if (fault) throw new SinkError('unavailable', `lost ${fault} it took effect`);
      },
      [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
    };
  }

  check(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#inner[Symbol.asyncDispose]();
  }
}

function start(options: {
  store: MemoryStore;
  sink?: Sink;
  ops?: number;
  log?: ChangeSource;
  openSource?: (after: TabletPosition) => ChangeSource;
  lines?: LogLine[];
  startSink?: string;
  onAcked?: TabletReplicatorOptions['onAcked'];
  time?: bigint;
  kuduNow?: () => number;
  metrics?: ReplicationMetrics;
  format?: RecordFormat;
}): TabletReplicator {
  const { store, ops = 0, log } = options;
  const all = (after: TabletPosition): ChangeSource => new ScriptedLog(range(Number(after.opId.index) + 1, ops));
  return new TabletReplicator({
    stream: { name: 's', generation: 'g' },
    tablet: { tableId: 'table', tabletId: 'tablet' },
    start: {
      opId: MIN_OPID,
      tableName: 't',
      schemaVersion: 0,
      ...(options.time !== undefined && { time: options.time }),
    },
    startSink: options.startSink ?? '',
    announcesSchemaAt: MIN_OPID,
    onAcked: options.onAcked ?? (() => undefined),
    sink: options.sink ?? new MemorySink(store),
    openSource: options.openSource ?? ((after) => log ?? all(after)),
    format: options.format ?? formatOf((change) => [recordOf(change)]),
    arena: new ByteArena(1 << 10),
    schemas: 'speaks',
    limits: {
      maxBatchBytes: 30,
      maxQueuedBytes: 60,
      minWriteIntervalMs: 0,
      maxWriteIntervalMs: 100,
      positionIntervalMs: 10,
      positionRefreshMs: 60_000,
      retry: { baseMs: 1, capMs: 5 },
    },
    kuduNow: options.kuduNow ?? Date.now,
    metrics: options.metrics ?? NO_METRICS,
    logger: keepingLogger(options.lines),
  });
}

function readOf(index: number): ChangeRead {
  const opId = { term: 1n, index: BigInt(index) };
  const tablet = { tableId: 'table', tabletId: 'tablet', tableName: 't' };
  const after = { tableName: 't', schema: { columns: [] } };
  const change: Change = { kind: 'schema', tablet, opId, hybridTime: 0n, version: index, before: after, after };
  const read = { kind: 'changes' as const, position: { opId, tableName: 't', schemaVersion: 0 }, hybridTime: 0n };
  return { ...read, changes: [change], rejectedRows: 0, bytes: 10, onlyMarkers: false };
}

function recordOf({ opId, tablet }: Change): SinkRecord {
  const position = `${tablet.tabletId}/${opId.term}.${opId.index}.0`;
  return { kind: 'schema', table: tablet.tableName, key: NOTHING, value: NOTHING, position, timestampMs: 0 };
}

const NOTHING = Buffer.alloc(0);

function positionsIn(store: MemoryStore): number[] {
  return store.records.map(({ position }) => Number(position.split('.')[1]));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}
