/*
 * When what may go of a held log does go. Pure: replica-keeper.ts carries the effects out.
 *
 *   no stream needs it ──may-go──▶ waiting ──late enough, and the streams are known for sure──▶ released
 *
 * A stream that was made a moment ago begins behind what is committed, and is seen here only with the next look at the
 * streams: so what may go waits for longer than such a look takes, and goes only while what is known of the streams is
 * fresh, and only as far as that allows then.
 */

export interface ReleaseQueue {
  /** Oldest first. */
  readonly waiting: readonly { readonly index: bigint; readonly dueAtMs: number }[];
  /** When it was last known for sure which streams have this tablet. */
  readonly sureAtMs: number;
  readonly pinnedUntilMs: number;
  /** Whether `due` was asked for and has not come. */
  readonly isDueAwaited: boolean;
}

export type ReleaseEvent =
  /** Nobody needs the operations up to `index`. */
  | { readonly kind: 'may-go'; readonly index: bigint }
  /** Which streams have the tablet is what Kudu says now. */
  | { readonly kind: 'sure' }
  /** Nothing goes for so long, whatever streams say: another one that begins behind it is about to be made. */
  | { readonly kind: 'pin'; readonly ms: number }
  /** `safe`: up to where nobody needs it by what is known now; null: no stream does. */
  | { readonly kind: 'due'; readonly safe: bigint | null };

export type ReleaseEffect =
  | { readonly kind: 'release'; readonly index: bigint }
  /** Answered by `due`; there is one at a time. */
  | { readonly kind: 'due-in'; readonly ms: number };

export interface ReleaseStep {
  readonly queue: ReleaseQueue;
  readonly effects: readonly ReleaseEffect[];
}

export const NOTHING_TO_RELEASE: ReleaseQueue = {
  waiting: [],
  sureAtMs: Number.NEGATIVE_INFINITY,
  pinnedUntilMs: Number.NEGATIVE_INFINITY,
  isDueAwaited: false,
};

/** So many wait at most: a later one says all that an earlier one does. */
const MAX_WAITING = 32;
/** What is known of the streams must be no older than this when something is let go of. */
const SURE_MAX_AGE_MS = 3_000;
/** When it is asked again whether it is. */
const SURE_AGAIN_MS = 1_000;

/** Pure. @param delayMs how long what may go is still held */
export function stepRelease(queue: ReleaseQueue, event: ReleaseEvent, nowMs: number, delayMs: number): ReleaseStep {
  switch (event.kind) {
    case 'sure':
      return { queue: { ...queue, sureAtMs: nowMs }, effects: [] };
    case 'pin':
      return { queue: { ...queue, pinnedUntilMs: nowMs + event.ms }, effects: [] };
    case 'may-go': {
      const before = queue.waiting.slice(0, MAX_WAITING - 1);
      return awaitDue({ ...queue, waiting: [...before, { index: event.index, dueAtMs: nowMs + delayMs }] }, nowMs);
    }
    case 'due':
      return onDue({ ...queue, isDueAwaited: false }, event.safe, nowMs, delayMs);
  }
}

function onDue(queue: ReleaseQueue, safe: bigint | null, nowMs: number, delayMs: number): ReleaseStep {
  const isSure = nowMs - queue.sureAtMs <= SURE_MAX_AGE_MS && nowMs >= queue.pinnedUntilMs;
  if (!isSure) return { queue: { ...queue, isDueAwaited: true }, effects: [{ kind: 'due-in', ms: SURE_AGAIN_MS }] };
  const waiting = queue.waiting.filter(({ dueAtMs }) => dueAtMs > nowMs);
  const due = queue.waiting[queue.waiting.length - waiting.length - 1]?.index;
  if (due === undefined || safe === null) return awaitDue({ ...queue, waiting }, nowMs);
  // A stream has come that needs more: when it needs that no more, nobody says so once again. What waits says as much.
  if (safe < due && waiting.length === 0) waiting.push({ index: due, dueAtMs: nowMs + delayMs });
  const next = awaitDue({ ...queue, waiting }, nowMs);
  return { ...next, effects: [{ kind: 'release', index: safe < due ? safe : due }, ...next.effects] };
}

function awaitDue(queue: ReleaseQueue, nowMs: number): ReleaseStep {
  const [first] = queue.waiting;
  if (!first || queue.isDueAwaited) return { queue, effects: [] };
  return {
    queue: { ...queue, isDueAwaited: true },
    effects: [{ kind: 'due-in', ms: Math.max(0, first.dueAtMs - nowMs) }],
  };
}
