import type { StreamView, TabletView } from '../api/shapes.ts';
import { pause } from '../util/pause.ts';
import type { CliContext } from './cli-context.ts';
import { CliError, UnavailableError } from './cli-error.ts';
import { Progress, type Progressing } from './progress.ts';
import { StopSignals } from './stop-signals.ts';

const POLL_MS = 500;
/** By then each sidecar has seen what was asked of it, and begun or put it in its turn. */
const SEEN_WITHIN_MS = 15_000;
/** Of what keeps tablets, so many reasons are told. */
const MOST_NOTES = 3;

/** What is waited for. */
export interface StreamGoal {
  /** Tablets of which a copy was asked for: it is to be seen to begin before it can be over. */
  readonly copies: (tablet: TabletView) => boolean;
  /** Its id: then it has begun where `resynced` says so. A sidecar of an older version tells none. */
  readonly resync?: string | undefined;
}

/** All that was there is copied, and all that comes is shipped. */
export const RUNS: StreamGoal = { copies: () => false };

export interface WaitOptions {
  readonly look: () => Promise<StreamView>;
  readonly goal: StreamGoal;
  /** Null for as long as it takes. */
  readonly timeoutMs: number | null;
  readonly context: CliContext;
  readonly signal?: AbortSignal;
}

/** What was seen of the tablets so far, and when. Pure: looks are told to it. */
export class StreamWait {
  readonly #goal: StreamGoal;
  readonly #begunAtMs: number;
  readonly #seen = new Set<string>();

  constructor(goal: StreamGoal, begunAtMs: number) {
    this.#goal = goal;
    this.#begunAtMs = begunAtMs;
  }

  /** How far the stream is by this look; and whether there is nothing to wait for any more. */
  look({ tablets, paused }: StreamView, nowMs: number): Progressing & { readonly isDone: boolean } {
    const { resync } = this.#goal;
    const hasBegun = (tablet: TabletView): boolean =>
      resync === undefined ? isCopying(tablet) : tablet.resynced === resync;
    for (const tablet of tablets) if (hasBegun(tablet)) this.#seen.add(tablet.tabletId);
    const isLate = resync === undefined && nowMs - this.#begunAtMs > SEEN_WITHIN_MS;
    const isDone = (tablet: TabletView): boolean =>
      isSettled(tablet) && (isLate || !this.#goal.copies(tablet) || this.#seen.has(tablet.tabletId));
    const done = tablets.filter(isDone);
    const shares = tablets.map((tablet) => (isDone(tablet) ? 1 : (tablet.copy?.percent ?? 0) / 100));
    const share = tablets.length === 0 ? 1 : shares.reduce((sum, each) => sum + each, 0) / tablets.length;
    const rows = tablets.reduce((sum, { copy }) => sum + (copy?.rows ?? 0), 0);
    const copied = rows === 0 ? '' : `, ${rows.toLocaleString('en-US')} rows copied in the rest`;
    return {
      isDone: paused || done.length === tablets.length,
      share,
      words: `${done.length} of ${tablets.length} tablets run${copied}`,
      notes: notesOf(tablets.filter((tablet) => !isDone(tablet))),
    };
  }
}

/** Resolves with the stream as it is then. @throws {CliError} it took too long, or was stopped */
export async function awaitStream({ look, goal, timeoutMs, context }: WaitOptions): Promise<StreamView> {
  using stop = new StopSignals({ limitMs: POLL_MS, onLimit: () => undefined, onSecond: () => process.exit(1) });
  using progress = new Progress(context);
  const begunAtMs = performance.now();
  const wait = new StreamWait(goal, begunAtMs);
  let notes: readonly string[] = [];
  for (;;) {
    const view = await lookOr(look);
    const nowMs = performance.now();
    if (typeof view === 'string') progress.show({ share: null, words: 'no sidecar answers', notes: [view] });
    else {
      const seen = wait.look(view, nowMs);
      if (seen.isDone) return view;
      progress.show(seen);
      notes = seen.notes ?? [];
    }
    if (timeoutMs !== null && nowMs - begunAtMs + POLL_MS > timeoutMs)
      throw new CliError(1, [`not every tablet runs after ${timeoutMs / 1000} s`, ...notes].join('\n  '));
    await pause(POLL_MS, stop.signal);
    if (stop.signal.aborted) throw new CliError(1, 'not waited for any longer; it goes on by itself');
  }
}

/** A sidecar that restarts is waited for. @returns why there is no answer */
async function lookOr(look: () => Promise<StreamView>): Promise<StreamView | string> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof UnavailableError) return error.message.split('\n', 1)[0]!;
    throw error;
  }
}

function isCopying({ state, copy }: TabletView): boolean {
  return copy !== undefined || state === 'base-copy' || state === 'resync';
}

function isSettled(tablet: TabletView): boolean {
  return tablet.state === 'running' && !isCopying(tablet) && tablet.applyOpId !== null;
}

/** What keeps tablets, each reason once, with how many it keeps. */
function notesOf(tablets: readonly TabletView[]): string[] {
  const counts = new Map<string, number>();
  for (const { state, error, waiting } of tablets) {
    const why = error ? `${error.code}: ${error.message}` : waiting && `waits for ${waiting.for}`;
    const note = why === undefined ? state : `${state}: ${why}`;
    counts.set(note, (counts.get(note) ?? 0) + 1);
  }
  const notes = [...counts].sort(([, a], [, b]) => b - a).map(([note, count]) => `${count} ${note}`);
  return notes.length > MOST_NOTES
    ? [...notes.slice(0, MOST_NOTES), `and ${notes.length - MOST_NOTES} more reasons`]
    : notes;
}
