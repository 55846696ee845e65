import type { HeldSegment } from './held-segment.ts';
import { LocalSegment } from './local-segment.ts';
import type { DirIdentity } from './log-folder.ts';
import type { RestingPlace, SegmentFile, SegmentNews, SegmentSource } from './segment-source.ts';
import type { HeldOrder } from './hold-order.ts';

type Queued =
  | { readonly kind: 'segment'; readonly file: LocalSegment; readonly isDamaged?: boolean }
  | Exclude<SegmentNews, { kind: 'segment' }>
  /**
   * A link of ours, opened when its turn comes: whatever is held may be more than there are descriptors for.
   * `folder`: the one that it is from, where that is the folder as it is now; null in a log that is finished.
   */
  | { readonly kind: 'held'; readonly segment: HeldSegment; readonly folder: DirIdentity | null };

export interface FolderSourceOptions {
  /** @returns null when it cannot be had any more */
  readonly openHeld: (segment: HeldSegment, folder: DirIdentity | null) => LocalSegment | null;
  readonly onDamage: (file: LocalSegment) => void;
  readonly onDispose: () => void;
}

/** What one follower of a tablet's folder has not yet read. */
export class FolderSource implements SegmentSource {
  readonly tabletId: string;
  /** The highest that was queued of the log as it is now; 0 for none. */
  lastSequenceNumber = 0;
  /** Whether it was not yet given what is held of earlier logs. */
  wantsHistory = true;
  version = 0;
  readonly #queue: Queued[] = [];
  readonly #options: FolderSourceOptions;
  #isGone = false;
  /** See {@link SegmentSource.changed}; null while its reader reads. */
  #restsAt: RestingPlace | null = null;
  #failure: Error | null = null;
  #waiting: (() => void)[] = [];
  #disposed = false;

  constructor(tabletId: string, options: FolderSourceOptions) {
    this.tabletId = tabletId;
    this.#options = options;
  }

  /** @throws what the file system says when a held segment cannot be opened; to be asked again */
  peek(): SegmentNews | null {
    for (;;) {
      const [next] = this.#queue;
      if (next === undefined) return null;
      if (next.kind !== 'held') return next;
      const file = this.#options.openHeld(next.segment, next.folder);
      if (file === null) {
        this.#queue.shift(); // let go of: the reader sees which number is missing
        continue;
      }
      const news = { kind: 'segment', file, isDamaged: next.segment.isDamaged } as const;
      this.#queue[0] = news;
      return news;
    }
  }

  shift(): void {
    this.#queue.shift();
  }

  noteDamage(file: SegmentFile): void {
    if (file instanceof LocalSegment) this.#options.onDamage(file);
  }

  changed(seen: number, signal: AbortSignal, restsAt: RestingPlace | null): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        signal.removeEventListener('abort', settle);
        if (signal.aborted) reject(signal.reason as Error);
        else if (this.#failure !== null) {
          const failure = this.#failure;
          this.#failure = null;
          reject(failure);
        } else resolve();
      };
      if (this.version !== seen || signal.aborted) {
        settle();
        return;
      }
      signal.addEventListener('abort', settle, { once: true });
      this.#waiting.push(settle);
      this.#restsAt = restsAt;
    });
  }

  add(segment: LocalSegment): void {
    segment.hold();
    this.#isGone = false;
    this.lastSequenceNumber = segment.sequenceNumber;
    this.#queue.push({ kind: 'segment', file: segment });
  }

  /** @param folder the one that it was linked from */
  addHeld(segment: HeldSegment, folder: DirIdentity): void {
    this.#isGone = false;
    this.lastSequenceNumber = segment.sequenceNumber;
    this.#queue.push({ kind: 'held', segment, folder });
  }

  /** What is held: the logs that are finished, and where the current one begins, which is announced like any other. */
  addHistory({ finished, current }: HeldOrder): void {
    this.wantsHistory = false;
    for (const { segments } of finished) {
      for (const segment of segments) this.#queue.push({ kind: 'held', segment, folder: null });
      this.#queue.push({ kind: 'over' });
    }
    const [first] = current?.segments ?? [];
    if (first !== undefined) this.lastSequenceNumber = first.sequenceNumber - 1;
  }

  setOver(): void {
    if (this.lastSequenceNumber > 0) this.#queue.push({ kind: 'over' });
    this.lastSequenceNumber = 0;
  }

  setGone(): void {
    if (!this.#isGone) this.#queue.push({ kind: 'gone' });
    this.#isGone = true;
  }

  /** Whether its reader waits for more of a segment, and there is none. @throws what the file system says */
  get rests(): boolean {
    const { file, offset } = this.#restsAt ?? {};
    return file instanceof LocalSegment && offset !== undefined && file.isBlank(offset);
  }

  /** There may be something new; or the look at the folder failed, which is an old story once one succeeds. */
  wake(failure: Error | null = null): void {
    this.#failure = failure;
    this.version++;
    this.#restsAt = null;
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (const settle of waiting) settle();
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const news of this.#queue) if (news.kind === 'segment') news.file.release();
    this.#queue.length = 0;
    this.#options.onDispose();
    this.wake();
  }
}
