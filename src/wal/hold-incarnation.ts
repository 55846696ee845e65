import { linkSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodeOf } from '../util/error-code.ts';
import { HeldSegment } from './held-segment.ts';
import { identify, isMissing, isSame, segmentName, segmentNumber, type DirIdentity } from './log-folder.ts';

/** What is not finished. Whoever comes after a crash takes it away. */
const UNFINISHED = '.new-';

/** Which log an incarnation is a part of. */
export type IncarnationOrigin =
  /** One incarnation of the tablet's own folder. */
  | { readonly kind: 'own'; readonly identity: DirIdentity }
  /** A log that was received from another sidecar, by the name that it was given. */
  | { readonly kind: 'peer'; readonly name: string };

/**
 * One folder of a held log: `g000000002.<dev>.<inode>.<birth, ns>` for an incarnation of the tablet's own folder,
 * `p000000001.<name>` for one from another sidecar. The name says all there is to know, so that nothing can be half
 * known after a crash; a segment gets its name in it when it is sure to belong there.
 */
export class HoldIncarnation {
  readonly origin: IncarnationOrigin;
  /** In the order in which they were seen; own and others' are counted each on their own. */
  readonly number: number;
  readonly dir: string;
  /** Ascending. */
  segments: readonly HeldSegment[] = [];
  /** The highest number that was let go: what the server still has of it is not to be linked again. */
  #letGoUpTo = 0;
  /** Segments that are on their way into it. */
  #arriving = 0;
  #counter = 0;

  private constructor(parent: string, number: number, origin: IncarnationOrigin) {
    this.origin = origin;
    this.number = number;
    this.dir = join(parent, nameOf(number, origin));
  }

  /** A new one; its folder is made. */
  static create(parent: string, number: number, origin: IncarnationOrigin): HoldIncarnation {
    const incarnation = new HoldIncarnation(parent, number, origin);
    mkdirSync(incarnation.dir, { mode: 0o700 });
    return incarnation;
  }

  /** What an earlier process left under that name, with what was unfinished of it cleared away; null for other names. */
  static load(parent: string, name: string): HoldIncarnation | null {
    const [, kind, number, rest] = /^([gp])(\d{9,})\.(.+)$/.exec(name) ?? [];
    if (kind === undefined || number === undefined || rest === undefined) return null;
    const own = /^(\d+)\.(\d+)\.(\d+)$/.exec(rest);
    let origin: IncarnationOrigin = { kind: 'peer', name: rest };
    if (kind === 'g') {
      if (own === null) return null;
      origin = { kind: 'own', identity: { dev: BigInt(own[1]!), ino: BigInt(own[2]!), bornNs: BigInt(own[3]!) } };
    }
    const incarnation = new HoldIncarnation(parent, Number(number), origin);
    const entries = readdirSync(incarnation.dir);
    for (const entry of entries)
      if (entry.startsWith(UNFINISHED)) rmSync(join(incarnation.dir, entry), { force: true });
    incarnation.segments = entries
      .map(segmentNumber)
      .filter((each) => each !== null)
      .sort((a, b) => a - b)
      .map((each) => new HeldSegment(join(incarnation.dir, segmentName(each)), each));
    return incarnation;
  }

  isOf(identity: DirIdentity): boolean {
    return this.origin.kind === 'own' && isSame(this.origin.identity, identity);
  }

  /** Whether that segment is to be linked: it is not held, and was not let go. */
  wants(sequenceNumber: number): boolean {
    return sequenceNumber > this.#letGoUpTo && !this.segments.some((each) => each.sequenceNumber === sequenceNumber);
  }

  /** Whether every held segment that the folder has too is the same file there. */
  agreesWith(folderPath: string): boolean {
    return this.segments.every(({ sequenceNumber, inode }) => {
      const live = statSync(join(folderPath, segmentName(sequenceNumber)), { bigint: true, throwIfNoEntry: false });
      return live === undefined || live.ino === inode;
    });
  }

  /**
   * Links segments of the folder that it stands for, as long as it is that folder. A segment that log GC was quicker
   * with is left out. Until the folder was looked at once more, after linking, a link has no name that counts: an
   * identity never comes back, so what was linked between two looks that agree is of that folder.
   * @returns false when it is another folder by now; then nothing is kept
   * @throws what the file system says
   */
  link(folderPath: string, sequenceNumbers: readonly number[]): boolean {
    const linked: { readonly sequenceNumber: number; readonly path: string }[] = [];
    try {
      for (const sequenceNumber of sequenceNumbers) {
        const path = this.#unfinishedPath(sequenceNumber);
        if (linkIfThere(join(folderPath, segmentName(sequenceNumber)), path)) linked.push({ sequenceNumber, path });
      }
      const now = identify(folderPath);
      if (now === null || !this.isOf(now)) return false;
      for (const { sequenceNumber, path } of linked) {
        renameSync(path, join(this.dir, segmentName(sequenceNumber)));
        this.#insert(sequenceNumber);
      }
      return true;
    } finally {
      for (const { path } of linked) rmSync(path, { force: true });
    }
  }

  /**
   * Where to write a segment that comes from elsewhere. `keep` gives it its name, in place of what had that before;
   * exactly one of the two is to be called.
   */
  admit(sequenceNumber: number): { readonly path: string; keep(): void; discard(): void } {
    const path = this.#unfinishedPath(sequenceNumber);
    this.#arriving++;
    return {
      path,
      keep: () => {
        this.#arriving--;
        renameSync(path, join(this.dir, segmentName(sequenceNumber)));
        this.segments = this.segments.filter((each) => each.sequenceNumber !== sequenceNumber);
        this.#insert(sequenceNumber);
      },
      discard: () => {
        this.#arriving--;
        rmSync(path, { force: true });
      },
    };
  }

  /** The oldest is no longer part of it; its file is the caller's to unlink. */
  shift(): HeldSegment {
    const [oldest, ...others] = this.segments;
    if (oldest === undefined) throw new Error(`${this.dir} holds nothing`);
    this.segments = others;
    this.#letGoUpTo = Math.max(this.#letGoUpTo, oldest.sequenceNumber);
    return oldest;
  }

  /** Removes the folder of one that holds nothing. @returns whether it is gone */
  removeIfEmpty(): boolean {
    if (this.segments.length > 0 || this.#arriving > 0) return false;
    try {
      rmdirSync(this.dir);
    } catch (error) {
      if (!isMissing(error)) return errorCodeOf(error) === 'ENOTEMPTY' ? false : raise(error);
    }
    return true;
  }

  #unfinishedPath(sequenceNumber: number): string {
    return join(this.dir, `${UNFINISHED}${segmentName(sequenceNumber)}-${++this.#counter}`);
  }

  #insert(sequenceNumber: number): void {
    const segment = new HeldSegment(join(this.dir, segmentName(sequenceNumber)), sequenceNumber);
    const at = this.segments.findIndex((each) => each.sequenceNumber > sequenceNumber);
    this.segments = at < 0 ? [...this.segments, segment] : this.segments.toSpliced(at, 0, segment);
  }
}

function nameOf(number: number, origin: IncarnationOrigin): string {
  const digits = String(number).padStart(9, '0');
  if (origin.kind === 'peer') return `p${digits}.${origin.name}`;
  const { dev, ino, bornNs } = origin.identity;
  return `g${digits}.${dev}.${ino}.${bornNs}`;
}

/** @returns false when there is no such file */
function linkIfThere(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    // Also said when the folder to link into is gone: then it is no wonder that must not pass.
    if (isMissing(error) && statSync(from, { throwIfNoEntry: false }) === undefined) return false;
    throw error;
  }
}

function raise(error: unknown): never {
  throw error;
}
