import type { LogEntry } from '../wal/entry.ts';
import type { LogFeed } from '../wal/log-reader.ts';

/** The memory of large operations that a log has lent us, and that goes back when we are done with them. */
export class LentRoom {
  readonly #log: LogFeed;
  /** Up to which index each loan is for, in the order of the log. */
  #loans: { readonly upTo: bigint; readonly bytes: number }[] = [];

  constructor(log: LogFeed) {
    this.#log = log;
  }

  get holds(): boolean {
    return this.#loans.length > 0;
  }

  take(entries: readonly LogEntry[], bytes: number): void {
    let upTo = 0n;
    for (const { opId } of entries) if (opId.index > upTo) upTo = opId.index;
    this.#loans.push({ upTo, bytes });
  }

  /** @param upTo the index of the last operation that we are done with */
  giveBack(upTo: bigint): void {
    while (this.#loans.length > 0 && this.#loans[0]!.upTo <= upTo) this.#log.giveBack?.(this.#loans.shift()!.bytes);
  }

  giveAllBack(): void {
    for (const { bytes } of this.#loans.splice(0)) this.#log.giveBack?.(bytes);
  }
}
