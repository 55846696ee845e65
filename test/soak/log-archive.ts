import { linkSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { formatOpId } from '../../src/kudu/opid.ts';
import { OpType } from '../../src/wal/entry.ts';
import { isTabletId, segmentNumber } from '../../src/wal/log-folder.ts';
import { LocalSegment } from '../../src/wal/local-segment.ts';
import { SegmentCursor } from '../../src/wal/segment-cursor.ts';
import type { SpoorCluster } from '../support/spoor-cluster.ts';

const LOOK_MS = 500;
const MOST_TOLD = 20;

export interface ArchivedLogs {
  /** By tablet, the rows that Kudu applied, as `term.index.row`. */
  readonly applied: ReadonlyMap<string, ReadonlySet<string>>;
  /** Operations whose rows were judged otherwise in another log, or in a later form of the same one. */
  readonly differing: readonly string[];
}

/**
 * Every segment that any tablet server had of any log, through restarts, moves and log GC, by a hard link of its own. What
 * Kudu said of an operation's rows, and whether it said the same everywhere, can be asked of it afterwards.
 */
export class LogArchive implements Disposable {
  readonly #dir: string;
  readonly #walDirs: readonly string[];
  readonly #known = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  /** @param dir on the file system of the servers' own folders */
  constructor(cluster: SpoorCluster, dir: string) {
    this.#dir = dir;
    this.#walDirs = cluster.kudu.tservers.map(({ walDir }) => walDir);
    this.#timer = setInterval(() => {
      this.#look();
    }, LOOK_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** What Kudu has said of every operation of every tablet. */
  async read(): Promise<ArchivedLogs> {
    this.#look();
    const applied = new Map<string, Set<string>>();
    const differing: string[] = [];
    for (const tabletId of readdirSync(this.#dir)) {
      const known = new Map<string, { readonly results: string; readonly path: string }>();
      const folder = join(this.#dir, tabletId);
      for (const name of readdirSync(folder).sort()) {
        const path = join(folder, name);
        for await (const [opId, results] of commitsIn(path)) {
          const before = known.get(opId);
          if (!before) known.set(opId, { results, path });
          else if (before.results !== results && differing.length < MOST_TOLD)
            differing.push(`${tabletId} ${opId}: ${before.results} in ${before.path}, ${results} in ${path}`);
        }
      }
      const rows = new Set<string>();
      for (const [opId, { results }] of known)
        for (let row = 0; row < results.length; row++) if (results[row] === '1') rows.add(`${opId}.${row}`);
      applied.set(tabletId, rows);
    }
    return { applied, differing };
  }

  #look(): void {
    for (const [server, walDir] of this.#walDirs.entries())
      for (const tabletId of list(join(walDir, 'wals')))
        for (const name of isTabletId(tabletId) ? list(join(walDir, 'wals', tabletId)) : []) {
          const path = join(walDir, 'wals', tabletId, name);
          const number = segmentNumber(name);
          const inode = number === null ? undefined : statSync(path, { throwIfNoEntry: false })?.ino;
          if (inode === undefined || this.#known.has(`${inode}`)) continue;
          const order = String(this.#known.size).padStart(8, '0');
          const folder = join(this.#dir, tabletId);
          mkdirSync(folder, { recursive: true });
          try {
            linkSync(path, join(folder, `${order}-server-${server}-${name}`));
            this.#known.add(`${inode}`); // it stays ours: no other file is given the number
          } catch {
            // it went in this moment
          }
        }
  }
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return []; // it went, or is not there yet
  }
}

/** Of writes: the OpId, and a digit a row. What is cut off or damaged ends it. */
async function* commitsIn(path: string): AsyncGenerator<readonly [string, string]> {
  const file = new LocalSegment(path, 1);
  try {
    const cursor = new SegmentCursor(file);
    for (;;) {
      const step = await cursor.step();
      if (step.kind === 'header') continue;
      if (step.kind !== 'entries') return;
      for (const entry of step.entries)
        if (entry.kind === 'commit' && entry.opType === OpType.WRITE)
          yield [formatOpId(entry.opId), entry.readRowResults().join('')];
    }
  } finally {
    file.release();
  }
}
