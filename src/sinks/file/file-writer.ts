import { crc32 } from 'node:zlib';
import type { TabletPosition } from '../../change/position.ts';
import type { RecordBatch } from '../../change/record-batch.ts';
import type { SinkError, TabletWriter } from '../sink.ts';
import { isFull, Steps, toSinkError, writeAll } from './disk.ts';
import { commitLine, LineEncoder } from './lines.ts';
import type { OpenFile, TabletFolder } from './tablet-folder.ts';

const NEWLINE = Buffer.from('\n');
const CLOSE_MS = 5_000;

/** When a file is closed. */
export interface Rotation {
  readonly bytes: number;
  readonly ms: number;
}

export interface Opened {
  readonly folder: TabletFolder;
  readonly file: OpenFile;
  readonly position: TabletPosition | null;
  readonly table: string;
  readonly dir: string;
  readonly sinkId: string;
  readonly rotation: Rotation;
  readonly onFenced: (error: SinkError) => void;
}

/** Writes one tablet's files. */
export class FileWriter implements TabletWriter {
  readonly position: TabletPosition | null;
  readonly sinkId: string;
  readonly #opened: Opened;
  readonly #encoder: LineEncoder;
  /** Tables by whose names the tablet can be found. */
  readonly #linked = new Set<string>();
  #file: OpenFile;
  /** Behind the last commit and its line break. */
  #end: number;
  #last: TabletPosition | null;
  /** Since when the file has records, by `performance.now()`; null while it has none. */
  #filledSince: number | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** What is done between two writes; the next one waits for it. */
  #turning: Promise<void> = Promise.resolve();
  #isWriting = false;
  /** Whether a whole commit may be in the file that is not known to be. */
  #isCommitting = false;
  /** After an error nobody knows what is in the file: the next writer looks. */
  #broken: unknown;
  #isClosed = false;

  constructor(opened: Opened) {
    this.#opened = opened;
    this.#file = opened.file;
    this.#end = opened.file.bytes;
    this.#last = this.position = opened.position;
    this.sinkId = opened.sinkId;
    this.#encoder = new LineEncoder(opened.table);
  }

  async write(batches: Iterable<RecordBatch>, position: TabletPosition, signal: AbortSignal): Promise<void> {
    const steps = new Steps(signal);
    steps.check();
    await this.#turning;
    if (this.#broken !== undefined) throw toSinkError(this.#broken, this.#opened.dir);
    this.#isWriting = true;
    clearTimeout(this.#timer);
    try {
      const { end, crc } = await this.#append(batches, steps);
      this.#isCommitting = true;
      const commit = Buffer.from(commitLine(position, this.#end, this.#encoder.table, crc));
      await this.#commit(commit, steps);
      this.#end = end + commit.length + NEWLINE.length;
      this.#isCommitting = false;
      this.#last = position;
      if (this.#encoder.span !== null) this.#filledSince ??= performance.now();
      if (this.#isDue()) await this.#rotate(steps);
    } catch (error) {
      this.#broken = error;
      if (isFull(error)) await this.#giveBack();
      throw error instanceof EncodingError ? error.cause : toSinkError(error, this.#opened.dir);
    } finally {
      this.#isWriting = false;
    }
    this.#rotateInTime();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const steps = new Steps(new AbortController().signal, CLOSE_MS);
    await steps.take(() => this.#file.handle.close()).catch(() => undefined);
  }

  async #append(batches: Iterable<RecordBatch>, steps: Steps): Promise<{ end: number; crc: number }> {
    let [end, crc] = [this.#end, 0];
    for (const lines of this.#linesOf(batches, steps)) {
      await this.#linkTables(steps);
      await writeAll(this.#file.handle, lines, steps);
      crc = crc32(lines, crc);
      end += lines.length;
    }
    return { end, crc };
  }

  *#linesOf(batches: Iterable<RecordBatch>, steps: Steps): Generator<Buffer> {
    const taken = batches[Symbol.iterator]();
    for (;;) {
      steps.check();
      let next: IteratorResult<RecordBatch>;
      try {
        next = taken.next();
      } catch (error) {
        throw new EncodingError('a batch could not be made', { cause: error });
      }
      if (next.done) return;
      const lines = this.#encoder.encode(next.value);
      next.value.release();
      yield lines;
    }
  }

  /** Before a line is there that is of one. */
  async #linkTables(steps: Steps): Promise<void> {
    if (this.#encoder.tables.size === this.#linked.size) return;
    for (const table of this.#encoder.tables) {
      if (this.#linked.has(table)) continue;
      await this.#opened.folder.linkTable(table, steps);
      this.#linked.add(table);
    }
  }

  /** Durable first, then asked whether it is still ours to say, then said: readers take whole lines only. */
  async #commit(line: Buffer, steps: Steps): Promise<void> {
    const { handle } = this.#file;
    await writeAll(handle, line, steps);
    await steps.take(() => handle.datasync());
    await this.#opened.folder.assertOwner(steps);
    await writeAll(handle, NEWLINE, steps);
  }

  #isDue(): boolean {
    const { bytes, ms } = this.#opened.rotation;
    if (this.#filledSince === null) return this.#end >= bytes;
    return this.#end >= bytes || performance.now() - this.#filledSince >= ms;
  }

  /** @throws {SinkError} of any kind */
  async #rotate(steps: Steps): Promise<void> {
    const { folder } = this.#opened;
    const old = this.#file;
    const { span } = this.#encoder;
    await folder.assertOwner(steps);
    const previous = span === null ? old.previous : { file: old.number, bytes: this.#end - NEWLINE.length };
    const next = await folder.begin(
      old.number + 1,
      { previous, position: this.#last, table: this.#encoder.table },
      steps,
    );
    if (next === null) throw folder.fenced();
    this.#file = next;
    this.#end = next.bytes;
    this.#filledSince = null;
    this.#encoder.span = null;
    void old.handle.close().catch(() => undefined);
    if (this.#isClosed) void next.handle.close().catch(() => undefined);
    await folder.publish(old.number, span, steps);
  }

  /** Who takes closed files alone is not to wait for a tablet that nothing happens in. */
  #rotateInTime(): void {
    if (this.#filledSince === null || this.#isClosed) return;
    const ms = this.#opened.rotation.ms - (performance.now() - this.#filledSince);
    this.#timer = setTimeout(
      () => {
        if (this.#isWriting || this.#isClosed) return;
        this.#turning = this.#rotate(new Steps(new AbortController().signal)).catch((error: unknown) => {
          this.#broken = error;
          const told = toSinkError(error, this.#opened.dir);
          if (told.kind === 'fenced') this.#opened.onFenced(told);
        });
      },
      Math.max(1, ms),
    );
    this.#timer.unref();
  }

  /** The room of what no commit follows: a full disk is not to be kept full. The next writer seals before it anyway. */
  async #giveBack(): Promise<void> {
    if (this.#isCommitting) return;
    await this.#file.handle.truncate(this.#end).catch(() => undefined);
  }
}

/** Of what the batches throw, which is passed on as it is. */
class EncodingError extends Error {}
