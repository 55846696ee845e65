import { statSync } from 'node:fs';
import { LocalSegment } from './local-segment.ts';
import { isMissing } from './log-folder.ts';
import { readFooterAtEnd } from './segment-format.ts';
import { findFirstReplicate, scanIndexes, type IndexRange } from './segment-indexes.ts';

/** One file of a held log, and what was once found out about it. */
export class HeldSegment {
  readonly path: string;
  readonly sequenceNumber: number;
  readonly inode: bigint;
  /** A reader has met damage in it: what is behind that has to come from elsewhere. Every process finds out anew. */
  isDamaged = false;
  #first: bigint | null = null;
  #isClosed: boolean | null = null;
  #range: IndexRange | null = null;
  #figures: SegmentFigures | null = null;

  /** @throws what the file system says, ENOENT if there is no such file */
  constructor(path: string, sequenceNumber: number) {
    this.path = path;
    this.sequenceNumber = sequenceNumber;
    this.inode = statSync(path, { bigint: true }).ino;
  }

  /** How many bytes there are in it; 0 when it was let go of. */
  get size(): number {
    return this.#with((file) => file.size(), 0);
  }

  /**
   * Whether it has its footer. Only to be asked of a segment that another of the same log follows, so that it was
   * closed unless its end was lost: elsewhere its rows may well end like a footer. The answer is kept.
   * @throws what the file system says
   */
  isClosed(): boolean {
    this.#isClosed ??= this.#with((file) => {
      const footer = readFooterAtEnd(file);
      if (footer !== null) {
        const { minReplicateIndex: min, maxReplicateIndex: max } = footer;
        this.#range = max < 0n ? NOTHING : { min, max, isWhole: true };
      }
      return footer !== null;
    }, true);
    return this.#isClosed;
  }

  /** What is in it, where that is known: of a closed segment, and of one that was scanned. */
  get range(): IndexRange | null {
    return this.#range;
  }

  /** Reads all of it, when nothing is written to it any more, so that {@link range} is known. @throws as isClosed */
  async scan(): Promise<void> {
    const file = this.#open();
    if (file === null) {
      this.#range ??= NOTHING;
      return;
    }
    try {
      this.#range ??= await scanIndexes(file);
    } finally {
      file.release();
    }
  }

  /** The index of the first REPLICATE in it, or null when there is none yet, or none that can be read. @throws as isClosed */
  firstIndex(): bigint | null {
    if (this.#range?.isWhole === true && this.#range.max === null) return null;
    this.#first ??= this.#with(findFirstReplicate, null);
    return this.#first;
  }

  /** @param isFinal nothing is written to it any more: then the answer is kept */
  figures(isFinal: boolean): SegmentFigures {
    if (this.#figures !== null) return this.#figures;
    const stat = statSync(this.path, { throwIfNoEntry: false });
    const figures = stat === undefined ? NO_FIGURES : { bytes: stat.blocks * 512, lastAppendMs: stat.mtimeMs };
    if (isFinal) this.#figures = figures;
    return figures;
  }

  /** What the disk would get back if it went: nothing while there is another link to it, as the tablet server's own. */
  freesBytes(): number {
    const stat = statSync(this.path, { throwIfNoEntry: false });
    return stat?.nlink === 1 ? stat.blocks * 512 : 0;
  }

  #with<T>(ask: (file: LocalSegment) => T, ifMissing: T): T {
    const file = this.#open();
    if (file === null) return ifMissing;
    try {
      return ask(file);
    } finally {
      file.release();
    }
  }

  /** Null when it was let go of; or a person took it. */
  #open(): LocalSegment | null {
    try {
      return new LocalSegment(this.path, this.sequenceNumber);
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }
}

export interface SegmentFigures {
  /** What it takes on disk, what is only preallocated included. */
  readonly bytes: number;
  /** When something was last written to it, by the machine's clock: nothing in it is younger. */
  readonly lastAppendMs: number;
}
const NO_FIGURES: SegmentFigures = { bytes: 0, lastAppendMs: 0 };

const NOTHING: IndexRange = { min: null, max: null, isWhole: true };
