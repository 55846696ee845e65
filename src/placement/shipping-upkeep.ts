import type { Keepers } from '../keeping/keepers.ts';
import type { LocalTserver } from '../keeping/local-replica.ts';
import type { StreamSource } from '../streams/stored-stream.ts';
import { Slots } from '../util/slots.ts';
import type { ShippedTablets, Shipping } from './shipped-tablets.ts';

const MAX_COMMITTED_CALLS_AT_A_TIME = 8;
/** How often a tablet that seems to have nothing left to ship is held against what its server has committed; */
const CHECK_COMMITTED_EVERY_MS = 10_000;
/** and how many of them at most in a look: of hundreds, each less often. What is wrong with a server shows at the first. */
const MAX_CHECKS_A_LOOK = 8;

export interface ShippingUpkeepOptions {
  readonly keepers: Pick<Keepers, 'get'>;
  readonly streams: Pick<StreamSource, 'setSpeaker'>;
  readonly tserver: Pick<LocalTserver, 'committedOpId'>;
}

/** What is to be done now and then for the tablets that are shipped from here. */
export class ShippingUpkeep {
  readonly #options: ShippingUpkeepOptions;
  readonly #shipped: Pick<ShippedTablets, 'running'>;
  /** Those whose turn is to come in this round; goes along with what begins and ends meanwhile. */
  #left: Iterator<Shipping> = [][Symbol.iterator]();
  #roundBeganAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ShippingUpkeepOptions, shipped: Pick<ShippedTablets, 'running'>) {
    this.#options = options;
    this.#shipped = shipped;
  }

  /** An idle tablet's log stands still, and what is resolved with it: where that is wanted, markers move it. */
  beatHearts(): void {
    for (const { open, replicator } of this.#shipped.running.values()) {
      const { resolved } = open.stored.definition;
      if (resolved && replicator.sinkWorks)
        this.#options.keepers.get(replicator.tabletId)?.heartbeat(resolved.intervalMs);
    }
  }

  /** A tablet that speaks for its table in the place of another, and has begun to, is the one that does from now on. */
  async keepSpeakers(signal: AbortSignal): Promise<void> {
    for (const { open, membership, schemas, replicator } of this.#shipped.running.values()) {
      const { tableId, tabletId } = replicator.tablet;
      if (schemas !== 'takes-over' || !replicator.hasSpoken) continue;
      const joined = open.joined.get(tableId);
      if (joined === undefined || joined.speakerTabletId === tabletId) continue;
      await this.#options.streams.setSpeaker(open.stored, { ...replicator.tablet, membership }, signal);
      open.joined.set(tableId, { ...joined, speakerTabletId: tabletId });
    }
  }

  /**
   * While a tablet is behind, only its server knows how far. One that has read its log to the end knows itself, but for
   * a log that does not go on although the server does: that shows in what the server says now and then. They are asked
   * about in turn, so that however many there are it costs the same.
   * @param onTrouble told of each tablet that it does not answer for: one may be stopping just now
   */
  async askCommitted(signal: AbortSignal, onTrouble: (error: unknown) => void): Promise<void> {
    const asked = this.#takeTurns(performance.now());
    for (const shipping of this.#shipped.running.values()) if (shipping.replicator.isBehind) asked.add(shipping);
    if (asked.size === 0) return;
    const slots = new Slots(MAX_COMMITTED_CALLS_AT_A_TIME);
    await Promise.all(
      [...asked].map(async (shipping) => {
        const giveBack = await slots.acquire(signal);
        try {
          shipping.committed = await this.#options.tserver.committedOpId(shipping.replicator.tabletId, signal);
          shipping.replicator.noteCommitted(shipping.committed);
        } catch (error) {
          signal.throwIfAborted();
          onTrouble(error);
        } finally {
          giveBack();
        }
      }),
    );
  }

  /** Who is next to be asked about. */
  #takeTurns(nowMs: number): Set<Shipping> {
    const turns = new Set<Shipping>();
    while (turns.size < MAX_CHECKS_A_LOOK) {
      const next = this.#left.next();
      if (next.done !== true) turns.add(next.value);
      else if (nowMs - this.#roundBeganAtMs > CHECK_COMMITTED_EVERY_MS) {
        this.#left = this.#shipped.running.values();
        this.#roundBeganAtMs = nowMs;
      } else break;
    }
    return turns;
  }
}
