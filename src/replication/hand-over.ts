import type { ShipperView } from './local-replica.ts';
import type { TabletView } from './views.ts';

export interface HandOverOptions {
  /** Uuid of the tablet server beside us. */
  readonly selfUuid: string;
  /** Uuids of the tablet servers whose sidecars live; `fresh`: by an answer that is not remembered from before. */
  readonly aliveSidecars: (fresh: boolean, signal: AbortSignal) => Promise<ReadonlySet<string>>;
  /** Whether the other sidecars can know that we live. */
  readonly isAnnounced: () => boolean;
  /** What all other sidecars ship, or are about to; `isWhole` unless one that may live does not answer. */
  readonly shippedElsewhere: (signal: AbortSignal) => Promise<Elsewhere>;
}

export interface Elsewhere {
  readonly views: readonly TabletView[];
  readonly isWhole: boolean;
}

/** A stand-in sees within some 4 s that we are back, and finishes the write in hand; past this it is fenced. */
const FINISH_WITHIN_MS = 15_000;
/** Who does not answer for so long is no longer waited for. */
const ANSWER_WITHIN_MS = 5_000;

/**
 * Keeps a stand-in and the sidecar that it stands in for from shipping one tablet side by side. No record would be lost by
 * that, since the sink fences one; but one that is fenced cannot save how far it got, and at-least-once repeats that.
 *
 * A stand-in shows its claim, then asks whether the leader's sidecar lives, and begins only where it does not. One that
 * starts says that it lives, then asks for the others' claims, and begins only where there is none. Whichever comes
 * first, one of the two sees the other.
 */
export class HandOver {
  readonly #options: HandOverOptions;
  readonly #startedMs = performance.now();
  #alive: ReadonlySet<string> = new Set();
  /** Of tablets that we would begin to ship in another's place, as `stream/tablet`. */
  readonly #claims = new Set<string>();
  /** Those that have been there ever since it was asked who lives, */
  #asked = new Set<string>();
  /** and that was answered. */
  #examined = new Set<string>();
  /** What stand-ins shipped, or claimed, at the last look; null while there was no whole answer. */
  #standIns: ReadonlySet<string> | null = null;

  constructor(options: HandOverOptions) {
    this.#options = options;
  }

  get sidecars(): ShipperView {
    return { self: this.#options.selfUuid, alive: this.#alive };
  }

  hasClaim(stream: string, tabletId: string): boolean {
    return this.#claims.has(keyOf(stream, tabletId));
  }

  /** What was claimed is claimed no more, unless it is claimed again at once. */
  dropClaims(): void {
    for (const keys of [this.#asked, this.#examined])
      for (const key of keys) if (!this.#claims.has(key)) keys.delete(key);
    this.#claims.clear();
  }

  /** Asks who lives, and where we have just started, what is shipped in our place. */
  async look(signal: AbortSignal): Promise<void> {
    const looks = [this.#lookForLiving(signal), this.#lookForStandIns(signal)];
    for (const result of await Promise.allSettled(looks))
      if (result.status === 'rejected') throw result.reason as Error;
  }

  /** Claims a tablet that is ours to ship; answers whether we may begin now. To be asked again after each look. */
  claim(stream: string, tabletId: string, isLeader: boolean): boolean {
    const key = keyOf(stream, tabletId);
    if (!isLeader) this.#claims.add(key);
    if (!this.#isOver && this.#standIns?.has(key) !== false) return false;
    return isLeader || this.#examined.has(key);
  }

  async #lookForLiving(signal: AbortSignal): Promise<void> {
    this.#asked = new Set(this.#claims);
    this.#alive = await this.#options.aliveSidecars(this.#asked.size > 0, signal);
    this.#examined = this.#asked;
  }

  /** While we are there nobody stands in for us: once those have finished who did, that is over. */
  get #isOver(): boolean {
    if (this.#standIns?.size === 0) return true;
    return performance.now() - this.#startedMs > (this.#standIns === null ? ANSWER_WITHIN_MS : FINISH_WITHIN_MS);
  }

  async #lookForStandIns(signal: AbortSignal): Promise<void> {
    if (this.#isOver || !this.#options.isAnnounced()) return;
    const { views, isWhole } = await this.#options.shippedElsewhere(signal);
    const found = views.filter(({ role }) => role === 'follower');
    if (isWhole || found.length > 0) this.#standIns = new Set(found.map((view) => keyOf(view.stream, view.tabletId)));
  }
}

function keyOf(stream: string, tabletId: string): string {
  return `${stream}/${tabletId}`;
}
