import type { HybridTime } from '../../src/kudu/hybrid-time.ts';
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TableSchema, DataType } from '../../src/kudu/schema.ts';
import { encodeMarker, type ApplyMarker, type MarkedStream } from '../../src/change/apply-marker.ts';
import { MarkerError, type MarkerWriter } from '../../src/keeping/marker-writing.ts';
import type { LetGoCandidate } from '../../src/keeping/free-space.ts';
import type { ReplicaHold } from '../../src/keeping/replica-hold.ts';
import { furthestStart, ReplicaKeeper } from '../../src/keeping/replica-keeper.ts';
import type { LogFeed, LogChunk } from '../../src/wal/log-reader.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import { readSegmentStart, type SegmentHeader } from '../../src/wal/segment-format.ts';
import { SpoorError } from '../../src/errors.ts';
import { steadyNow } from '../../src/util/steady-clock.ts';
import { eventually } from '../support/eventually.ts';
import { opId, replicate, writeExtension } from '../support/log-entries.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { headerBytes } from '../support/segment-bytes.ts';

const SCHEMA: TableSchema = {
  columns: [
    { id: 1, name: 'k', type: DataType.INT32, isKey: true, nullable: false },
  ] as unknown as TableSchema['columns'],
};
const SINK = 'kafka:cluster';
const SURE = { isSure: true };

function positionAt(index: number): TabletPosition {
  return { opId: opId(1, index), tableName: 't', schemaVersion: 0 };
}
function marked(generation: string, index: number): MarkedStream {
  return { generation, position: positionAt(index), sink: SINK };
}
function markerEntry(index: number, ...streams: MarkedStream[]): LogChunk {
  const extension = encodeMarker({ sidecar: 'other', streams });
  return { kind: 'entries', entries: [writeExtension(opId(1, index), SCHEMA, extension)], bytes: 100 };
}

const SEGMENT: LogChunk = { kind: 'segment', header: readHeader(), restarted: true };

function readHeader(): SegmentHeader {
  const start = readSegmentStart(headerBytes());
  assert.ok(start.kind === 'header');
  return start.header;
}

/** A log that gives what it is told. */
class ScriptedFeed implements LogFeed {
  readonly #chunks: (LogChunk | Error)[] = [];
  #wake: () => void = () => undefined;

  tell(...chunks: (LogChunk | Error)[]): void {
    this.#chunks.push(...chunks);
    this.#wake();
  }

  async next(): Promise<LogChunk> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk instanceof Error) throw chunk;
      if (chunk) return chunk;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wake();
    await Promise.resolve();
  }
}

/** Counts what is let go of, and stands for however much it is told to. */
class CountingHold implements ReplicaHold {
  bytes = 0;
  oldestAtMs: number | null = null;
  firstIndex: bigint | null = 1n;
  readonly released: bigint[] = [];
  lost: { fromIndex: bigint; toIndex: bigint } | null = null;

  release(index: bigint): void {
    this.released.push(index);
  }
  letGo(): { fromIndex: bigint; toIndex: bigint } | null {
    this.bytes = 0;
    return this.lost;
  }
  letGoQueue(): readonly LetGoCandidate[] {
    return [];
  }
  drop(): void {
    this.bytes = 0;
  }
  note: string | null = null;
  describe(note: string): void {
    this.note = note;
  }
}

class ScriptedMarkers implements MarkerWriter {
  readonly written: ApplyMarker[] = [];
  readonly failures: Error[] = [];

  async write(_tablet: object, marker: ApplyMarker): Promise<HybridTime> {
    const failure = this.failures.shift();
    await sleep(1);
    if (failure) throw failure;
    this.written.push(marker);
    return BigInt(this.written.length);
  }
}

function keep(
  t: TestContext,
  options: {
    maxBytes?: number;
    maxAgeMs?: number;
    lines?: LogLine[];
    intervalMs?: number;
    releaseDelayMs?: number;
    onNewTerm?: () => void;
    /** The replica is being copied: there is a folder, and nothing in it that can be read. */
    isCopied?: boolean;
  } = {},
) {
  const [feed, hold, markers] = [new ScriptedFeed(), new CountingHold(), new ScriptedMarkers()];
  const keeper = new ReplicaKeeper({
    tabletId: 'tablet',
    openLog: (signal) => {
      signal.addEventListener('abort', () => {
        feed.tell(new Error('closed'));
      });
      if (options.isCopied !== true) feed.tell(SEGMENT);
      return feed;
    },
    hold,
    markers,
    sidecarId: 'us',
    limits: { markerIntervalMs: options.intervalMs ?? 5, retry: { baseMs: 2, capMs: 10 } },
    releaseDelayMs: options.releaseDelayMs ?? 0,
    maxBytes: options.maxBytes ?? 0,
    maxAgeMs: options.maxAgeMs ?? 0,
    onMarkerWritten: () => undefined,
    onNewTerm: options.onNewTerm ?? (() => undefined),
    logger: keepingLogger(options.lines),
  });
  t.after(() => keeper[Symbol.asyncDispose]());
  return { feed, hold, markers, keeper };
}

describe('the keeper of a replica', () => {
  it('lets nothing go before the log was read once, and then what the markers in it allow', async (t) => {
    const { feed, hold, keeper } = keep(t);
    keeper.setStreams(
      'table',
      [
        { generation: 'one', startIndex: 3n },
        { generation: 'two', startIndex: 5n },
      ],
      SURE,
    );
    feed.tell(markerEntry(20, marked('one', 18), marked('two', 9)));
    await eventually('the marker is read', () => keeper.marked('one') !== null);
    assert.deepEqual([hold.released, keeper.caughtUp], [[], false]);
    feed.tell({ kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    await eventually('something is let go of', () => hold.released.length === 1);
    assert.deepEqual(hold.released, [9n], 'up to the one that is furthest behind');
    feed.tell(markerEntry(21, marked('two', 12)), markerEntry(22, marked('two', 11)));
    await eventually('more is let go of', () => hold.released.length === 2);
    assert.deepEqual(hold.released, [9n, 12n], 'an older marker takes nothing back');
    feed.tell(markerEntry(23, marked('two', 23), marked('one', 90)));
    feed.tell(markerEntry(24, marked('two', 13)));
    await eventually('the next one is read', () => hold.released.length === 3);
    assert.deepEqual(hold.released, [9n, 12n, 13n], 'a marker that speaks of what comes after it is none of ours');
  });

  it('writes what was acknowledged, and lets go only when that is written', async (t) => {
    const { feed, hold, markers, keeper } = keep(t);
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    feed.tell({ kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    markers.failures.push(new MarkerError('not-leader', 'no leader'), new MarkerError('retry', 'busy'));
    keeper.acked('one', positionAt(7), 7n, SINK);
    assert.deepEqual(hold.released, []);
    await eventually('the marker is written', () => markers.written.length === 1);
    assert.deepEqual(markers.written, [{ sidecar: 'us', streams: [marked('one', 7)] }]);
    await eventually('it is let go of', () => hold.released.length === 1);
    assert.deepEqual(hold.released, [7n]);
  });

  it('keeps what a stream needs that is made before it is let go of', async (t) => {
    const { feed, hold, keeper } = keep(t, { releaseDelayMs: 100 });
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    feed.tell(markerEntry(20, marked('one', 18)), { kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    keeper.setStreams(
      'table',
      [
        { generation: 'one', startIndex: 0n },
        { generation: 'new', startIndex: 12n },
      ],
      SURE,
    );
    await eventually('something is let go of', () => hold.released.length === 1);
    assert.deepEqual(hold.released, [12n]);
  });

  it('tells of each term that begins, once it has read where it stood', async (t) => {
    let terms = 0;
    const { feed, keeper } = keep(t, { onNewTerm: () => terms++ });
    const entry = (term: number, index: number) => ({
      kind: 'entries' as const,
      entries: [replicate(opId(term, index))],
      bytes: 1,
    });
    feed.tell(entry(1, 1), entry(2, 2), { kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    assert.equal(terms, 0, 'that is history');
    feed.tell(entry(2, 3), entry(3, 4), entry(3, 5), entry(2, 6), entry(5, 6));
    await eventually('the last is read', () => terms === 2);
    await sleep(10);
    assert.equal(terms, 2, 'of each once');
  });

  it('begets no marker by a marker', async (t) => {
    const { feed, markers, keeper } = keep(t);
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    feed.tell({ kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    keeper.acked('one', positionAt(7), 7n, SINK);
    await eventually('the marker is written', () => markers.written.length === 1);
    keeper.acked('one', positionAt(8), 7n, SINK); // 8 is the marker
    await sleep(30);
    assert.equal(markers.written.length, 1);
  });

  it('writes what is due when shipping ends or it is flushed, whatever the interval', async (t) => {
    const { feed, markers, keeper } = keep(t, { intervalMs: 60_000 });
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    feed.tell({ kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    keeper.acked('one', positionAt(7), 7n, SINK);
    await eventually('the first marker goes at once', () => markers.written.length === 1);
    keeper.acked('one', positionAt(9), 9n, SINK);
    await sleep(20);
    assert.equal(markers.written.length, 1);
    keeper.shippingEnded('one');
    await keeper.flush(AbortSignal.timeout(5_000));
    assert.deepEqual(markers.written.at(-1)?.streams, [marked('one', 9)]);
  });

  it('says of a bounded hold what is lost of what a stream still needs', async (t) => {
    const { feed, hold, keeper } = keep(t, { maxBytes: 1_000 });
    keeper.setStreams('table', [{ generation: 'one', startIndex: 4n }], SURE);
    feed.tell({ kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    hold.bytes = 900;
    assert.equal(keeper.enforceLimits(Date.now()), null);
    hold.bytes = 1_100;
    hold.lost = { fromIndex: 1n, toIndex: 3n };
    assert.equal(keeper.enforceLimits(Date.now()), null, 'nothing that is needed');
    hold.bytes = 1_100;
    hold.lost = { fromIndex: 1n, toIndex: 30n };
    const lost = keeper.enforceLimits(Date.now());
    assert.deepEqual([lost?.fromIndex, lost?.toIndex], [5n, 30n]);
    assert.match(lost!.why, /1100 bytes were held, SPOOR_HOLD_MAX_BYTES is 1000/);
  });

  it("holds what is not old, and goes on marking, whatever the machine's clock is set to", async (t) => {
    const { feed, hold, markers, keeper } = keep(t, { maxAgeMs: 60_000, intervalMs: 10 });
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    feed.tell({ kind: 'idle' });
    await eventually('it is caught up', () => keeper.caughtUp);
    const realNow = Date.now.bind(Date);
    hold.oldestAtMs = realNow() - 1_000;
    hold.lost = { fromIndex: 1n, toIndex: 30n };
    let [index, setByMs] = [0, 0];
    t.mock.method(Date, 'now', () => realNow() + setByMs);
    for (setByMs of [86_400_000, -3_600_000]) {
      assert.equal(keeper.enforceLimits(steadyNow()), null);
      for (let more = 0; more < 2; more++) {
        keeper.acked('one', positionAt(++index), BigInt(index), SINK);
        await eventually('a marker says so', () => keeper.marked('one')?.position.opId.index === BigInt(index));
      }
    }
    assert.equal(markers.written.length, 4);
    setByMs = 0;
    hold.oldestAtMs = realNow() - 61_000;
    assert.equal(keeper.enforceLimits(steadyNow())?.toIndex, 30n);
  });

  it('does not know where streams go on while its log cannot be read: says so once, and holds on', async (t) => {
    const lines: LogLine[] = [];
    const { feed, hold, keeper } = keep(t, { lines });
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    feed.tell(new Error('torn'));
    await eventually('it is said', () => lines.some(({ level }) => level === 'warn'));
    assert.equal(keeper.unreadable?.message, 'torn');
    assert.equal(keeper.caughtUp, false);
    feed.tell(SEGMENT, markerEntry(9, marked('one', 8)), { kind: 'idle' });
    await eventually('it is read after all', () => keeper.caughtUp);
    assert.equal(keeper.unreadable, null);
    assert.equal(keeper.marked('one')?.position.opId.index, 8n);
    assert.deepEqual(lines.filter(({ level }) => level === 'warn').length, 1);
    assert.deepEqual(
      hold.released.filter((index) => index > 8n),
      [],
    );
  });

  it('does not know where streams go on before a replica that is being copied has its log', async (t) => {
    const { feed, keeper } = keep(t, { isCopied: true });
    feed.tell({ kind: 'idle' });
    await sleep(30);
    assert.equal(keeper.caughtUp, false);
    feed.tell(SEGMENT, markerEntry(9, marked('one', 8)), { kind: 'idle' });
    await eventually('it is read', () => keeper.caughtUp);
    assert.equal(keeper.marked('one')?.position.opId.index, 8n);
  });

  it('lets whoever ships meet a fault that will not pass', async (t) => {
    const { feed, keeper } = keep(t);
    feed.tell(new SpoorError('SPOOR_WAL_ENCRYPTED', 'wal-000000001 is encrypted'));
    await eventually('it is taken as it is', () => keeper.caughtUp);
    assert.equal(keeper.unreadable?.code, 'SPOOR_WAL_ENCRYPTED');
  });

  it('keeps what is safe while it is not sure which streams there are, with one timer however often more is', async (t) => {
    const { feed, hold, keeper } = keep(t, { releaseDelayMs: 20 });
    const timers = t.mock.method(globalThis, 'setTimeout');
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], { isSure: false });
    feed.tell({ kind: 'idle' });
    for (let index = 2; index < 200; index++) feed.tell(markerEntry(index, marked('one', index - 1)), { kind: 'idle' });
    await eventually('all is read', () => keeper.marked('one')?.position.opId.index === 198n);
    await sleep(60);
    assert.deepEqual(hold.released, []);
    assert.ok(timers.mock.callCount() < 50, `${timers.mock.callCount()} timers`);
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    await eventually('it is let go of', () => hold.released.at(-1) === 198n);
  });

  it('lets go of nothing for a while when another stream is about to be made', async (t) => {
    const { feed, hold, keeper } = keep(t, { releaseDelayMs: 5 });
    keeper.pinFor(300);
    keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
    feed.tell(markerEntry(9, marked('one', 8)), { kind: 'idle' });
    await sleep(100);
    assert.deepEqual(hold.released, []);
    await eventually('then it does', () => {
      keeper.setStreams('table', [{ generation: 'one', startIndex: 0n }], SURE);
      return hold.released.at(-1) === 8n;
    });
  });
});

describe('where a stream goes on', () => {
  it('is its start or its marker, whichever is further', () => {
    assert.deepEqual(furthestStart(positionAt(5), null), positionAt(5));
    assert.deepEqual(furthestStart(positionAt(5), positionAt(4)), positionAt(5));
    assert.deepEqual(furthestStart(positionAt(5), positionAt(6)), positionAt(6));
  });
});
