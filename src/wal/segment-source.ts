/** One segment file, held open: its bytes stay readable when its name is unlinked or moved. */
export interface SegmentFile {
  /** Where it was found; for messages. */
  readonly path: string;
  /** The number in its name. */
  readonly sequenceNumber: number;
  /** Tells it from another file that gets the same name later (kudu-facts trap 7). */
  readonly inode: bigint;
  /**
   * Reads into `target` from byte `position` of the file on, as far as both reach.
   * @returns how many bytes came: at once where they are sure to be in memory, else later
   */
  read(target: Buffer, position: number): number | Promise<number>;
  /** Size of the file now. An open segment has its full size from birth, zeros after what is written. */
  size(): number | Promise<number>;
  /** Why nobody can read it here, though it is there: it is encrypted, and its key cannot be had. */
  readonly unreadable?: string | null;
  /** Gives it back; to be called once. */
  release(): void;
}

/** A place in a segment up to which all was read, and at which nothing was written when that was read. */
export interface RestingPlace {
  readonly file: SegmentFile;
  readonly offset: number;
}

export type SegmentNews =
  /**
   * The next segment of the log. Its writer has finished with the one before. `isDamaged`: a reader has met damage in it,
   * so that where it cannot be read on is not where its writer stopped.
   */
  | { readonly kind: 'segment'; readonly file: SegmentFile; readonly isDamaged?: boolean }
  /** Nothing more is written to the segments so far: the log begins anew in other files, or is gone. */
  | { readonly kind: 'over' }
  /** The tablet has no log here any more. */
  | { readonly kind: 'gone' };

/**
 * Where the segments of one tablet's log come from, oldest first: a tablet server's folder, and whatever else keeps
 * or carries segments. It never waits for its reader: a segment is held from the moment it is seen.
 */
export interface SegmentSource extends Disposable {
  readonly tabletId: string;
  /** What comes after the segment in hand, or null where nothing does yet. The same until {@link shift}. */
  peek(): SegmentNews | null;
  /** Takes what {@link peek} showed. A segment taken is its taker's to release. */
  shift(): void;
  /** Tells that a segment which was taken, and which the log has left behind, cannot be read to its end. */
  noteDamage(file: SegmentFile): void;
  /** Rises whenever there may be news, or more bytes in a segment. */
  readonly version: number;
  /**
   * Resolves when `version` is not `seen` any more. Rejects when the signal aborts or what stands behind it fails.
   * @param restsAt where the reader stands in the segment in hand: while nothing is written there, there is no need to look
   *   again. Null where it is to be looked at now and then, whatever is there
   */
  changed(seen: number, signal: AbortSignal, restsAt: RestingPlace | null): Promise<void>;
}
