import type { NiceResult } from './cpu-priority.ts';
import type { Logger } from './logger.ts';
import { pause } from './pause.ts';

/** Whether a process stands back for others, or works as any other since it was too late; then since when it is not. */
export type Stance = { readonly kind: 'back' } | { readonly kind: 'forward'; readonly calmSinceMs: number | null };

export const BACK: Stance = { kind: 'back' };

/** It stands back again once it was less late than this part of the limit for so long. */
const CALM_PART = 0.5;
const CALM_FOR_MS = 10_000;
const LOOK_EVERY_MS = 1000;

/** Pure. @param maxLagS how late it may be and still stand back; 0 for however late */
export function nextStance(stance: Stance, lagS: number, nowMs: number, maxLagS: number): Stance {
  if (maxLagS === 0) return BACK;
  if (stance.kind === 'back') return lagS > maxLagS ? { kind: 'forward', calmSinceMs: null } : stance;
  if (lagS > maxLagS * CALM_PART) return { kind: 'forward', calmSinceMs: null };
  const calmSinceMs = stance.calmSinceMs ?? nowMs;
  return nowMs - calmSinceMs >= CALM_FOR_MS ? BACK : { kind: 'forward', calmSinceMs };
}

export interface StandBackOptions {
  /** How far it stands back: a nice value; 0 is not at all. */
  readonly nice: number;
  /** What whoever started it gave it, which is its normal priority. */
  readonly ownNice: number;
  readonly maxLagS: number;
  /** How late the work is at this moment, as far as more CPU could help. */
  readonly lagSeconds: () => number;
  readonly setNice: (nice: number) => NiceResult;
  readonly logger: Logger;
  readonly lookEveryMs?: number;
}

/** Stands back for the other processes of the machine, but never so far that the work falls behind for good. */
export class StandBack {
  readonly #options: StandBackOptions;
  #stance = BACK;
  /** The nice value that was asked for last; null before the first. */
  #asked: number | null = null;
  #hasComplained = false;

  constructor(options: StandBackOptions) {
    this.#options = options;
  }

  /** Looks until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#options.nice <= this.#options.ownNice) return;
    while (!signal.aborted) {
      this.look(performance.now());
      await pause(this.#options.lookEveryMs ?? LOOK_EVERY_MS, signal);
    }
  }

  look(nowMs: number): void {
    const { nice, ownNice, maxLagS, lagSeconds, setNice, logger } = this.#options;
    const lagS = lagSeconds();
    this.#stance = nextStance(this.#stance, lagS, nowMs, maxLagS);
    const wanted = this.#stance.kind === 'back' ? nice : ownNice;
    if (wanted === this.#asked) return;
    const result = setNice(wanted);
    if (result === 'again') return;
    const isFirst = this.#asked === null;
    this.#asked = wanted;
    if (result === 'refused') {
      if (!this.#hasComplained)
        logger.warn(
          { nice, lagSeconds: lagS, maxLagSeconds: maxLagS },
          'is late and may not work at normal priority: that takes CAP_SYS_NICE, or RLIMIT_NICE (LimitNICE=+0 in a systemd unit)',
        );
      this.#hasComplained = true;
      return;
    }
    if (wanted === ownNice) logger.info({ lagSeconds: lagS }, 'is late, and works at normal priority until it is not');
    else if (!isFirst) logger.info({ nice, lagSeconds: lagS }, 'stands back again');
  }
}
