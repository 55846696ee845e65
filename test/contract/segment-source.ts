import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatOpId } from '../../src/kudu/opid.ts';
import { SegmentCursor } from '../../src/wal/segment-cursor.ts';
import type { SegmentFile, SegmentNews, SegmentSource } from '../../src/wal/segment-source.ts';
import { eventually } from '../support/eventually.ts';
import { segmentBytes } from '../support/segment-bytes.ts';

/** A tablet's log as its tablet server treats it, for a source to look at. */
export interface LogUnderTest extends AsyncDisposable {
  /** Whether a follower that comes later gets what is gone from the log by then. */
  readonly isHeld: boolean;
  follow(): SegmentSource;
  /** A segment is born, or written anew with more in it. */
  write(sequenceNumber: number, bytes: Buffer): Promise<void>;
  /** Log GC takes a segment. */
  collect(sequenceNumber: number): Promise<void>;
  /** The tablet server restarts: the log is set aside, and a new one is made of these segments from number 1 on. */
  restart(segments: readonly Buffer[]): Promise<void>;
  /** The tablet is deleted. */
  remove(): Promise<void>;
  /** A tablet copy comes in: segments with the source's numbers, in the order given, then the first start. */
  copy(segments: readonly (readonly [number, Buffer])[], restarted: readonly Buffer[]): Promise<void>;
}

const closed = (sequenceNumber: number, ...scripts: string[]): Buffer =>
  segmentBytes(scripts, { sequenceNumber, closed: true });
const segment = (sequenceNumber: number, ...scripts: string[]): Buffer => segmentBytes(scripts, { sequenceNumber });

/** What every source of segments owes its reader. */
export function describeSegmentSource(name: string, open: () => Promise<LogUnderTest>): void {
  describe(`${name} as a source of segments`, () => {
    /** The next news, as soon as there is one. */
    async function take(source: SegmentSource): Promise<SegmentNews> {
      const news = await eventually('there is news', () => source.peek());
      source.shift();
      return news;
    }
    async function takeSegment(source: SegmentSource): Promise<SegmentFile> {
      const news = await take(source);
      assert.ok(news.kind === 'segment', news.kind);
      return news.file;
    }
    /** OpIds of all that is in the segment now; gives it back. */
    async function contentOf(file: SegmentFile): Promise<string> {
      const cursor = new SegmentCursor(file);
      const seen: string[] = [];
      for (;;) {
        const step = await cursor.step();
        if (step.kind === 'entries') seen.push(...step.entries.map((entry) => formatOpId(entry.opId)));
        else if (step.kind !== 'header') break;
      }
      file.release();
      return seen.join(' ');
    }
    async function next(source: SegmentSource): Promise<string> {
      const news = await take(source);
      return news.kind === 'segment' ? `${news.file.sequenceNumber}: ${await contentOf(news.file)}` : news.kind;
    }

    it('gives what is there, lowest first, and then what is born', async () => {
      await using log = await open();
      await log.write(10, segment(10, 'R1.2'));
      await log.write(9, segment(9, 'R1.1'));
      using source = log.follow();
      assert.equal(await next(source), '9: 1.1');
      assert.equal(await next(source), '10: 1.2');
      assert.equal(source.peek(), null);
      await log.write(11, segment(11, 'R1.3'));
      assert.equal(await next(source), '11: 1.3');
    });

    it('shows the same news until it is taken', async () => {
      await using log = await open();
      await log.write(1, segment(1));
      using source = log.follow();
      const news = await eventually('there is news', () => source.peek());
      assert.equal(source.peek(), news);
      source.shift();
      assert.equal(source.peek(), null);
      assert.ok(news.kind === 'segment');
      news.file.release();
    });

    it('tells of bytes that are written to a segment', async () => {
      await using log = await open();
      await log.write(1, segment(1, 'R1.1'));
      using source = log.follow();
      const file = await takeSegment(source);
      const seen = source.version;
      const changed = source.changed(seen, AbortSignal.timeout(20_000), null);
      await log.write(1, segment(1, 'R1.1', 'R1.2'));
      await changed;
      assert.notEqual(source.version, seen);
      await source.changed(seen, AbortSignal.timeout(1), null); // what has happened is not waited for
      assert.equal(await contentOf(file), '1.1 1.2');
    });

    it('ends a wait when its signal aborts', async () => {
      await using log = await open();
      using source = log.follow();
      const stop = new AbortController();
      const reason = new Error('enough');
      const waiting = assert.rejects(source.changed(source.version, stop.signal, null), reason);
      stop.abort(reason);
      await waiting;
      await assert.rejects(source.changed(source.version, stop.signal, null), reason);
    });

    it('holds a segment from its birth, whatever becomes of its name (trap 29)', async () => {
      await using log = await open();
      await log.write(1, segment(1, 'R1.1'));
      using source = log.follow();
      await log.write(2, segment(2, 'R1.2'));
      await eventually('the second segment was seen', () => source.version > 1);
      using late = log.follow();
      await log.collect(1);
      await log.write(3, segment(3, 'R1.3'));
      for (const each of [source, late]) {
        assert.equal(await next(each), '1: 1.1');
        assert.equal(await next(each), '2: 1.2');
        assert.equal(await next(each), '3: 1.3');
      }
      using latest = log.follow();
      if (log.isHeld) assert.equal(await next(latest), '1: 1.1');
      assert.equal(await next(latest), '2: 1.2');
    });

    it('gives a follower that comes later each incarnation that is held, and of others the last (kudu-facts 4.5)', async () => {
      await using log = await open();
      using first = log.follow();
      await log.write(1, closed(1, 'R1.1'));
      await log.write(2, segment(2, 'R1.2'));
      assert.deepEqual([await next(first), await next(first)], ['1: 1.1', '2: 1.2']);
      await log.collect(1);
      await log.restart([closed(1, 'R1.2 R1.3')]);
      assert.deepEqual([await next(first), await next(first)], ['over', '1: 1.2 1.3']);
      await log.write(2, segment(2, 'R1.4'));
      assert.equal(await next(first), '2: 1.4');
      await log.collect(1);
      using late = log.follow();
      const seen = [await next(late)];
      while (seen.at(-1) !== '2: 1.4') seen.push(await next(late));
      assert.deepEqual(seen, log.isHeld ? ['1: 1.1', '2: 1.2', 'over', '1: 1.2 1.3', '2: 1.4'] : ['2: 1.4']);
      assert.equal(late.peek(), null);
      await log.remove();
      assert.deepEqual([await next(first), await next(first)], ['over', 'gone']);
      using last = log.follow();
      const left = [await next(last)];
      while (left.at(-1) !== 'gone') left.push(await next(last));
      assert.deepEqual(
        left,
        log.isHeld ? ['1: 1.1', '2: 1.2', 'over', '1: 1.2 1.3', '2: 1.4', 'over', 'gone'] : ['gone'],
      );
    });

    it('says that a log is over when a restart writes it anew, and gives the new one from its start (trap 7)', async () => {
      await using log = await open();
      await log.write(4, segment(4, 'R1.1'));
      await log.write(5, segment(5, 'R1.2'));
      using source = log.follow();
      assert.equal(await next(source), '4: 1.1');
      await log.restart([segment(1, 'R1.1 R1.2'), segment(2, 'R2.3')]);
      assert.equal(await next(source), '5: 1.2');
      assert.equal(await next(source), 'over');
      assert.equal(await next(source), '1: 1.1 1.2');
      assert.equal(await next(source), '2: 2.3');
      assert.equal(source.peek(), null);
    });

    it('gives what is left of a tablet that is deleted, and then says that it is gone (trap 29)', async () => {
      await using log = await open();
      await log.write(1, segment(1, 'R1.1'));
      await log.write(2, segment(2, 'C1.1'));
      using source = log.follow();
      await log.remove();
      const seen = [];
      for (let i = 0; i < 4; i++) seen.push(await next(source));
      assert.deepEqual(seen, ['1: 1.1', '2: 1.1', 'over', 'gone']);
      assert.equal(source.peek(), null);
    });

    it('says that a tablet which is not there is gone', async () => {
      await using log = await open();
      await log.remove();
      using source = log.follow();
      assert.equal(await next(source), 'gone');
    });

    it('gives a log that comes back', async () => {
      await using log = await open();
      await log.write(3, segment(3, 'R1.9'));
      using source = log.follow();
      assert.equal(await next(source), '3: 1.9');
      await log.remove();
      assert.equal(await next(source), 'over');
      assert.equal(await next(source), 'gone');
      await log.write(1, segment(1, 'R1.1'));
      assert.equal(await next(source), '1: 1.1');
    });

    it('leaves a copy alone until its log is opened: its segments come in any order (trap 36)', async () => {
      await using log = await open();
      await log.remove();
      using source = log.follow();
      assert.equal(await next(source), 'gone');
      await log.copy(
        [
          [8, segment(8, 'R1.2')],
          [7, segment(7, 'R1.1')],
        ],
        [segment(1, 'R1.1 R1.2')],
      );
      const seen = [await next(source)];
      if (seen[0] === 'over') seen.shift();
      assert.deepEqual(seen.length === 0 ? await next(source) : seen[0], '1: 1.1 1.2');
    });

    it('lets go of all that it holds when it is disposed', async () => {
      await using log = await open();
      for (let number = 1; number <= 3; number++) await log.write(number, segment(number));
      const source = log.follow();
      const file = await takeSegment(source);
      source[Symbol.dispose]();
      source[Symbol.dispose]();
      assert.equal(source.peek(), null);
      assert.ok((await contentOf(file)) === ''); // what was taken is the taker's
    });
  });
}
