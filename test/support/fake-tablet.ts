import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { LogSegmentFooterPBSchema } from '../../src/kudu/proto/log_pb.ts';
import { batchBytes, batchPayload, headerBytes, TEST_TABLET } from './segment-bytes.ts';

/** A closed or open segment with a footer that counts the REPLICATEs, as Kudu's do; open ones have zeros behind. */
export function segmentOf(sequenceNumber: number, scripts: readonly string[], isClosed: boolean): Buffer {
  const words = scripts.join(' ').split(' ').filter(Boolean);
  const indexes = words.filter((word) => word.startsWith('R')).map((word) => BigInt(word.split('.')[1]!));
  const header = headerBytes({ sequenceNumber: BigInt(sequenceNumber) });
  const batches = scripts.map((script) => batchBytes(batchPayload(script)));
  return Buffer.concat([header, ...batches, isClosed ? footerOf(words.length, indexes) : Buffer.alloc(100)]);
}

function footerOf(entries: number, indexes: readonly bigint[]): Buffer {
  const lowest = indexes.reduce((a, b) => (b < a ? b : a), indexes[0] ?? -1n);
  const highest = indexes.reduce((a, b) => (b > a ? b : a), -1n);
  const body = toBinary(
    LogSegmentFooterPBSchema,
    create(LogSegmentFooterPBSchema, {
      numEntries: BigInt(entries),
      minReplicateIndex: lowest,
      maxReplicateIndex: highest,
      closeTimestampMicros: 1n,
    }),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([body, Buffer.from('closedls'), length]);
}

interface LiveSegment {
  readonly number: number;
  readonly scripts: string[];
}

/**
 * One tablet's folder, done to as a tablet server does: every operation is proposed and committed at once, what the
 * folder goes through is the point (kudu-facts 4.3, 4.5).
 */
export class FakeTablet implements Disposable {
  readonly walDir: string;
  readonly walsDir: string;
  readonly folder: string;
  /** Every inode that had a segment's name in the folder as it was, by incarnation and number. */
  readonly births = new Map<bigint, { readonly incarnation: number; readonly number: number }>();
  lastIndex = 0;
  incarnation = 0;
  #segments: LiveSegment[] = [];

  constructor() {
    this.walDir = mkdtempSync(join(tmpdir(), 'spoor-fake-tablet-'));
    this.walsDir = join(this.walDir, 'wals');
    this.folder = join(this.walsDir, TEST_TABLET);
    mkdirSync(this.walsDir);
    this.#open([]);
  }

  get numbers(): readonly number[] {
    return this.#segments.map(({ number }) => number);
  }

  get exists(): boolean {
    return this.#segments.length > 0;
  }

  path(number: number): string {
    return join(this.folder, `wal-${String(number).padStart(9, '0')}`);
  }

  /** One operation more. */
  append(): void {
    const live = this.#segments.at(-1);
    if (live === undefined) return;
    const index = ++this.lastIndex;
    live.scripts.push(`R1.${index}`, `C1.${index}`);
    this.#write(live, false);
  }

  roll(): void {
    const live = this.#segments.at(-1);
    if (live === undefined) return;
    this.#write(live, true);
    this.#bear({ number: live.number + 1, scripts: [] });
  }

  /** Log GC takes the oldest segments; the one being written stays. */
  collect(count = 1): void {
    for (let i = 0; i < count && this.#segments.length > 1; i++) unlinkSync(this.path(this.#segments.shift()!.number));
  }

  /** kill -9 and start: what the folder has is written anew. */
  restart(): void {
    if (!this.exists) return;
    const old = this.#segments;
    const aside = `${this.folder}.recovery`;
    renameSync(this.folder, aside);
    this.#open(old);
    rmSync(aside, { recursive: true });
  }

  /** The replica is deleted. */
  remove(): void {
    if (!this.exists) return;
    const live = this.#segments.at(-1)!;
    this.#write(live, true);
    for (const { number } of this.#segments) unlinkSync(this.path(number));
    rmSync(this.folder, { recursive: true });
    this.#segments = [];
  }

  /** Another replica's log comes in, with its last `operations` only, and the tablet starts. */
  copyIn(operations: number): void {
    if (this.exists) return;
    const scripts: string[] = [];
    for (let index = Math.max(1, this.lastIndex - operations + 1); index <= this.lastIndex; index++)
      scripts.push(`R1.${index}`, `C1.${index}`);
    mkdirSync(this.folder);
    const downloaded: LiveSegment = { number: 40, scripts };
    writeFileSync(this.path(40), segmentOf(40, scripts, true), { mode: 0o600 });
    this.#segments = [downloaded];
    this.restart();
  }

  [Symbol.dispose](): void {
    rmSync(this.walDir, { recursive: true, force: true });
  }

  #open(content: readonly LiveSegment[]): void {
    this.incarnation++;
    this.#segments = [];
    mkdirSync(this.folder);
    const kept = content.filter(({ scripts }) => scripts.length > 0);
    for (const [i, { scripts }] of kept.entries()) {
      this.#bear({ number: i + 1, scripts: [...scripts] });
      this.#write(this.#segments.at(-1)!, true);
    }
    this.#bear({ number: kept.length + 1, scripts: [] });
    writeFileSync(join(this.folder, 'index.000000000'), '');
  }

  #bear(segment: LiveSegment): void {
    const unborn = join(this.folder, '.kudutmp.newsegmentABCDEF');
    writeFileSync(unborn, Buffer.alloc(200), { mode: 0o600 });
    this.births.set(statSync(unborn, { bigint: true }).ino, { incarnation: this.incarnation, number: segment.number });
    renameSync(unborn, this.path(segment.number));
    this.#segments.push(segment);
    this.#write(segment, false);
  }

  #write({ number, scripts }: LiveSegment, isClosed: boolean): void {
    const bytes = segmentOf(number, scripts, isClosed);
    const path = this.path(number);
    writeFileSync(path, bytes, { flag: 'r+' });
    if (isClosed) truncateSync(path, bytes.length);
  }
}

/** Every file below a folder, with its inode. */
export function filesBelow(dir: string): { readonly path: string; readonly inode: bigint }[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, inode: statSync(path, { bigint: true }).ino }));
}
