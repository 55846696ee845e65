import { EventEmitter } from 'node:events';
import type { LogFeed } from '../wal/log-reader.ts';
import type { FreeSpaceFloor } from './free-space.ts';
import type { MarkerLimits, StreamMarks } from './marker-core.ts';
import type { Logger } from '../util/logger.ts';
import type { MarkerWriter } from './marker-writing.ts';
import type { HoldLimits, LostRange } from './bounded-hold.ts';
import type { ReplicaHold } from './replica-hold.ts';
import { ReplicaKeeper } from './replica-keeper.ts';

/** The held logs of a tablet server; wal/hold-store.ts is one. */
export interface HoldStore {
  /** Begins to hold a tablet's log, or goes on. */
  enable(tabletId: string): ReplicaHold;
  /** What is held of a tablet, or null. */
  get(tabletId: string): ReplicaHold | null;
  /** Every tablet of which something is held, by an earlier process too; the same list, itself, while they are the same. */
  tabletIds(): readonly string[];
}

export interface KeepersOptions extends HoldLimits {
  readonly holds: HoldStore;
  readonly openLog: (tabletId: string, signal: AbortSignal) => LogFeed;
  readonly markers: MarkerWriter;
  readonly sidecarId: string;
  readonly limits: MarkerLimits;
  readonly releaseDelayMs: number;
  /** Bounds all of them together. */
  readonly freeSpace: Pick<FreeSpaceFloor, 'look'>;
  readonly logger: Logger;
}

/** A tablet that streams want, and which. */
export interface KeptTablet {
  readonly tableId: string;
  readonly streams: readonly StreamMarks[];
}

/** One answer is not enough: what no stream seems to have for so long, by every answer in it, may go. */
const UNWANTED_GRACE_MS = 5_000;
/** A table that was taken out of a stream that goes on: a slip of the hand is made good within that. */
const LEFT_GRACE_MS = 300_000;
/** Longer than a stream takes to be made: elections are waited for. */
const KEEP_FOR_NOW_MS = 30_000;
/** A table that the master does not list has been dropped, or the master is not itself yet: held logs wait so long. */
const UNLISTED_GRACE_MS = 60_000;

/** What became of a tablet that no stream wants: its table left a stream that goes on, or is not listed by the master. */
export type Unwanted = 'listed' | 'left' | 'unlisted';
const GRACE_MS: Readonly<Record<Unwanted, number>> = {
  listed: UNWANTED_GRACE_MS,
  left: LEFT_GRACE_MS,
  unlisted: UNLISTED_GRACE_MS,
};

export interface KeepersEvents {
  /** A marker is in the log of a tablet, and speaks of these streams. */
  'marker-written': [tabletId: string, generations: readonly string[]];
  /** A tablet has another leader, or the same one again. */
  'new-term': [tabletId: string];
}

/** The keepers of all replicas beside us whose tables are streamed. */
export class Keepers extends EventEmitter<KeepersEvents> {
  readonly #options: KeepersOptions;
  readonly #keepers = new Map<string, ReplicaKeeper>();
  readonly #unwantedSince = new Map<string, number>();
  readonly #ending = new Set<Promise<void>>();
  /** Null where the keepers are others than when it was made. */
  #tabletIds: { readonly held: readonly string[]; readonly all: ReadonlySet<string> } | null = null;

  constructor(options: KeepersOptions) {
    super();
    this.#options = options;
  }

  get(tabletId: string): ReplicaKeeper | undefined {
    return this.#keepers.get(tabletId);
  }

  all(): Iterable<ReplicaKeeper> {
    return this.#keepers.values();
  }

  /** Holds a tablet from now on. What a new one's table is, and whether a stream wants it, may show a moment later. */
  keep(tabletId: string): ReplicaKeeper {
    let keeper = this.#keepers.get(tabletId);
    if (keeper === undefined) {
      this.#keepers.set(tabletId, (keeper = this.#create(tabletId)));
      this.#tabletIds = null;
    }
    return keeper;
  }

  /** Holds a tablet that no stream has yet: one that is about to be made will. */
  keepForNow(tabletId: string, nowMs: number): void {
    this.keep(tabletId).pinFor(KEEP_FOR_NOW_MS);
    this.#unwantedSince.set(tabletId, nowMs + KEEP_FOR_NOW_MS);
  }

  /** What was written down of a tablet whose log is held; null for none. */
  noteOf(tabletId: string): string | null {
    return this.#options.holds.get(tabletId)?.note ?? null;
  }

  /** Every tablet that is kept, or of which something is held. The same set, itself, while they are the same. */
  tabletIds(): ReadonlySet<string> {
    const held = this.#options.holds.tabletIds();
    if (this.#tabletIds?.held !== held) this.#tabletIds = { held, all: new Set([...this.#keepers.keys(), ...held]) };
    return this.#tabletIds.all;
  }

  /**
   * Makes what is kept equal what streams want. What none wants is let go: soon where its table is known, after a while
   * where it is not.
   * @param shipped tablets that are being shipped: their logs stay until that has ended, whatever became of their tables
   * @param fateOf what became of a tablet; null when master or streams could not be asked: then nothing goes
   */
  reconcile(
    wanted: ReadonlyMap<string, KeptTablet>,
    shipped: { has(tabletId: string): boolean },
    fateOf: ((tabletId: string) => Unwanted) | null,
    nowMs: number,
  ): void {
    for (const [tabletId, { tableId, streams }] of wanted) {
      this.#unwantedSince.delete(tabletId);
      this.keep(tabletId).setStreams(tableId, streams, { isSure: fateOf !== null });
    }
    if (fateOf === null) return;
    for (const tabletId of this.tabletIds()) {
      if (wanted.has(tabletId) || shipped.has(tabletId)) continue;
      const since = this.#unwantedSince.get(tabletId) ?? nowMs;
      this.#unwantedSince.set(tabletId, since);
      const fate = fateOf(tabletId);
      if (nowMs - since < GRACE_MS[fate]) continue;
      const isKnown = fate !== 'unlisted';
      if (!isKnown) this.#tellUnshipped(tabletId);
      this.letGo(tabletId, isKnown ? 'no stream has it' : 'its table is gone');
    }
  }

  /** Stops keeping a tablet and lets go of all that is held of it. */
  letGo(tabletId: string, why: string): void {
    const keeper = this.#keepers.get(tabletId);
    this.#keepers.delete(tabletId);
    this.#tabletIds = null;
    this.#unwantedSince.delete(tabletId);
    const drop = (): void => {
      if (this.#keepers.has(tabletId)) return; // a stream wants it again, and holds it
      this.#options.holds.get(tabletId)?.drop();
      this.#options.logger.info({ tabletId, why }, 'held log let go');
    };
    if (!keeper) drop();
    else this.#track(keeper[Symbol.asyncDispose]().then(drop));
  }

  /** Lets go of what is beyond the limits; answers what streams may still have needed. */
  enforceLimits(nowMs: number): ReadonlyMap<string, LostRange> {
    const lost = new Map<string, LostRange>();
    const { maxBytes, maxAgeMs } = this.#options;
    for (const keeper of maxBytes > 0 || maxAgeMs > 0 ? this.#keepers.values() : []) {
      const range = keeper.enforceLimits(nowMs);
      if (range) lost.set(keeper.tabletId, range);
    }
    const queues = () => new Map([...this.#keepers].map(([tabletId, { hold }]) => [tabletId, hold.letGoQueue()]));
    const crowded = this.#options.freeSpace.look(nowMs, queues);
    for (const [tabletId, count] of crowded?.counts ?? []) {
      const range = this.#keepers.get(tabletId)!.letGoOfOldest(count, crowded!.why);
      if (range) lost.set(tabletId, range);
    }
    return lost;
  }

  /** Writes the markers that are due, for as long as `signal` allows, and ends; what is held stays held. */
  async close(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.flush(signal)));
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper[Symbol.asyncDispose]()));
    await Promise.allSettled(this.#ending);
    this.#keepers.clear();
    this.#tabletIds = null;
  }

  /** Its table is gone, and with it the last operations that nobody shipped: no table will tell of them any more. */
  #tellUnshipped(tabletId: string): void {
    const keeper = this.#keepers.get(tabletId);
    const safe = keeper?.safeIndex ?? null;
    if (!keeper || safe === null || safe >= keeper.worthIndex) return;
    this.#options.logger.error(
      { tabletId, shippedTo: safe.toString(), lastIndex: keeper.worthIndex.toString() },
      'the tablet was dropped before all of it was shipped: its last operations are lost to the streams',
    );
  }

  #create(tabletId: string): ReplicaKeeper {
    const { holds, openLog, markers, sidecarId, limits, releaseDelayMs, maxBytes, maxAgeMs, logger } = this.#options;
    return new ReplicaKeeper({
      tabletId,
      hold: holds.enable(tabletId), // before the log is opened: nothing may go between
      openLog: (signal) => openLog(tabletId, signal),
      markers,
      sidecarId,
      limits,
      releaseDelayMs,
      maxBytes,
      maxAgeMs,
      onMarkerWritten: (generations) => {
        this.emit('marker-written', tabletId, generations);
      },
      onNewTerm: () => {
        this.emit('new-term', tabletId);
      },
      logger,
    });
  }

  /** What fails of it is told here: it is nobody else's concern, and the sidecar goes on. */
  #track(work: Promise<void>): void {
    const tracked: Promise<void> = work
      .catch((error: unknown) => {
        this.#options.logger.error({ err: error }, 'unexpected error');
      })
      .finally(() => this.#ending.delete(tracked));
    this.#ending.add(tracked);
  }
}
