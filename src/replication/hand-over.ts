import type { ShipperView } from './local-replica.ts';
import type { TabletView } from './views.ts';

export interface HandOverOptions {
  /** Uuid of the tablet server beside us. */
  readonly selfUuid: string;
  /** Uuids of the tablet servers whose sidecars live; `fresh`: by an answer that is not remembered from before. */
  readonly aliveSidecars: (fresh: boolean, signal: AbortSignal) => Promise<ReadonlySet<string>>;
  /** The views of all other sidecars, of tablets that are shipped from elsewhere. */
  readonly shippedElsewhere: (signal: AbortSignal) => Promise<readonly TabletView[]>;
}

/** A stand-in sees within some 4 s that we are back, and finishes the write in hand; past this it is fenced. */
const FINISH_WITHIN_MS = 15_000;

/**
 * Who else may be shipping what is ours to ship. Two at once do no harm, since the sink fences one; but one that is fenced
 * cannot save how far it got, and at-least-once then repeats that. So a stand-in begins only where the leader's sidecar
 * is dead by an answer from just now, and one that comes back lets its stand-ins finish.
 */
export class HandOver {
  readonly #options: HandOverOptions;
  readonly #startedMs = performance.now();
  #alive: ReadonlySet<string> = new Set();
  #isFresh = false;
  #mustBeFresh = false;
  /** `stream/tablet` of what stand-ins shipped at the last look; null before the first. */
  #standIns: ReadonlySet<string> | null = null;

  constructor(options: HandOverOptions) {
    this.#options = options;
  }

  get sidecars(): ShipperView {
    return { self: this.#options.selfUuid, alive: this.#alive };
  }

  /** What the last look found is from a while ago. */
  expire(): void {
    this.#isFresh = false;
  }

  async look(signal: AbortSignal): Promise<void> {
    const { aliveSidecars } = this.#options;
    const fresh = this.#mustBeFresh;
    await Promise.all([
      aliveSidecars(fresh, signal).then((alive) => {
        this.#alive = alive;
        this.#isFresh = fresh;
        this.#mustBeFresh = false;
      }),
      this.#lookForStandIns(signal),
    ]);
  }

  /** Whether we may begin now to ship a tablet that is ours to ship. */
  mayBegin(stream: string, tabletId: string, isLeader: boolean): boolean {
    if (isLeader) return this.#isOver || this.#standIns?.has(`${stream}/${tabletId}`) === false;
    this.#mustBeFresh ||= !this.#isFresh;
    return this.#isFresh;
  }

  /** None begins while we are there: once all have finished, that is over. */
  get #isOver(): boolean {
    return this.#standIns?.size === 0 || performance.now() - this.#startedMs > FINISH_WITHIN_MS;
  }

  async #lookForStandIns(signal: AbortSignal): Promise<void> {
    if (this.#isOver) return;
    const views = await this.#options.shippedElsewhere(signal);
    this.#standIns = new Set(
      views.filter(({ role }) => role === 'follower').map(({ stream, tabletId }) => `${stream}/${tabletId}`),
    );
  }
}
