import type { SegmentFile, SegmentNews, SegmentSource } from '../../src/wal/segment-source.ts';
import { TEST_TABLET } from './segment-bytes.ts';

/** A source of segments that says what a test tells it. */
export class ScriptedSource implements SegmentSource {
  readonly tabletId = TEST_TABLET;
  version = 0;
  disposed = false;
  /** What a reader has told of. */
  readonly damaged: string[] = [];
  readonly #queue: SegmentNews[] = [];
  #wake: () => void = () => undefined;

  /** Queues news, and wakes whoever waits; with none there are just more bytes. */
  tell(...news: readonly SegmentNews[]): void {
    this.#queue.push(...news);
    this.version++;
    this.#wake();
  }

  peek(): SegmentNews | null {
    return this.#queue[0] ?? null;
  }

  shift(): void {
    this.#queue.shift();
  }

  noteDamage({ path }: SegmentFile): void {
    this.damaged.push(path);
  }

  changed(seen: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        signal.removeEventListener('abort', settle);
        if (signal.aborted) reject(signal.reason as Error);
        else resolve();
      };
      signal.addEventListener('abort', settle);
      this.#wake = settle;
      if (this.version !== seen || signal.aborted) settle();
    });
  }

  [Symbol.dispose](): void {
    this.disposed = true;
  }
}
