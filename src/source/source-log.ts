import type { TabletPosition } from '../change/position.ts';
import type { OpId } from '../kudu/opid.ts';
import type { Wait } from '../util/waits.ts';
import type { TabletChanges, TabletChangesOptions } from './tablet-changes.ts';

export type LogOptions = Pick<TabletChangesOptions, 'announceSchema' | 'endsAtCutsOf' | 'resolvedEveryMs'>;
export type OpenLog = (after: TabletPosition, options: LogOptions, signal: AbortSignal) => TabletChanges;

/** The log that a source reads: one at a time is open, and whoever opens another closes it. To be closed at the end. */
export class SourceLog {
  readonly #openLog: OpenLog;
  readonly #signal: AbortSignal;
  #log: TabletChanges | null = null;

  constructor(openLog: OpenLog, signal: AbortSignal) {
    this.#openLog = openLog;
    this.#signal = signal;
  }

  /** The highest operation known to be committed; null where none is open. */
  get committed(): OpId | null {
    return this.#log?.committed ?? null;
  }

  /** Whether what was read last takes room that others may wait for. */
  get holdsRoom(): boolean {
    return this.#log?.holdsRoom ?? false;
  }

  /** What its reader waits for that is not the log's next operation. */
  get waits(): Wait | null {
    return this.#log?.waits ?? null;
  }

  async open(after: TabletPosition, options: LogOptions): Promise<TabletChanges> {
    await this.close();
    this.#signal.throwIfAborted();
    this.#log = this.#openLog(after, options, this.#signal);
    return this.#log;
  }

  async close(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    await log?.[Symbol.asyncDispose]();
  }
}
