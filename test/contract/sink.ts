import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { SinkRecord } from '../../src/change/record.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../../src/sinks/sink.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import { eventually } from '../support/eventually.ts';
import { batches } from '../support/record-batches.ts';
import { RecordBatch } from '../../src/change/record-batch.ts';

/** A record as whoever reads the sink finds it. */
export interface SeenRecord {
  readonly key: string;
  readonly value: string | null;
  readonly position: string;
  readonly timestampMs: number;
}

/** What a sink's own test provides. One store serves the whole suite; each case has a stream of its own in it. */
export interface SinkUnderTest {
  /** A sink of this stream, over the same store, as another process would make it. */
  open(streamName: string): Sink;
  /** All row records of the stream, each key's in order; at least `count` of them, and all that follow shortly after. */
  read(streamName: string, count: number): Promise<readonly SeenRecord[]>;
  /** Runs `work` while the store cannot be reached. */
  duringOutage(work: () => Promise<void>): Promise<void>;
}

export interface SinkPromises {
  /** Nothing twice, and nothing of a write that failed. Otherwise repeats are allowed, disorder and loss are not. */
  readonly exactlyOnce: boolean;
}

const TABLE = 'shop.orders';
/** Not long ago: a topic's retention goes by the records' own time. */
const START_MS = Date.now() - 3_600_000;
const TABLET = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';
const never = new AbortController().signal;

export function tabletOf(streamName: string, changes: Partial<SinkTablet> = {}): SinkTablet {
  return { streamName, streamGeneration: 'first', tabletId: TABLET, tableName: TABLE, ...changes };
}

export function positionAt(index: number): TabletPosition {
  return { opId: { term: 3n, index: BigInt(index) }, tableName: TABLE, schemaVersion: 2 };
}

/** The record of row 0 of operation 3.`index`, for a row `id`. */
export function recordAt(index: number, id = index, changes: Partial<SinkRecord> = {}): SinkRecord {
  return {
    kind: 'row',
    table: TABLE,
    key: Buffer.from(`{"id":${id}}`),
    value: Buffer.from(`{"op":"u","after":{"id":${id},"v":"ä ${index}"}}`),
    position: `${TABLET}/3.${index}.0`,
    timestampMs: START_MS + index,
    ...changes,
  };
}

/** The promises of src/sinks/sink.ts. Each sink runs them, under each delivery that it offers. */
export function describeSink(name: string, sut: () => SinkUnderTest, promises: SinkPromises): void {
  describe(`${name} keeps the contract of a sink`, () => {
    const freshStream = (): string => `s-${randomUUID().slice(0, 8)}`;

    it('keeps the order of each key, and every byte', async () => {
      const stream = freshStream();
      await using sink = sut().open(stream);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      const records = Array.from({ length: 60 }, (_, i) => recordAt(i + 1, i % 7));
      await writer.write(batches(records.slice(0, 20), [], records.slice(20, 30)), positionAt(30), never);
      await writer.write(batches(records.slice(30)), positionAt(60), never);
      const seen = await sut().read(stream, 60);
      for (let id = 0; id < 7; id++) {
        const key = `{"id":${id}}`;
        assert.deepEqual(
          seen.filter((record) => record.key === key),
          records.filter((record) => record.key.toString() === key).map(toSeen),
        );
      }
      assert.equal(seen.length, 60);
    });

    it('keeps no memory of a batch beyond its write', async () => {
      const stream = freshStream();
      await using sink = sut().open(stream);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      const records = Array.from({ length: 20 }, (_, i) => recordAt(i + 1, 5));
      for (let index = 1; index <= 20; index++) {
        const batch = RecordBatch.of([records[index - 1]!]);
        await writer.write([batch], positionAt(index), never);
        batch.runOf(0).bytes.fill('x');
      }
      assert.deepEqual(await sut().read(stream, 20), records.map(toSeen));
    });

    it('writes a tombstone behind its delete, with the same position', async () => {
      const stream = freshStream();
      await using sink = sut().open(stream);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      const gone = [recordAt(1, 5), recordAt(1, 5, { kind: 'tombstone', value: null })];
      await writer.write(batches(gone), positionAt(1), never);
      assert.deepEqual(await sut().read(stream, 2), gone.map(toSeen));
    });

    it('has no position at the first start, and says the last one after that', async () => {
      const stream = freshStream();
      {
        await using sink = sut().open(stream);
        await using writer = await sink.openTablet(tabletOf(stream), never);
        assert.equal(writer.position, null);
        await writer.write(batches([recordAt(1)]), positionAt(1), never);
        await writer.write(batches([recordAt(2)], [recordAt(3)]), positionAt(3), never);
      }
      await using sink = sut().open(stream);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      assert.deepEqual(writer.position, positionAt(3));
    });

    it('tells whenever the position moves that a successor would be told, where it has such', async () => {
      const stream = freshStream();
      let told: TabletPosition | null = null;
      await using sink = sut().open(stream);
      await using writer = await sink.openTablet(tabletOf(stream, { onSaved: (position) => (told = position) }), never);
      for (let index = 1; index <= 3; index++) await writer.write(batches([recordAt(index)]), positionAt(index), never);
      const last = writer.saved === undefined ? null : positionAt(3);
      await eventually('it is told', () => isDeepStrictEqual(told, last));
      assert.deepEqual(writer.saved ?? null, last);
    });

    it('moves the position without a record, however far', async () => {
      const stream = freshStream();
      const far: TabletPosition = {
        opId: { term: 1n << 40n, index: (1n << 62n) + 1n },
        tableName: 'shop.orders',
        schemaVersion: 7,
      };
      {
        await using sink = sut().open(stream);
        await using writer = await sink.openTablet(tabletOf(stream), never);
        await writer.write([], far, never);
      }
      await using sink = sut().open(stream);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      assert.deepEqual(writer.position, far);
      assert.deepEqual(await sut().read(stream, 0), []);
    });

    it('keeps tablets apart', async () => {
      const stream = freshStream();
      const other = tabletOf(stream, { tabletId: 'ffffffffffffffffffffffffffffffff' });
      {
        await using sink = sut().open(stream);
        await using one = await sink.openTablet(tabletOf(stream), never);
        await using two = await sink.openTablet(other, never);
        await Promise.all([
          one.write(batches([recordAt(1)]), positionAt(1), never),
          two.write(batches([recordAt(9)]), positionAt(9), never),
        ]);
      }
      await using sink = sut().open(stream);
      await using one = await sink.openTablet(tabletOf(stream), never);
      await using two = await sink.openTablet(other, never);
      assert.deepEqual([one.position, two.position], [positionAt(1), positionAt(9)]);
    });

    it('knows nothing of a stream of the same name that was deleted', async () => {
      const stream = freshStream();
      await using sink = sut().open(stream);
      {
        await using writer = await sink.openTablet(tabletOf(stream), never);
        await writer.write(batches([recordAt(8)]), positionAt(8), never);
      }
      const again = tabletOf(stream, { streamGeneration: 'second' });
      {
        await using writer = await sink.openTablet(again, never);
        assert.equal(writer.position, null);
        await writer.write(batches([recordAt(2)]), positionAt(2), never);
      }
      await using reopened = sut().open(stream);
      await using writer = await reopened.openTablet(again, never);
      assert.deepEqual(writer.position, positionAt(2));
    });

    it('fences the writer before: it cannot put an old value behind a new one (trap 33)', async () => {
      const stream = freshStream();
      await using oldSink = sut().open(stream);
      await using newSink = sut().open(stream);
      await using frozen = await oldSink.openTablet(tabletOf(stream), never);
      await frozen.write(batches([recordAt(1, 5)]), positionAt(1), never);
      await using successor = await newSink.openTablet(tabletOf(stream), never);
      if (promises.exactlyOnce) {
        assert.deepEqual(successor.position, positionAt(1));
        await assertFenced(frozen.write(batches([recordAt(2, 5)]), positionAt(2), never));
      }
      await successor.write(batches([recordAt(3, 5)]), positionAt(3), never);
      await assertFenced(frozen.write(batches([recordAt(2, 5)]), positionAt(2), never));
      await assertFenced(frozen.write(batches([recordAt(2, 5)]), positionAt(2), never));
      assert.deepEqual(await sut().read(stream, 2), [recordAt(1, 5), recordAt(3, 5)].map(toSeen));
    });

    it('takes slices as it sends them, so that an operation of any size fits', async () => {
      const stream = freshStream();
      await using sink = sut().open(stream);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      const rows = 20_000;
      function* slices(): Generator<RecordBatch> {
        for (let at = 0; at < rows; at += 2_000)
          yield RecordBatch.of(
            Array.from({ length: 2_000 }, (_, i) => recordAt(1, at + i, { position: `${TABLET}/3.1.${at + i}` })),
          );
      }
      await writer.write(slices(), positionAt(1), never);
      const seen = await sut().read(stream, rows);
      assert.equal(seen.length, rows);
      assert.equal(new Set(seen.map((record) => record.position)).size, rows);
    });

    it('rejects at once when it is told to stop, and the next writer goes on from what is there', async () => {
      const stream = freshStream();
      await using sink = sut().open(stream);
      let stopped: TabletWriter | null = await sink.openTablet(tabletOf(stream), never);
      await stopped.write(batches([recordAt(1)]), positionAt(1), never);
      const stop = new AbortController();
      function* slices(): Generator<RecordBatch> {
        yield RecordBatch.of([recordAt(2)]);
        stop.abort();
        yield RecordBatch.of([recordAt(3)]);
      }
      await assert.rejects(stopped.write(slices(), positionAt(3), stop.signal), SinkError);
      await stopped[Symbol.asyncDispose]();
      stopped = null;
      await using writer = await sink.openTablet(tabletOf(stream), never);
      // What was on its way may have got there: all of it, or nothing.
      if (writer.position?.opId.index !== 3n) {
        assert.deepEqual(writer.position, positionAt(1));
        await writer.write(batches([recordAt(2), recordAt(3)]), positionAt(3), never);
      }
      const seen = await sut().read(stream, 3);
      assertComplete(seen, 3, promises);
    });

    it('says that the store cannot be reached, and loses nothing when it is back', async () => {
      const stream = freshStream();
      await using sink = sut().open(stream);
      await sink.check(never);
      const cut = await sink.openTablet(tabletOf(stream), never);
      await cut.write(batches([recordAt(1, 0)]), positionAt(1), never);
      await sut().duringOutage(async () => {
        await assertUnavailable(cut.write(batches([recordAt(2, 0)]), positionAt(2), never));
        await assertUnavailable(sink.openTablet(tabletOf(stream), never));
        await assertUnavailable(sink.check(never));
      });
      await cut[Symbol.asyncDispose]();
      await using writer = await openWhenBack(sink, tabletOf(stream));
      const arrived = Number(writer.position?.opId.index ?? 0n);
      for (let index = arrived + 1; index <= 4; index++)
        await writer.write(batches([recordAt(index, 0)]), positionAt(index), never);
      const seen = await sut().read(stream, 4);
      assertComplete(seen, 4, promises);
      await sink.check(never);
    });
  });
}

/** Each of the operations 1 .. `last` is there, in order for each key; once where that is promised. */
export function assertComplete(seen: readonly SeenRecord[], last: number, promises: SinkPromises): void {
  const indexes = seen.map((record) => Number(record.position.split('.')[1]));
  assert.deepEqual(
    [...new Set(indexes)].sort((a, b) => a - b),
    Array.from({ length: last }, (_, i) => i + 1),
  );
  if (promises.exactlyOnce) assert.equal(indexes.length, last, `each once, but got ${indexes.join(' ')}`);
  const highest = new Map<string, number>();
  for (const [i, { key }] of seen.entries()) {
    const before = highest.get(key) ?? 0;
    // A repeat goes back and comes forward again; the last word is the newest.
    if (promises.exactlyOnce) assert.ok(indexes[i]! > before, `key ${key}: ${indexes[i]} behind ${before}`);
    highest.set(key, indexes[i]!);
  }
  for (const [key, index] of highest)
    assert.equal(index, Math.max(...indexes.filter((_, i) => seen[i]!.key === key)), `key ${key} ends with its newest`);
}

async function assertFenced(write: Promise<void>): Promise<void> {
  await assert.rejects(write, (error) => error instanceof SinkError && error.kind === 'fenced');
}

async function assertUnavailable(work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => error instanceof SinkError && error.kind === 'unavailable');
}

/** As the core does: again and again while it is unavailable. */
export async function openWhenBack(sink: Sink, tablet: SinkTablet): Promise<TabletWriter> {
  for (const deadline = performance.now() + 60_000; ;) {
    try {
      return await sink.openTablet(tablet, never);
    } catch (error) {
      if (!(error instanceof SinkError) || error.kind === 'refused' || performance.now() > deadline) throw error;
    }
  }
}

function toSeen(record: SinkRecord): SeenRecord {
  return {
    key: record.key.toString(),
    value: record.value?.toString() ?? null,
    position: record.position,
    timestampMs: record.timestampMs,
  };
}
