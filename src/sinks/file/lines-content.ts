import { crc32 } from 'node:zlib';
import type { TabletPosition } from '../../change/position.ts';
import type { RecordBatch } from '../../change/record-batch.ts';
import type { Content } from './content.ts';
import { writeAll, type Steps } from './disk.ts';
import { commitLine, LineEncoder } from './lines.ts';
import { publishLines } from './publishing.ts';
import type { OpenFile } from './tablet-folder.ts';

/** Lines of JSON, and between them those that say what counts. */
export class LinesContent implements Content {
  file: OpenFile;
  end: number;
  readonly #folder: string;
  readonly #encoder: LineEncoder;
  /** Since the last commit. */
  #written = 0;
  #crc = 0;

  constructor(folder: string, file: OpenFile, table: string) {
    this.#folder = folder;
    this.#encoder = new LineEncoder(table);
    this.file = file;
    this.end = file.bytes;
  }

  get table(): string {
    return this.#encoder.table;
  }

  get tables(): ReadonlySet<string> {
    return this.#encoder.tables;
  }

  get hasRecords(): boolean {
    return this.#encoder.span !== null;
  }

  isFull(bytes: number): boolean {
    return this.end >= bytes;
  }

  encode(batch: RecordBatch): (steps: Steps) => Promise<void> {
    const lines = this.#encoder.encode(batch);
    return async (steps) => {
      await writeAll(this.file.handle, lines, steps);
      this.#crc = crc32(lines, this.#crc);
      this.#written += lines.length;
    };
  }

  commitLine(position: TabletPosition): string {
    return commitLine(position, this.end, this.table, this.#crc);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  said(bytes: number): void {
    this.end += this.#written + bytes;
    this.#written = this.#crc = 0;
  }

  async giveBack(): Promise<void> {
    await this.file.handle.truncate(this.end).catch(() => undefined);
  }

  turn(next: OpenFile): (steps: Steps) => Promise<boolean> {
    const { number, handle } = this.file;
    const { span } = this.#encoder;
    this.file = next;
    this.end = next.bytes;
    this.#encoder.span = null;
    void handle.close().catch(() => undefined);
    return (steps) => publishLines(this.#folder, number, span, steps);
  }

  close(): Promise<void> {
    return this.file.handle.close();
  }
}
