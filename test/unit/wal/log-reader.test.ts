import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SpoorError, type ErrorCode } from '../../../src/errors.ts';
import { formatOpId } from '../../../src/kudu/opid.ts';
import { ByteBudget } from '../../../src/util/byte-budget.ts';
import { TabletLogReader, type LogChunk } from '../../../src/wal/log-reader.ts';
import type { SegmentNews } from '../../../src/wal/segment-source.ts';
import { encryptedSegment } from '../../support/golden-wal.ts';
import { eventually } from '../../support/eventually.ts';
import { MemorySegment } from '../../support/memory-segment.ts';
import { ScriptedSource } from '../../support/scripted-source.ts';
import { batchBytes, batchPayload, headerBytes, segmentBytes } from '../../support/segment-bytes.ts';

function setUp(): { source: ScriptedSource; reader: TabletLogReader; stop: AbortController } {
  const source = new ScriptedSource();
  const stop = new AbortController();
  return { source, reader: new TabletLogReader(source, { signal: stop.signal }), stop };
}
const news = (file: MemorySegment): SegmentNews => ({ kind: 'segment', file });
const OVER: SegmentNews = { kind: 'over' };
const GONE: SegmentNews = { kind: 'gone' };

const waiting = new WeakMap<TabletLogReader, Promise<LogChunk>>();

/** What comes now: `+1` a segment that goes on, `|1` one that begins anew, OpIds, other chunks; idle is left out. */
async function drain(reader: TabletLogReader, damage: (Error | undefined)[] = []): Promise<string> {
  const words: string[] = [];
  for (;;) {
    const next = waiting.get(reader) ?? reader.next();
    waiting.set(reader, next);
    const chunk = await Promise.race([next, settled()]);
    if (chunk === null) return words.join(' ');
    waiting.delete(reader);
    switch (chunk.kind) {
      case 'segment':
        words.push(`${chunk.restarted ? '|' : '+'}${chunk.header.sequenceNumber}`);
        break;
      case 'entries':
        words.push(...chunk.entries.map((e) => `${e.kind === 'replicate' ? 'R' : 'C'}${formatOpId(e.opId)}`));
        break;
      case 'missing':
        words.push(`missing ${chunk.from}-${chunk.until}`);
        damage.push(chunk.damage);
        break;
      case 'gone':
        words.push('gone');
        break;
      case 'idle':
        break;
    }
  }
}
/** Null, once all that can happen without something new from outside has happened. */
async function settled(): Promise<null> {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  return null;
}
const open = (number: number, ...scripts: string[]): MemorySegment =>
  new MemorySegment(segmentBytes(scripts, { sequenceNumber: number }), number);
const closed = (number: number, ...scripts: string[]): MemorySegment =>
  new MemorySegment(segmentBytes(scripts, { sequenceNumber: number, closed: true }), number);
const rejectsWith = (code: ErrorCode, pattern: RegExp) => (error: unknown) =>
  error instanceof SpoorError && error.code === code && pattern.test(error.message);

describe('TabletLogReader', () => {
  it('reads segment after segment, says idle once, and then waits for more', async () => {
    const { source, reader } = setUp();
    const second = open(2, 'C1.1');
    source.tell(news(closed(1, 'R1.1 R1.2')), news(second));
    const kinds: string[] = [];
    for (let i = 0; i < 5; i++) kinds.push((await reader.next()).kind);
    assert.deepEqual(kinds, ['segment', 'entries', 'segment', 'entries', 'idle']);
    let answered = false;
    const next = reader.next().finally(() => (answered = true));
    source.tell(); // a notification about nothing
    await settled();
    assert.equal(answered, false);
    second.bytes = segmentBytes(['C1.1', 'C1.2'], { sequenceNumber: 2 });
    source.tell();
    const chunk = await next;
    assert.ok(chunk.kind === 'entries');
    assert.equal(chunk.entries.length, 1);
    assert.ok(chunk.bytes > 16);
    assert.equal((await reader.next()).kind, 'idle');
  });

  it('begins with the lowest segment there is: GC has the ones before', async () => {
    const { source, reader } = setUp();
    source.tell(news(open(17, 'R1.100')));
    assert.equal(await drain(reader), '|17 R1.100');
  });

  it('reads a segment to its footer although the next one is there (trap 4)', async () => {
    const { source, reader } = setUp();
    const first = open(1, 'R1.1');
    source.tell(news(first));
    assert.equal(await drain(reader), '|1 R1.1');
    // Between two looks: the rest of the first, its footer, and the birth of the second.
    first.bytes = segmentBytes(['R1.1', 'R1.2', 'R1.3'], { closed: true });
    source.tell(news(open(2, 'C1.1')));
    assert.equal(await drain(reader), 'R1.2 R1.3 +2 C1.1');
    assert.equal(first.released, true);
  });

  it('reads again after it learned of the next segment: what it read before may not have been all (trap 4)', async () => {
    const { source, reader } = setUp();
    const first = open(1, 'R1.1');
    const read = first.read.bind(first);
    let raced = false;
    first.read = (target, position) => {
      const count = read(target, position);
      if (position > 0 && !raced) {
        raced = true; // just behind the reader's back
        first.bytes = segmentBytes(['R1.1', 'R1.2'], { closed: true });
        source.tell(news(open(2)));
      }
      return count;
    };
    source.tell(news(first));
    assert.equal(await drain(reader), '|1 R1.1 R1.2 +2');
  });

  it('waits for a segment that has its name before its header', async () => {
    const { source, reader } = setUp();
    const second = new MemorySegment(Buffer.alloc(1000), 2);
    source.tell(news(closed(1, 'R1.1')), news(second));
    assert.equal(await drain(reader), '|1 R1.1');
    second.bytes = segmentBytes(['C1.1'], { sequenceNumber: 2 });
    source.tell();
    assert.equal(await drain(reader), '+2 C1.1');
  });

  it('waits at a header that is caught half written', async () => {
    const { source, reader } = setUp();
    const whole = segmentBytes(['R1.1']);
    const file = new MemorySegment(Buffer.concat([whole.subarray(0, 30), Buffer.alloc(1000)]));
    source.tell(news(file));
    assert.equal(await drain(reader), '');
    file.bytes = whole;
    source.tell();
    assert.equal(await drain(reader), '|1 R1.1');
  });

  it('waits at a torn batch, without a word, and gives it when it is whole (trap 5)', async () => {
    const { source, reader } = setUp();
    const batch = batchBytes(batchPayload('R1.2'));
    const start = segmentBytes(['R1.1'], { zeros: 0 });
    const file = new MemorySegment(Buffer.alloc(0));
    source.tell(news(file));
    for (const cut of [3, 16, batch.length - 1]) {
      file.bytes = Buffer.concat([start, batch.subarray(0, cut), Buffer.alloc(500)]);
      source.tell();
      assert.equal(await drain(reader), cut === 3 ? '|1 R1.1' : '');
    }
    file.bytes = Buffer.concat([start, batch, Buffer.alloc(500)]);
    source.tell();
    assert.equal(await drain(reader), 'R1.2');
  });

  it('gives the rest of the old log, torn end or not, before the one that a restart wrote anew (traps 7, 8)', async () => {
    const { source, reader } = setUp();
    const old = open(1, 'R1.1', 'C1.1');
    source.tell(news(old));
    assert.equal(await drain(reader), '|1 R1.1 C1.1');
    old.bytes = Buffer.concat([
      segmentBytes(['R1.1', 'C1.1', 'R1.2', 'C1.2'], { zeros: 0 }),
      batchBytes(batchPayload('R1.3')).subarray(0, 20),
      Buffer.alloc(500),
    ]);
    source.tell(OVER, news(closed(1, 'R1.1 R1.2 C1.1')), news(open(2, 'R2.3 C1.2')));
    assert.equal(await drain(reader), 'R1.2 C1.2 |1 R1.1 R1.2 C1.1 +2 R2.3 C1.2');
  });

  it('passes over a last segment that its writer died before it began', async () => {
    const { source, reader } = setUp();
    source.tell(news(closed(1, 'R1.1')), news(new MemorySegment(Buffer.alloc(100), 2)), OVER, news(open(1, 'R1.1')));
    assert.equal(await drain(reader), '|1 R1.1 |1 R1.1');
  });

  it('says that the tablet is gone once all that was open of it was given (trap 29)', async () => {
    const { source, reader } = setUp();
    const first = closed(1, 'R1.1');
    const second = closed(2, 'C1.1');
    source.tell(news(first), news(second), OVER, GONE);
    assert.equal(await drain(reader), '|1 R1.1 +2 C1.1 gone');
    assert.ok(first.released && second.released);
    source.tell(news(open(1, 'R5.9'))); // and when it comes again, it is another log
    assert.equal(await drain(reader), '|1 R5.9');
  });

  it('says which segments are missing between two (trap 35), and reads on', async () => {
    const { source, reader } = setUp();
    source.tell(news(closed(3, 'R1.1')), news(open(6, 'R1.9')));
    assert.equal(await drain(reader), '|3 R1.1 missing 4-5 +6 R1.9');
  });

  const at = headerBytes().length;
  const PASSED = [
    {
      why: 'a batch is damaged',
      says: /wal-000000001 byte \d+: the checksum of a batch is wrong, and /,
      damaged: () => new MemorySegment(flip(segmentBytes(['R1.1', 'R1.2', 'R1.3'], { closed: true }), 2 * at)),
      gives: '|1 R1.1',
    },
    {
      why: 'a batch header is damaged',
      says: new RegExp(`wal-000000001 byte ${at}: the checksum of a batch header is wrong`),
      damaged: () => new MemorySegment(flip(segmentBytes(['R1.1', 'R1.2'], { closed: true }), at + 2)),
      gives: '|1',
    },
    {
      why: 'it has no footer',
      says: /wal-000000001 byte \d+: nothing was written here, and the log goes on/,
      damaged: () => open(1, 'R1.1'),
      gives: '|1 R1.1',
    },
    {
      why: 'it is of another tablet',
      says: /wal-000000001 byte 0: the header is of segment 1 of tablet other/,
      damaged: () => new MemorySegment(headerBytes({ tabletId: Buffer.from('other') })),
      gives: '',
    },
  ] as const;
  for (const { why, says, damaged, gives } of PASSED)
    it(`passes over a segment that the log has left behind where ${why}, and says that it is missing`, async () => {
      const { source, reader } = setUp();
      const file = damaged();
      source.tell(news(file), news(open(2, 'R1.9')));
      const damage: (Error | undefined)[] = [];
      assert.equal(await drain(reader, damage), `${gives} missing 1-1 +2 R1.9`.trim());
      assert.match(damage[0]!.message, says);
      assert.ok(file.released);
    });

  const FATAL = [
    {
      why: 'a batch is damaged and another one follows it',
      code: 'SPOOR_WAL_CORRUPT',
      says: new RegExp(`wal-000000001 byte ${at}: the checksum of a batch is wrong, and another batch follows`),
      tell: () => [news(new MemorySegment(flip(segmentBytes(['R1.1', 'R1.2']), at + 18)))],
    },
    {
      why: 'the segment is of another tablet',
      code: 'SPOOR_WAL_CORRUPT',
      says: /wal-000000001 byte 0: the header is of segment 1 of tablet other/,
      tell: () => [news(new MemorySegment(headerBytes({ tabletId: Buffer.from('other') })))],
    },
    {
      why: 'the segment has another number than its name',
      code: 'SPOOR_WAL_CORRUPT',
      says: /wal-000000002 byte 0: the header is of segment 1/,
      tell: () => [news(new MemorySegment(segmentBytes(['R1.1']), 2))],
    },
    {
      why: 'the segment has features that we do not know (trap 13)',
      code: 'SPOOR_WAL_UNSUPPORTED',
      says: /wal-000000001 byte 0: .*incompatible features 4/,
      tell: () => [news(new MemorySegment(headerBytes({ incompatibleFeatures: [4] })))],
    },
    {
      why: 'the log is encrypted',
      code: 'SPOOR_WAL_ENCRYPTED',
      says: /wal-000000001 byte 0: the file is encrypted/,
      tell: () => [news(new MemorySegment(encryptedSegment()))],
    },
  ] as const;
  for (const { why, code, says, tell } of FATAL)
    it(`ends with ${code} when ${why}, and says the same when asked again`, async () => {
      const { source, reader } = setUp();
      source.tell(...tell());
      await assert.rejects(drain(reader), rejectsWith(code, says));
      waiting.delete(reader);
      await assert.rejects(drain(reader), rejectsWith(code, says));
    });

  it('ends with SPOOR_WAL_CORRUPT when a header stays damaged', async () => {
    const { source, reader } = setUp();
    source.tell(news(new MemorySegment(Buffer.from('kuduluck and so on'))));
    for (let wakeUp = 0; wakeUp < 3; wakeUp++) {
      assert.equal(await drain(reader), '');
      source.tell();
    }
    await assert.rejects(drain(reader), rejectsWith('SPOOR_WAL_CORRUPT', /byte 0: the file begins with/));
  });

  it('warns once when the log stands still at an unfinished place (trap 37)', async () => {
    const source = new ScriptedSource();
    const warnings: object[] = [];
    const logger = {
      debug() {},
      info() {},
      error() {},
      warn: (fields: object) => warnings.push(fields),
      child: () => logger,
    };
    const stop = new AbortController();
    const reader = new TabletLogReader(source, { signal: stop.signal, logger });
    source.tell(news(new MemorySegment(Buffer.alloc(1000))));
    for (let wakeUp = 0; wakeUp < 100; wakeUp++) {
      assert.equal(await drain(reader), '');
      source.tell();
    }
    assert.equal(warnings.length, 1);
    assert.deepEqual(warnings[0], {
      tabletId: source.tabletId,
      path: 'wal-000000001',
      offset: 0,
      why: 'the segment has no header',
    });
    await reader[Symbol.asyncDispose]();
  });

  it('ends a waiting next() when it is disposed or its signal aborts, and lets go of what it holds', async () => {
    for (const how of ['dispose', 'abort'] as const) {
      const { source, reader, stop } = setUp();
      const file = open(1, 'R1.1');
      source.tell(news(file));
      assert.equal(await drain(reader), '|1 R1.1'); // and waits by now
      if (how === 'abort') stop.abort();
      else await reader[Symbol.asyncDispose]();
      await assert.rejects(drain(reader), { name: 'AbortError' });
      await reader[Symbol.asyncDispose]();
      assert.ok(file.released && source.disposed);
    }
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  bytes[at]! ^= 0x55;
  return bytes;
}

describe('a reader that asks for room', () => {
  it('gives back what a batch takes that is not whole, and holds up no other', async () => {
    const budget = new ByteBudget(1);
    const large = batchBytes(batchPayload(Array.from({ length: 80_000 }, (_, i) => `R1.${i + 1}`).join(' ')));
    const reading = (bytes: Buffer) => {
      const stop = new AbortController();
      const source = new ScriptedSource();
      const reader = new TabletLogReader(source, { signal: stop.signal, largeReads: budget });
      source.tell(news(new MemorySegment(bytes, 1)));
      return { reader, stop };
    };
    const torn = reading(Buffer.concat([headerBytes(), large.subarray(0, large.length - 1000), Buffer.alloc(2000)]));
    assert.equal(await drain(torn.reader), '|1');
    const sound = reading(Buffer.concat([headerBytes(), large]));
    const startMs = performance.now();
    assert.match(await drain(sound.reader), /R1\.80000$/);
    assert.ok(performance.now() - startMs < 900, 'it need not wait');
    torn.stop.abort();
    const later = reading(Buffer.concat([headerBytes(), large]));
    assert.equal((await later.reader.next()).kind, 'segment');
    const next = later.reader.next(); // the other one has its room
    const waits = await eventually('it waits', () => later.reader.waits);
    assert.match(waits.for, /room in memory for a large operation, of \d+ bytes/);
    sound.reader.giveBack();
    assert.equal((await next).kind, 'entries');
    assert.equal(later.reader.waits, null);
    sound.stop.abort();
    later.stop.abort();
  });
});
