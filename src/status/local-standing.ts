import type { LocalStanding } from '../api/cluster-look.ts';
import type { DiskStanding, HistoryView, LocalStatus, PartSince } from '../api/cluster-state.ts';
import { mapParts, type OfParts, type Part } from '../api/parts.ts';
import type { HoldFigures, PartHealth, TabletView } from '../api/shapes.ts';
import { pause } from '../util/pause.ts';
import { heldBytesOf, largestLag } from './compose-state.ts';
import { History, STEP_SECONDS, stepOf, type Sample } from './history.ts';

export interface Space {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

export interface LocalStandingOptions {
  /** The tablets that are shipped from here. */
  readonly localTablets: () => readonly TabletView[];
  readonly holds: () => readonly HoldFigures[];
  /** Of the disk of the held logs; null where it cannot be told. */
  readonly space: () => Space | null;
  readonly minFreePercent: number;
  /** By stream, of the counter that is on the metrics page. */
  readonly recordsShipped: () => Promise<ReadonlyMap<string, number>>;
  readonly readiness: () => Promise<OfParts<PartHealth>>;
  /** Takes out of reasons what must not be shown. */
  readonly mask: (text: string) => string;
  readonly nowMs?: () => number;
}

/** To look at the sinks takes long when they are away; who asks how we are is told what was seen last. */
const READINESS_FRESH_MS = 5_000;
const FIRST_READINESS_MS = 1_000;
/** To know the size of a held log takes a question of the file system for each replica. */
const HELD_FRESH_MS = 10_000;
/** Free space by which it is told how fast the disk fills: five minutes. Less would take one large file for what goes on. */
const SPACES_KEPT = 30;
/** Of a disk that fills more slowly than that nothing is foretold. */
const FORETOLD_S = 7 * 24 * 3600;

/** What this sidecar says of itself, and the last hour of what it ships. */
export class OwnStanding implements LocalStanding {
  readonly #options: LocalStandingOptions;
  readonly #nowMs: () => number;
  readonly #history = new History();
  readonly #spaces: { readonly atMs: number; readonly freeBytes: number }[] = [];
  readonly #since = new Map<Part, string>();
  #counted: { readonly atMs: number; readonly records: ReadonlyMap<string, number> } | null = null;
  #readiness: { readonly parts: LocalStatus['readiness']; readonly atMs: number } | null = null;
  #looking: Promise<void> | null = null;
  #held: (Pick<LocalStatus, 'heldBytes' | 'limit'> & { readonly atMs: number }) | null = null;

  constructor(options: LocalStandingOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** Takes a sample at the end of each step until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const goesOn = (): boolean => !signal.aborted;
    while (goesOn()) {
      const nowMs = this.#nowMs();
      await pause(stepOf(nowMs + 1) * 1000 - nowMs, signal);
      if (goesOn()) await this.sample();
    }
  }

  async sample(): Promise<void> {
    const { localTablets, recordsShipped, space } = this.#options;
    const records = await recordsShipped();
    const nowMs = this.#nowMs();
    const before = this.#counted;
    this.#counted = { atMs: nowMs, records };
    const free = space();
    if (free !== null) this.#spaces.push({ atMs: nowMs, freeBytes: free.freeBytes });
    if (this.#spaces.length > SPACES_KEPT) this.#spaces.shift();
    const byStream = new Map<string, TabletView[]>();
    for (const view of localTablets()) {
      const own = byStream.get(view.stream);
      if (own) own.push(view);
      else byStream.set(view.stream, [view]);
    }
    const samples = new Map<string, Sample>();
    for (const [stream, views] of byStream) {
      const more = (records.get(stream) ?? 0) - (before?.records.get(stream) ?? 0);
      const seconds = before === null ? 0 : (nowMs - before.atMs) / 1000;
      const rate = seconds > 0 && more >= 0 ? more / seconds : null;
      // Of a tablet that nobody can ship each of its replicas' sidecars has a view: the leader's counts, as in the streams' figures.
      const counted = views.filter(({ role, yields }) => role === 'leader' || yields !== true);
      samples.set(stream, [rate, largestLag(views), heldBytesOf(counted)]);
    }
    this.#history.note(stepOf(nowMs - (STEP_SECONDS * 1000) / 2), samples);
  }

  history(): HistoryView {
    return this.#history.view();
  }

  async status(): Promise<LocalStatus> {
    const [readiness, records] = await Promise.all([this.#lastReadiness(), this.#options.recordsShipped()]);
    const { heldBytes, limit } = this.#lastHeld();
    return { readiness, disk: this.#disk(), heldBytes, limit, recordsShipped: Object.fromEntries(records) };
  }

  #lastHeld(): Pick<LocalStatus, 'heldBytes' | 'limit'> {
    const nowMs = this.#nowMs();
    if (this.#held && nowMs - this.#held.atMs < HELD_FRESH_MS) return this.#held;
    const held = new Map<string, number>();
    let limit: LocalStatus['limit'] = null;
    for (const { stream, table, tablet, hold, secondsUntilLimit } of this.#options.holds()) {
      held.set(tablet, hold?.bytes ?? 0); // one log, however many streams need it
      if (secondsUntilLimit !== null && (limit === null || secondsUntilLimit < limit.seconds))
        limit = { seconds: secondsUntilLimit, stream, table, tabletId: tablet };
    }
    const heldBytes = [...held.values()].reduce((sum, bytes) => sum + bytes, 0);
    this.#held = { heldBytes, limit, atMs: nowMs };
    return this.#held;
  }

  #disk(): DiskStanding | null {
    const { space, minFreePercent } = this.#options;
    const now = space();
    if (now === null) return null;
    const [first] = this.#spaces;
    const isKnown = first !== undefined && this.#spaces.length === SPACES_KEPT;
    const perSecond = isKnown ? ((first.freeBytes - now.freeBytes) * 1000) / (this.#nowMs() - first.atMs) : 0;
    const left = now.freeBytes - (now.totalBytes * minFreePercent) / 100;
    const until = perSecond > 0 ? Math.max(0, left) / perSecond : null;
    return {
      ...now,
      minFreePercent,
      secondsUntilFloor: until === null || until > FORETOLD_S ? null : Math.round(until),
    };
  }

  async #lastReadiness(): Promise<LocalStatus['readiness']> {
    if (this.#readiness === null || this.#nowMs() - this.#readiness.atMs > READINESS_FRESH_MS)
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
      });
    if (this.#readiness === null && this.#looking)
      await Promise.race([this.#looking, pause(FIRST_READINESS_MS, NEVER)]);
    return this.#readiness?.parts ?? NOT_LOOKED;
  }

  async #look(): Promise<void> {
    const found = await this.#options.readiness();
    const now = new Date(this.#nowMs()).toISOString();
    const parts = mapParts(found, ({ ok, reason }, part): PartSince => {
      if (ok) {
        this.#since.delete(part);
        return { ok };
      }
      const since = this.#since.get(part) ?? now;
      this.#since.set(part, since);
      return { ok, since, ...(reason !== undefined && { reason: this.#options.mask(reason) }) };
    });
    this.#readiness = { parts, atMs: this.#nowMs() };
  }
}

const NEVER = new AbortController().signal;
const UNKNOWN = { ok: true };
/** Nothing is known to be wrong. */
const NOT_LOOKED: LocalStatus['readiness'] = { kudu: UNKNOWN, kafka: UNKNOWN, wal: UNKNOWN };
