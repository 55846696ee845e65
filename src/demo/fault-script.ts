/** What the demo can break while it runs. */
export const FAULTS = ['broker', 'sidecar', 'leader'] as const;
export type FaultKind = (typeof FAULTS)[number];

/** Where a fault stands. Times by any clock that does not jump. */
export type FaultPhase =
  | { readonly kind: 'ahead'; readonly atMs: number }
  /** `mendsAtMs` is null for what stays broken: others take its place. */
  | { readonly kind: 'broken'; readonly sinceMs: number; readonly mendsAtMs: number | null }
  /** It is seen to recover, from so long on. */
  | { readonly kind: 'recovering'; readonly sinceMs: number; readonly calmSinceMs: number | null }
  | { readonly kind: 'over'; readonly tookMs: number };

export type FaultEffect = 'break' | 'mend' | 'tell-recovered';

/** What is seen of the load: row changes that were written, and that arrived. */
export interface Seen {
  readonly nowMs: number;
  readonly written: number;
  readonly shipped: number;
  /** Row changes a second that were written lately. */
  readonly writtenPerSecond: number;
}

/** How long a broker is away. */
const AWAY_MS = 8_000;
/** Before, a lag has hardly had the time to show. */
const SHOWS_AFTER_MS = 4_000;
const CALM_FOR_MS = 2_000;

/** When the load has run for so long something breaks: early enough to be seen to recover before the end. */
export function breaksAfterMs(exitAfterMs: number | null): number {
  return Math.min(10_000, exitAfterMs === null ? Infinity : exitAfterMs / 3);
}

/** Pure. @param rate row operations a second that the load is to write */
export function stepFault(
  phase: FaultPhase,
  { nowMs, written, shipped, writtenPerSecond }: Seen,
  { kind, rate }: { readonly kind: FaultKind; readonly rate: number },
): { readonly phase: FaultPhase; readonly effect: FaultEffect | null } {
  switch (phase.kind) {
    case 'ahead': {
      if (nowMs < phase.atMs) return { phase, effect: null };
      const mendsAtMs = kind === 'broker' ? nowMs + AWAY_MS : null;
      return { phase: { kind: 'broken', sinceMs: nowMs, mendsAtMs }, effect: 'break' };
    }
    case 'broken': {
      const { mendsAtMs, sinceMs } = phase;
      if (mendsAtMs === null) return { phase: { kind: 'recovering', sinceMs, calmSinceMs: null }, effect: null };
      if (nowMs < mendsAtMs) return { phase, effect: null };
      return { phase: { kind: 'recovering', sinceMs: nowMs, calmSinceMs: null }, effect: 'mend' };
    }
    case 'recovering': {
      const { sinceMs, calmSinceMs } = phase;
      // A load that stands still leaves nothing behind either.
      const isCalm = written - shipped <= Math.max(50, rate / 2) && writtenPerSecond >= rate / 2;
      if (nowMs - sinceMs < SHOWS_AFTER_MS || !isCalm) return { phase: { ...phase, calmSinceMs: null }, effect: null };
      if (calmSinceMs === null) return { phase: { ...phase, calmSinceMs: nowMs }, effect: null };
      if (nowMs - calmSinceMs < CALM_FOR_MS) return { phase, effect: null };
      return { phase: { kind: 'over', tookMs: calmSinceMs - sinceMs }, effect: 'tell-recovered' };
    }
    case 'over':
      return { phase, effect: null };
  }
}
