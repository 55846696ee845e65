import type { TabletPosition } from '../../change/position.ts';
import type { RecordBatch } from '../../change/record-batch.ts';
import type { SinkError, TabletWriter } from '../sink.ts';
import type { Content } from './content.ts';
import { isFull, Steps, toSinkError, writeAll } from './disk.ts';
import type { TabletFolder } from './tablet-folder.ts';

const NEWLINE = Buffer.from('\n');
const CLOSE_MS = 5_000;

/** When a file is closed. */
export interface Rotation {
  readonly bytes: number;
  readonly ms: number;
}

export interface Opened {
  readonly folder: TabletFolder;
  readonly content: Content;
  readonly position: TabletPosition | null;
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
  readonly #content: Content;
  /** Tables by whose names the tablet can be found. */
  readonly #linked = new Set<string>();
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
    this.#content = opened.content;
    this.#last = this.position = opened.position;
    this.sinkId = opened.sinkId;
  }

  async write(batches: Iterable<RecordBatch>, position: TabletPosition, signal: AbortSignal): Promise<void> {
    const steps = new Steps(signal);
    steps.check();
    await this.#turning;
    if (this.#broken !== undefined) throw toSinkError(this.#broken, this.#opened.dir);
    this.#isWriting = true;
    clearTimeout(this.#timer);
    try {
      await this.#append(batches, steps);
      this.#isCommitting = true;
      await this.#commit(position, steps);
      this.#isCommitting = false;
      this.#last = position;
      if (this.#content.hasRecords) this.#filledSince ??= performance.now();
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
    await steps.take(() => this.#content.close()).catch(() => undefined);
  }

  async #append(batches: Iterable<RecordBatch>, steps: Steps): Promise<void> {
    for (const write of this.#encoded(batches, steps)) {
      await this.#linkTables(steps);
      await write(steps);
    }
  }

  *#encoded(batches: Iterable<RecordBatch>, steps: Steps): Generator<ReturnType<Content['encode']>> {
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
      const write = this.#content.encode(next.value);
      next.value.release();
      yield write;
    }
  }

  /** Before a line is there that is of one. */
  async #linkTables(steps: Steps): Promise<void> {
    if (this.#content.tables.size === this.#linked.size) return;
    for (const table of this.#content.tables) {
      if (this.#linked.has(table)) continue;
      await this.#opened.folder.linkTable(table, steps);
      this.#linked.add(table);
    }
  }

  /** Durable first, then asked whether it is still ours to say, then said: readers take whole lines only. */
  async #commit(position: TabletPosition, steps: Steps): Promise<void> {
    const { file } = this.#content;
    const line = Buffer.from(this.#content.commitLine(position));
    await writeAll(file.handle, line, steps);
    await Promise.all([this.#content.sync(steps), steps.take(() => file.handle.datasync())]);
    await this.#opened.folder.assertOwner(steps);
    await writeAll(file.handle, NEWLINE, steps);
    this.#content.said(line.length + NEWLINE.length);
  }

  #isDue(): boolean {
    const { bytes, ms } = this.#opened.rotation;
    const since = this.#filledSince;
    if (this.#last?.ended && since !== null) return true; // nobody opens the tablet any more, who would publish it
    return this.#content.isFull(bytes) || (since !== null && performance.now() - since >= ms);
  }

  /** @throws {SinkError} of any kind */
  async #rotate(steps: Steps): Promise<void> {
    const { folder } = this.#opened;
    const { file, table, end, hasRecords } = this.#content;
    await folder.assertOwner(steps);
    const previous = hasRecords ? { file: file.number, bytes: end - NEWLINE.length } : file.previous;
    const next = await folder.begin(file.number + 1, { previous, position: this.#last, table }, steps);
    if (next === null) throw folder.fenced();
    const publish = this.#content.turn(next);
    this.#filledSince = null;
    if (this.#isClosed) void this.#content.close().catch(() => undefined);
    await folder.assertOwner(steps);
    if (!(await publish(steps))) throw folder.fenced();
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
    await this.#content.giveBack();
  }
}

/** Of what the batches throw, which is passed on as it is. */
class EncodingError extends Error {}
