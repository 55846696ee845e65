import { SpoorError } from '../errors.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import { fileNow } from '../util/steady-clock.ts';
import { HoldGrowth } from './hold-growth.ts';
import type { ReplicaHold } from './replica-hold.ts';

/** How much of one replica's log may be held, and for how long; 0 is no limit. */
export interface HoldLimits {
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

/** Part of the held log was given up for a limit. */
export interface LostRange {
  readonly fromIndex: bigint;
  readonly toIndex: bigint;
  readonly why: string;
}

/** A held log within its limits: what is beyond them goes, and what a stream may still have needed of it is told. */
export class BoundedHold {
  readonly #hold: ReplicaHold;
  readonly #limits: HoldLimits;
  readonly #growth = new HoldGrowth();

  constructor(hold: ReplicaHold, limits: HoldLimits) {
    this.#hold = hold;
    this.#limits = limits;
  }

  /**
   * Lets go of what is beyond the limits.
   * @param safe the index up to which no stream needs anything
   * @param nowMs by {@link steadyNow}
   * @returns what a stream may still have needed of it, or null
   */
  enforce(safe: bigint, nowMs: number): LostRange | null {
    const { maxBytes, maxAgeMs } = this.#limits;
    if (maxBytes === 0 && maxAgeMs === 0) return null;
    const { bytes, oldestAtMs } = this.#hold;
    this.#growth.note(bytes, nowMs);
    const ageMs = oldestAtMs === null ? 0 : fileNow() - oldestAtMs;
    const why =
      maxBytes > 0 && bytes > maxBytes
        ? `${bytes} bytes were held, SPOOR_HOLD_MAX_BYTES is ${maxBytes}`
        : maxAgeMs > 0 && ageMs > maxAgeMs
          ? `the log was held for ${Math.round(ageMs / 1000)} s, SPOOR_HOLD_MAX_AGE_S is ${maxAgeMs / 1000}`
          : null;
    if (why === null) return null;
    return this.#letGo({ ...(maxBytes > 0 && { maxBytes }), ...(maxAgeMs > 0 && { maxAgeMs }) }, why, safe);
  }

  /** Lets go of so many of the oldest held segments, whatever the limits say. See {@link enforce} */
  letGoOfOldest(count: number, why: string, safe: bigint): LostRange | null {
    return this.#letGo({ oldest: count }, why, safe);
  }

  /**
   * Seconds until a limit is reached if the held log goes on growing as it does; null where that is not in sight.
   * @param nowMs by {@link fileNow}
   */
  secondsUntilLimit(nowMs: number): number | null {
    const hold = this.#hold;
    const { maxBytes, maxAgeMs } = this.#limits;
    const byAge = maxAgeMs > 0 && hold.oldestAtMs !== null ? (hold.oldestAtMs + maxAgeMs - nowMs) / 1000 : null;
    const rate = this.#growth.bytesPerSecond;
    const byBytes = maxBytes > 0 && rate > 0 ? (maxBytes - hold.bytes) / rate : null;
    if (byAge === null) return byBytes;
    return byBytes === null ? byAge : Math.min(byAge, byBytes);
  }

  #letGo(until: Parameters<ReplicaHold['letGo']>[0], why: string, safe: bigint): LostRange | null {
    const lost = this.#hold.letGo(until, fileNow());
    if (lost === null || lost.toIndex <= safe) return null;
    const fromIndex = lost.fromIndex > safe ? lost.fromIndex : safe + 1n;
    return { fromIndex, toIndex: lost.toIndex, why };
  }
}

/** Why a replica's log was given up, in the words of an error. */
export function lostLogError(tabletId: string, lost: LostRange, read: OpId): SpoorError {
  return new SpoorError(
    'SPOOR_WAL_GAP',
    `the held log up to index ${lost.toIndex} was let go: ${lost.why}; ` +
      `the operations after ${formatOpId(read)} up to index ${lost.toIndex} are missing`,
    { tabletId, after: formatOpId(read), toIndex: lost.toIndex.toString() },
  );
}
