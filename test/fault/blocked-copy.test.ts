import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileJson } from '../../src/formats/json.ts';
import { ByteArena } from '../../src/util/byte-arena.ts';
import { TabletReplicator } from '../../src/shipping/tablet-replicator.ts';
import { SinkError, type Sink } from '../../src/sinks/sink.ts';
import { Slots } from '../../src/util/slots.ts';
import { MemoryCopier, START, marker, openCopied } from '../support/copied-table.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger } from '../support/loggers.ts';
import { MemorySink, MemoryStore } from '../support/memory-sink.ts';
import { NO_METRICS } from '../support/no-metrics.ts';
import { batches } from '../support/record-batches.ts';

/** The replicator and the source of a copy as they are, over a sink that refuses one row of some tablets. */
describe('a copy that its sink refuses', () => {
  it('leaves its turn to the other tables, and goes on where it stopped when the sink takes its row', async () => {
    const store = new MemoryStore();
    const poisoned = new Set(['a', 'b']);
    const copySlots = new Slots(2);
    const replicators = ['a', 'b', 'c', 'd'].map((name) => copying(name, store, poisoned, copySlots));
    const [a, b, c, d] = replicators;
    await eventually(
      'the healthy ones are copied',
      () => [c, d].every((r) => r!.view(Date.now()).state === 'running'),
      15_000,
    );
    for (const sick of [a!, b!]) {
      const { state, error } = sick.view(Date.now());
      assert.equal(state, 'blocked');
      assert.match(error.message, /key \{"k":2\}/);
    }
    poisoned.clear();
    await eventually(
      'the others are copied',
      () => [a, b].every((r) => r!.view(Date.now()).state === 'running'),
      15_000,
    );
    await Promise.all(replicators.map((replicator) => replicator.stop()));
    const rows = (table: string): string[] =>
      store.records.filter((r) => r.table === table && r.kind === 'row').map(({ key }) => key.toString());
    for (const table of ['a', 'b', 'c', 'd'])
      assert.deepEqual(rows(table), ['{"k":1}', '{"k":2}', '{"k":3}'], `each row of ${table} once`);
  });

  it('says that it waits for a turn, and never that it is stalled for that', async () => {
    const copySlots = new Slots(1);
    const giveBack = await copySlots.acquire(new AbortController().signal);
    const replicator = copying('a', new MemoryStore(), new Set(), copySlots);
    replicator.noteCommitted({ term: 1n, index: 7n });
    await eventually('it waits', () => replicator.view(Date.now()).waiting?.for.startsWith('a turn among'));
    const { state, waiting } = replicator.view(Date.now() + 60_000);
    assert.equal(state, 'base-copy');
    assert.ok(Date.parse(waiting.since) <= Date.now());
    giveBack();
    await eventually('it is copied', () => replicator.view(Date.now()).applyOpId === '1.7');
    await replicator.stop();
  });
});

function copying(name: string, store: MemoryStore, poisoned: ReadonlySet<string>, copySlots: Slots): TabletReplicator {
  const inner = new MemorySink(store);
  const sink: Sink = {
    openTablet: async (...args) => {
      const writer = await inner.openTablet(...args);
      return {
        position: writer.position,
        write: (slices, position, signal) => {
          const records = Array.from(slices, (batch) => [...batch]).flat();
          const refused = records.find(({ key }) => poisoned.has(name) && key.toString() === '{"k":2}');
          if (refused) return Promise.reject(new SinkError('refused', `too large: key ${refused.key.toString()}`));
          return writer.write(batches(records), position, signal);
        },
        [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
      };
    },
    check: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const json = compileJson({ streamName: 's', version: '0', tombstones: false });
  return new TabletReplicator({
    stream: { name: 's', generation: 'g' },
    tablet: { tableId: name, tabletId: name },
    start: { ...START, tableName: name, copy: 'wanted' },
    startSink: '',
    announcesSchemaAt: START.opId,
    onAcked: () => undefined,
    sink,
    openSource: (from) => openCopied([marker(7)], { from, copySlots, copier: new NamedCopier(name) }, 'waits'),
    format: json,
    arena: new ByteArena(1 << 16),
    schemas: 'speaks',
    limits: {
      maxBatchBytes: 1,
      maxQueuedBytes: 1,
      minWriteIntervalMs: 0,
      maxWriteIntervalMs: 100,
      positionIntervalMs: 10,
      positionRefreshMs: 60_000,
      retry: { baseMs: 1, capMs: 20 },
    },
    kuduNow: Date.now,
    metrics: NO_METRICS,
    logger: keepingLogger(),
  });
}

class NamedCopier extends MemoryCopier {
  readonly #name: string;

  constructor(name: string) {
    super([1, 2, 3], 7);
    this.#name = name;
  }

  override async makeCut() {
    return { ...(await super.makeCut()), tableName: this.#name };
  }
}
