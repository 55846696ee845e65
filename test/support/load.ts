import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeMixed, type MixedCounts } from './java-tools.ts';
import type { SpoorCluster } from './spoor-cluster.ts';

let started = 0;

/** Writes mixed operations to a table until it is told to stop, or has written all it should. */
export class Load implements Disposable {
  readonly #stopFile: string;
  readonly #abort: AbortController;
  readonly #counts: Promise<MixedCounts>;

  private constructor(stopFile: string, abort: AbortController, counts: Promise<MixedCounts>) {
    this.#stopFile = stopFile;
    this.#abort = abort;
    this.#counts = counts;
    counts.catch(() => undefined); // told by stop()
  }

  /** @param options of WriteMixed.java; no number of operations is no end */
  static start(
    cluster: SpoorCluster,
    table: string,
    options: {
      ops?: number;
      rate?: number;
      keys?: number;
      seed?: number;
      threads?: number;
      flush?: number;
      commitWaitEvery?: number;
      /** Rows that are inserted first. */
      fill?: number;
      withoutNul?: boolean;
    } = {},
  ): Load {
    const stopFile = join(cluster.dir, `stop-load-${++started}`);
    const { commitWaitEvery = 0, withoutNul = false, ...rest } = options;
    const all = {
      ...{ ops: 1_000_000_000, seed: started, ...rest },
      ...{ 'commit-wait-every': commitWaitEvery, 'without-nul': Number(withoutNul) },
    };
    const abort = new AbortController();
    const arguments_ = { masters: cluster.masters, table, 'stop-file': stopFile, ...all };
    return new Load(stopFile, abort, writeMixed(arguments_, abort.signal));
  }

  /** Ends it; what it has begun is written. */
  async stop(): Promise<MixedCounts> {
    await writeFile(this.#stopFile, '');
    return this.#counts;
  }

  /** Resolves when it has written all it should. */
  async finished(): Promise<MixedCounts> {
    return this.#counts;
  }

  /** Ends the writer if it still runs. */
  [Symbol.dispose](): void {
    this.#abort.abort();
  }
}
