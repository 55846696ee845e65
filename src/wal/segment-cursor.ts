import { SpoorError, type ErrorCode } from '../errors.ts';
import { readBatchRun, type BatchRun, type RunStop } from './batch-run.ts';
import type { LogEntry } from './entry.ts';
import {
  batchHeaderBytes,
  MAX_FOOTER_BYTES,
  MAX_HEADER_BYTES,
  PREAMBLE_BYTES,
  readSegmentFooter,
  readSegmentStart,
  type SegmentFault,
  type SegmentFooter,
  type SegmentHeader,
} from './segment-format.ts';
import type { SegmentFile } from './segment-source.ts';

/** Bytes a read asks for at the end of an open segment, and where there is a backlog. */
const TAIL_READ_BYTES = 16 * 1024;
const BULK_READ_BYTES = 128 * 1024;

/** How far a segment was read: in bytes, 0 before its header, and in entries. */
export interface CursorPlace {
  readonly offset: number;
  readonly entryCount: bigint;
}

/** See {@link SegmentCursor}. */
export type AskForLarge = (rawBytes: number, packedBytes: number) => Promise<void>;

/** Why a segment gave nothing more. */
export type TailReason = 'unborn' | 'short' | Exclude<RunStop, 'full' | 'large' | 'more'>;

export type SegmentStep =
  | { readonly kind: 'header'; readonly header: SegmentHeader }
  | { readonly kind: 'entries'; readonly entries: LogEntry[]; readonly bytes: number }
  /** The footer was reached: all that will ever be in the segment was given. */
  | { readonly kind: 'closed'; readonly footer: SegmentFooter }
  /** No whole batch at `offset`: the end for now, or for good if its writer is gone. */
  | { readonly kind: 'tail'; readonly reason: TailReason; readonly offset: number }
  /** The header cannot be read. A file that is just being born may look so for a moment. */
  | { readonly kind: 'fault'; readonly fault: SegmentFault };

/**
 * Reads one segment from its start, as far as it is written, and from there again whenever it is asked.
 * A `tail` is no verdict: only the caller knows whether the segment still has a writer. Asked again, it reads the
 * same place again, so a batch that was caught half written comes whole later (kudu-facts trap 5).
 */
export class SegmentCursor {
  readonly #file: SegmentFile;
  readonly #askForLarge: AskForLarge | null;
  #header: SegmentHeader | null = null;
  /** File offset of the next batch. */
  #offset = 0;
  #entryCount = 0n;
  #window: Buffer = EMPTY;
  /** What of the window is filled, and the next batch in it; the file offset of `#window[#pos]` is `#offset`. */
  #filled = 0;
  #pos = 0;
  /** What the caller knew of the file when the window was read. */
  #windowVersion: number | null = null;
  #readBytes = TAIL_READ_BYTES;
  #resumeAt: CursorPlace | null;

  /**
   * @param from where another cursor stood in the same file; its header is then not given again
   * @param askForLarge before a large batch is read, with what it takes; where it rejects, the batch is still to come.
   *   Without it they are read as all others
   */
  constructor(file: SegmentFile, from: CursorPlace | null = null, askForLarge: AskForLarge | null = null) {
    this.#file = file;
    this.#askForLarge = askForLarge;
    this.#resumeAt = from && from.offset > 0 ? from : null;
  }

  get header(): SegmentHeader | null {
    return this.#header;
  }

  get offset(): number {
    return this.#offset;
  }

  /** Behind what was given. */
  get place(): CursorPlace {
    return this.#resumeAt ?? { offset: this.#offset, entryCount: this.#entryCount };
  }

  /**
   * The next piece.
   * @param version rises whenever the file may have changed: with the same one as before, bytes that were read already
   *   are not read again. Without it they are always.
   * @throws {SpoorError} SPOOR_WAL_CORRUPT, SPOOR_WAL_UNSUPPORTED, naming file and byte
   */
  async step(version: number | null = null): Promise<SegmentStep> {
    if (this.#header === null) {
      const begin = await this.#readHeader();
      if (begin.kind !== 'header' || this.#resumeAt === null) return begin;
      ({ offset: this.#offset, entryCount: this.#entryCount } = this.#resumeAt);
      this.#resumeAt = null;
    }
    const header = this.#header!;
    let fresh = version !== null && version === this.#windowVersion;
    let isLarge = false;
    for (;;) {
      const run = this.#run(header, isLarge || this.#askForLarge === null);
      if (run.consumed > 0) {
        this.#pos += run.consumed;
        this.#offset += run.consumed;
        this.#entryCount += BigInt(run.entries.length);
        if (isLarge) this.#letGoOfWindow();
        if (run.entries.length > 0) return { kind: 'entries', entries: run.entries, bytes: run.consumed };
        continue;
      }
      if (run.stop === 'large') {
        await this.#askForLarge!(run.rawBytes, run.needBytes);
        isLarge = true;
        continue;
      }
      if (run.stop === 'full') throw new Error('unreachable: a run that is full has consumed something');
      const needBytes = run.stop === 'more' ? run.needBytes : batchHeaderBytes(header.batchVersion);
      const left = this.#filled - this.#pos;
      // What an earlier step read may be old news: the end is only believed of bytes that are fresh.
      // Nor is what lies behind an entry no batch in an encrypted file before it was read by itself: nothing written is zeros there.
      const isBelieved = run.stop === 'more' ? left >= needBytes : run.stop !== 'bad-header' || this.#pos === 0;
      if (fresh && isBelieved) return this.#tail(run.stop);
      // A window that was too small for what is there: there is a backlog.
      if (run.stop === 'more' && this.#filled > 0) this.#readBytes = BULK_READ_BYTES;
      const enough = await this.#fill(needBytes);
      this.#windowVersion = version;
      if (!enough) return this.#tail('short');
      fresh = true;
    }
  }

  /**
   * Whether a whole batch follows the one at the tail, of which only the payload does not check: then its writer has
   * gone past it, and the batch is damaged rather than unfinished.
   */
  async isFollowedByBatch(): Promise<boolean> {
    const header = this.#header;
    if (header === null) return false;
    const headerBytes = batchHeaderBytes(header.batchVersion);
    const own = Buffer.alloc(headerBytes);
    if ((await this.#file.read(own, this.#offset)) < headerBytes) return false;
    const next = this.#offset + headerBytes + own.readUInt32LE(0);
    const window = Buffer.alloc(BULK_READ_BYTES);
    const filled = await this.#file.read(window, next);
    try {
      return readBatchRun(window, 0, filled, next, { ...header, path: this.#file.path }).consumed > 0;
    } catch (error) {
      if (error instanceof SpoorError) return true; // its checksums hold
      throw error;
    }
  }

  /** It was as large as the batch; what stands behind that is read again. */
  #letGoOfWindow(): void {
    if (this.#window.length <= BULK_READ_BYTES) return;
    this.#window = EMPTY;
    [this.#pos, this.#filled, this.#windowVersion] = [0, 0, null];
  }

  #run(header: SegmentHeader, takesLarge: boolean): BatchRun {
    const { path } = this.#file;
    const { codec, batchVersion } = header;
    const format = { path, codec, batchVersion };
    return readBatchRun(this.#window, this.#pos, this.#filled, this.#offset - this.#pos, format, takesLarge);
  }

  /** Reads from the next batch on, at least `needBytes`. @returns false when the file has not as many */
  async #fill(needBytes: number): Promise<boolean> {
    // A length is believed only as far as the file reaches: it is no reason to allocate gigabytes.
    if (needBytes > this.#readBytes && (await this.#file.size()) - this.#offset < needBytes) return false;
    const wanted = Math.max(needBytes, this.#readBytes);
    if (this.#window.length < wanted || this.#window.length > 2 * wanted) this.#window = takeWindow(wanted);
    this.#pos = 0;
    this.#filled = 0;
    this.#filled = await this.#file.read(this.#window, this.#offset);
    return this.#filled >= needBytes;
  }

  async #tail(reason: Exclude<RunStop, 'full' | 'large'> | 'short'): Promise<SegmentStep> {
    // Asked again, it must look at the file and not at what the file was.
    this.#windowVersion = null;
    this.#pos = 0;
    this.#filled = 0;
    this.#readBytes = TAIL_READ_BYTES;
    giveBackWindow(this.#window); // hundreds of idle tablets keep none
    this.#window = EMPTY;
    if (reason !== 'zeros') {
      const footer = await this.#readFooter();
      if (footer !== null) {
        if (footer.entryCount !== this.#entryCount)
          throw new SpoorError(
            'SPOOR_WAL_CORRUPT',
            `${this.#file.path} byte ${this.#offset}: the footer counts ${footer.entryCount} entries, there are ${this.#entryCount}`,
            { path: this.#file.path, offset: this.#offset },
          );
        return { kind: 'closed', footer };
      }
    }
    return { kind: 'tail', reason: reason === 'more' ? 'short' : reason, offset: this.#offset };
  }

  /** A footer ends where the file ends, with nothing behind it: till then the file is still being cut. */
  async #readFooter(): Promise<SegmentFooter | null> {
    const length = (await this.#file.size()) - this.#offset;
    if (length <= 0 || length > MAX_FOOTER_BYTES) return null;
    const tail = Buffer.alloc(length);
    const filled = await this.#file.read(tail, this.#offset);
    return filled === length ? readSegmentFooter(tail) : null;
  }

  async #readHeader(): Promise<SegmentStep> {
    let wanted = TAIL_READ_BYTES;
    for (;;) {
      const bytes = Buffer.allocUnsafe(wanted);
      const filled = await this.#file.read(bytes, 0);
      const start = readSegmentStart(bytes.subarray(0, filled));
      switch (start.kind) {
        case 'header':
          this.#header = start.header;
          this.#offset = start.endOffset;
          return { kind: 'header', header: start.header };
        case 'unborn':
          return { kind: 'tail', reason: 'unborn', offset: 0 };
        case 'fault': {
          const why = this.#file.unreadable;
          return why ? { kind: 'fault', fault: { ...start.fault, why } } : start;
        }
        case 'short':
          if (filled < wanted) return { kind: 'tail', reason: 'short', offset: filled };
          wanted = Math.min(start.needBytes, PREAMBLE_BYTES + MAX_HEADER_BYTES);
      }
    }
  }
}

/** The error of a segment that is not for us, or no segment. */
export function segmentFaultError(path: string, { kind, why }: SegmentFault): SpoorError {
  return new SpoorError(FAULT_CODES[kind], `${path} byte 0: ${why}`, { path, offset: 0 });
}

const FAULT_CODES = {
  corrupt: 'SPOOR_WAL_CORRUPT',
  unsupported: 'SPOOR_WAL_UNSUPPORTED',
  encrypted: 'SPOOR_WAL_ENCRYPTED',
} as const satisfies Record<SegmentFault['kind'], ErrorCode>;

const EMPTY: Buffer = Buffer.alloc(0);

/** Windows for the ends of segments, of which there are as many as tablets, and few are read at a time. */
const MAX_SPARE_WINDOWS = 16;
const spareWindows: Buffer[] = [];

function takeWindow(bytes: number): Buffer {
  return (bytes === TAIL_READ_BYTES && spareWindows.pop()) || Buffer.allocUnsafeSlow(bytes);
}

/** Of what was in it nothing is in use: entries have memory of their own. */
function giveBackWindow(window: Buffer): void {
  if (window.length === TAIL_READ_BYTES && spareWindows.length < MAX_SPARE_WINDOWS) spareWindows.push(window);
}
