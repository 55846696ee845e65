import assert from 'node:assert/strict';
import { isUpTo, type TabletPosition } from '../../src/change/position.ts';
import { RecordBatch } from '../../src/change/record-batch.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../../src/sinks/sink.ts';
import { isOfKind, openWhenBack } from './sink-checks.ts';
import type { SinkKit } from './sink-kit.ts';
import { never, positionAt, recordAt, tabletOf, toSeen, type SeenRecord } from './sink-records.ts';

const KEYS = 4;
const MAX_ATTEMPTS = 50;

/**
 * The made-up log of one tablet: operations 1, 2, 3 …, each of one to three rows over four keys, which are this tablet's alone
 * as Kudu's are. Every fifth one deletes: its rows have tombstones.
 */
export class TabletLog {
  readonly tablet: SinkTablet;
  readonly #letter: string;

  /** @param number of the tablet among those of the stream */
  constructor(streamName: string, number = 0, changes: Partial<SinkTablet> = {}) {
    this.#letter = String.fromCharCode(97 + (number % 26));
    this.tablet = tabletOf(streamName, { tabletId: number.toString(16).padStart(32, 'a'), ...changes });
  }

  recordsOf(index: number): readonly (readonly [row: number, record: SinkRecord])[] {
    const isDelete = index % 5 === 0;
    return Array.from({ length: 1 + (index % 3) }, (_, row) => {
      const id = (index + row) % KEYS;
      const record = recordAt(index, id, {
        key: Buffer.from(`{"id":"${this.#letter}${id}"}`),
        value: Buffer.from(`{"op":"${isDelete ? 'd' : 'u'}","v":"${this.#letter} ${index}.${row}"}`),
        position: `${this.tablet.tabletId}/3.${index}.${row}`,
      });
      const both = isDelete ? [record, { ...record, kind: 'tombstone' as const, value: null }] : [record];
      return both.map((one) => [row, one] as const);
    }).flat();
  }

  /** The records behind a position, up to an operation: a batch for each operation, made when it is taken, as the core does. */
  batches(from: TabletPosition | null, last: number): LentBatches {
    return new LentBatches(this, from, last);
  }

  /** All that must be there of operations 1 .. `last`. */
  expected(last: number): readonly SeenRecord[] {
    return Array.from({ length: last }, (_, i) => this.recordsOf(i + 1).map(([, record]) => toSeen(record))).flat();
  }

  /** Of what was read from the stream, whatever is this tablet's. */
  ownOf(seen: readonly SeenRecord[]): readonly SeenRecord[] {
    return seen.filter(({ position }) => position.startsWith(`${this.tablet.tabletId}/`));
  }
}

/** Batches whose bytes are the sink's until its write has resolved. */
class LentBatches implements Iterable<RecordBatch> {
  readonly #log: TabletLog;
  readonly #from: TabletPosition | null;
  readonly #last: number;
  #lent: RecordBatch[] = [];

  constructor(log: TabletLog, from: TabletPosition | null, last: number) {
    this.#log = log;
    this.#from = from;
    this.#last = last;
  }

  *[Symbol.iterator](): Generator<RecordBatch> {
    this.#lent = [];
    const { opId, upTo } = this.#from ?? { opId: { index: 0n } };
    for (let index = Number(opId.index) + 1; index <= this.#last; index++) {
      const records = this.#log
        .recordsOf(index)
        .filter(([row]) => upTo === undefined || !isUpTo({ index: BigInt(index), row }, upTo));
      const batch = RecordBatch.of(records.map(([, record]) => record));
      this.#lent.push(batch);
      yield batch;
    }
  }

  /** The write has resolved: the core writes over them. */
  writeOver(): void {
    for (const batch of this.#lent) for (let i = 0; i < batch.length; i++) batch.runOf(i).bytes.fill('x');
  }
}

interface OpenTablet {
  readonly writer: TabletWriter;
  at: TabletPosition | null;
}

/** Ships made-up logs into a sink as the core of one process does. */
export class Sidecar {
  readonly sink: Sink;
  readonly #kit: SinkKit;
  readonly #tablets = new Map<TabletLog, OpenTablet>();

  constructor(kit: SinkKit, streamName: string) {
    this.#kit = kit;
    this.sink = kit.open(streamName);
  }

  /** Whether it has a writer of this tablet, fenced or not. */
  has(log: TabletLog): boolean {
    return this.#tablets.has(log);
  }

  /** Up to which operation it has written, or was told that it is written. */
  indexOf(log: TabletLog): number {
    return Number(this.#tablets.get(log)?.at?.opId.index ?? 0n);
  }

  /** @returns the position that the writer says */
  async open(log: TabletLog): Promise<TabletPosition | null> {
    await this.close(log);
    const writer = await openWhenBack(this.sink, log.tablet);
    this.#tablets.set(log, { writer, at: writer.position });
    return writer.position;
  }

  /** Writes what follows, up to an operation. After a rejection the writer is there as before: a case may go on with it. */
  async write(log: TabletLog, last: number, signal: AbortSignal = never): Promise<void> {
    const open = this.#tablets.get(log);
    assert.ok(open, 'a write without a writer');
    const batches = log.batches(open.at, last);
    await open.writer.write(batches, positionAt(last), signal);
    open.at = positionAt(last);
    batches.writeOver();
  }

  /** As the core does: what is unavailable is tried again with another writer. @throws {SinkError} it is anything else */
  async ship(log: TabletLog, last: number): Promise<void> {
    for (let attempt = 1; ; attempt++)
      try {
        if (!this.has(log)) await this.open(log);
        if (this.indexOf(log) < last) await this.write(log, last);
        return;
      } catch (error) {
        if (!isOfKind(error, 'unavailable') || attempt === MAX_ATTEMPTS) throw error;
        await this.close(log);
      }
  }

  async close(log: TabletLog): Promise<void> {
    const open = this.#tablets.get(log);
    this.#tablets.delete(log);
    await open?.writer[Symbol.asyncDispose]();
  }

  /** A clean stop. */
  async stop(): Promise<void> {
    for (const log of [...this.#tablets.keys()]) await this.close(log);
    await this.#kit.close(this.sink);
  }

  /** The process dies: nothing is closed. */
  async kill(): Promise<void> {
    this.#tablets.clear();
    await this.#kit.kill(this.sink);
  }
}

/** How a write ended that may have done either. @throws what is no {@link SinkError} */
export async function outcomeOf(work: Promise<void>): Promise<'written' | SinkError> {
  try {
    await work;
    return 'written';
  } catch (error) {
    if (error instanceof SinkError) return error;
    throw error;
  }
}

/** All that was to be in the stream is, in order for each key; once where that is promised. */
export async function assertShipped(
  kit: SinkKit,
  streamName: string,
  logs: readonly (readonly [log: TabletLog, last: number])[],
  exactlyOnce = kit.promises.exactlyOnce,
): Promise<void> {
  const all = logs.map(([log, last]) => ({ log, expected: log.expected(last) }));
  const total = all.reduce((sum, { expected }) => sum + expected.length, 0);
  const seen = await kit.sut.read(streamName, total);
  for (const { log, expected } of all) assertSame(log, log.ownOf(seen), expected, exactlyOnce);
  const strange = seen.filter((record) => all.every(({ log }) => log.ownOf([record]).length === 0));
  assert.deepEqual(strange, [], 'records of nobody');
}

function assertSame(
  { tablet: { tabletId } }: TabletLog,
  seen: readonly SeenRecord[],
  expected: readonly SeenRecord[],
  exactlyOnce: boolean,
): void {
  const [byKey, mustBe] = [groupByKey(seen), groupByKey(expected)];
  assert.deepEqual([...byKey.keys()].sort(), [...mustBe.keys()].sort(), `the keys of tablet ${tabletId}`);
  for (const [key, records] of mustBe) {
    const got = byKey.get(key)!;
    if (exactlyOnce) assert.deepEqual(got, records, `key ${key} of tablet ${tabletId}`);
    else assertOnlyRepeats(key, got, records);
  }
}

/** A repeat goes back to what is there, and comes forward again: nothing is skipped, and the last word is the newest. */
function assertOnlyRepeats(key: string, seen: readonly SeenRecord[], expected: readonly SeenRecord[]): void {
  const places = new Map(expected.map((record, place) => [JSON.stringify(record), place]));
  let highest = -1;
  let last = -1;
  for (const record of seen) {
    const place = places.get(JSON.stringify(record));
    assert.ok(place !== undefined, `key ${key}: nobody wrote ${JSON.stringify(record)}`);
    assert.ok(place <= highest + 1, `key ${key}: ${record.position} comes before what is ahead of it`);
    highest = Math.max(highest, place);
    last = place;
  }
  assert.equal(last, expected.length - 1, `key ${key} ends with its newest`);
}

function groupByKey(records: readonly SeenRecord[]): Map<string, SeenRecord[]> {
  const groups = new Map<string, SeenRecord[]>();
  for (const record of records) {
    const group = groups.get(record.key);
    if (group) group.push(record);
    else groups.set(record.key, [record]);
  }
  return groups;
}
