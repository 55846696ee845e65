import { MIN_OPID, formatOpId } from '../../src/kudu/opid.ts';
import { CommitOrder } from '../../src/wal/commit-order.ts';
import { OpType } from '../../src/wal/entry.ts';
import type { LogFeed } from '../../src/wal/log-reader.ts';
import type { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { eventually } from './eventually.ts';

/** Follows one replica's log from its first segment and keeps what came out, to be held against other replicas. */
export class LogFollower implements AsyncDisposable {
  /** Committed operations in index order: `1.7`, and for a write a count of its applied rows: `1.7 x100`. */
  readonly committed: string[] = [];
  /** Applied rows in all. */
  rows = 0;
  segments = 0;
  restarts = 0;
  idles = 0;
  missing = 0;
  gone = false;
  /** What ended it, but for the end of the test. */
  failure: unknown = null;
  readonly #reader: LogFeed;
  readonly #stop = new AbortController();
  readonly #order = new CommitOrder(MIN_OPID);
  #running: Promise<void> = Promise.resolve();

  constructor(watcher: WalWatcher, tabletId: string, options: { readonly paused?: boolean } = {}) {
    this.#reader = watcher.read(tabletId, this.#stop.signal);
    if (options.paused !== true) this.start();
  }

  /** Begins to read, for one that was opened paused. */
  start(): void {
    this.#running = this.#follow();
  }

  get lastCommitted(): string {
    return this.committed.at(-1)?.split(' ', 1)[0] ?? formatOpId(MIN_OPID);
  }

  /** Resolves when the operation at `opId` came out. */
  async reached(opId: string, timeoutMs?: number): Promise<void> {
    const index = Number(opId.split('.')[1]);
    await eventually(
      `${opId} comes out of the log`,
      () => {
        if (this.failure !== null) return true;
        return this.committed.length >= index;
      },
      timeoutMs,
    );
    if (this.failure !== null) throw this.failure as Error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#reader[Symbol.asyncDispose]();
  }

  async #follow(): Promise<void> {
    try {
      for (;;) {
        const chunk = await this.#reader.next();
        switch (chunk.kind) {
          case 'segment':
            this.segments++;
            if (chunk.restarted) {
              this.restarts++;
              this.#order.restart();
            }
            break;
          case 'entries':
            for (const entry of chunk.entries) this.#order.push(entry);
            this.#take();
            break;
          case 'idle':
            this.idles++;
            break;
          case 'missing':
            this.missing++;
            break;
          case 'gone':
            this.gone = true;
        }
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.failure = error;
    }
  }

  #take(): void {
    for (const { replicate, commit } of this.#order.take()) {
      const opId = formatOpId(replicate.opId);
      if (replicate.opType !== OpType.WRITE) {
        this.committed.push(opId);
        continue;
      }
      const applied = commit.readRowResults().reduce((sum, one) => sum + one, 0);
      this.rows += applied;
      this.committed.push(`${opId} x${applied}`);
    }
  }
}
