import type { ClusterLooker } from '../api/cluster-look.ts';
import type { ClusterState, HistoryView, LookTrouble, StateEvent } from '../api/cluster-state.ts';
import { SpoorError } from '../errors.ts';
import { pause } from '../util/pause.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { composeState, composeTrouble, type Counted } from './compose-state.ts';
import { mergeHistories } from './history.ts';
import { LiveSamples } from './live-samples.ts';
import { changeBetween } from './state-change.ts';

/** One who watches the cluster. What it is told is text that all readers share. */
export interface EventReader {
  readonly role: StateEvent['role'];
  /** False where it has not taken yet what it was told before: then it is told the whole state later, and no changes. */
  tell(event: 'state' | 'change' | 'history', data: string): boolean;
}

/** What a look costs all sidecars grows with the tablets: of a thousand it is taken every three seconds. */
const LOOK_EVERY_MS = 1000;
const MORE_PER_TABLET_MS = 2;
const LOOK_TIMEOUT_MS = 10_000;
/** A history that is older than this is asked for anew when somebody joins. */
const HISTORY_FRESH_MS = 10_000;

/** One that may not be able to look yet. */
export interface AnyLooker {
  /** @throws {SpoorError} nothing can be looked at yet */
  readonly looker: ClusterLooker;
}

export interface ClusterEventsOptions {
  readonly looker: AnyLooker;
  /** Takes out of errors what must not be shown. */
  readonly mask?: (text: string) => string;
  readonly version: string;
  /** What time it is, in milliseconds since 1970. */
  readonly nowMs?: () => number;
  /** From the begin of one look to the next, by the tablets that there are. */
  readonly paceMs?: (tablets: number) => number;
}

interface Watching {
  /** It knows the state, and is told what changes. */
  isCurrent: boolean;
  hasHistory: boolean;
}

/**
 * Tells all that watch the cluster of it. It is looked at once a second at most while there is somebody, for all of them
 * together, and not at all while there is nobody.
 */
export class ClusterEvents {
  readonly #options: ClusterEventsOptions;
  readonly #nowMs: () => number;
  readonly #readers = new Map<EventReader, Watching>();
  #looking: AbortController | null = null;
  #state: ClusterState | null = null;
  /** The state as text, made when the first asks for it. */
  #text: string | null = null;
  #counted: Counted | null = null;
  #samples = new LiveSamples();
  #history: { readonly view: HistoryView; readonly atMs: number } | null = null;

  constructor(options: ClusterEventsOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  get readerCount(): number {
    return this.#readers.size;
  }

  /** @returns what ends it */
  join(reader: EventReader): () => void {
    this.#readers.set(reader, { isCurrent: false, hasHistory: false });
    if (this.#looking === null) {
      const looking = new AbortController();
      this.#looking = looking;
      void this.#run(looking.signal);
    } else if (this.#state !== null) this.#bringUpToDate();
    return () => {
      this.#readers.delete(reader);
      if (this.#readers.size > 0) return;
      this.#looking?.abort();
      this.#looking = null;
      this.#state = this.#text = this.#counted = this.#history = null;
      this.#samples = new LiveSamples();
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { paceMs = usualPaceMs } = this.#options;
    const goesOn = (): boolean => !signal.aborted;
    while (goesOn()) {
      const begun = performance.now();
      const next = await this.#look(signal);
      if (!goesOn()) return;
      this.#publish(next);
      await this.#tellHistory(signal);
      const everyMs = paceMs(next.tablets.length);
      await pause(Math.max(everyMs / 4, everyMs - (performance.now() - begun)), signal);
    }
  }

  async #look(signal: AbortSignal): Promise<ClusterState> {
    const { looker: from, version } = this.#options;
    try {
      using limit = new TimeLimit(signal, LOOK_TIMEOUT_MS);
      const look = await from.looker.look(limit.signal);
      const { state, counted } = composeState(look, version, this.#counted, this.#nowMs());
      this.#counted = counted;
      return state;
    } catch (error) {
      return composeTrouble(this.#state, version, this.#troubleOf(error), this.#nowMs());
    }
  }

  #troubleOf(error: unknown): LookTrouble {
    const code = error instanceof SpoorError ? error.code : null;
    const { mask = same } = this.#options;
    const message = mask(error instanceof Error ? error.message : String(error));
    return { code, message, since: this.#state?.trouble?.since ?? new Date(this.#nowMs()).toISOString() };
  }

  #publish(state: ClusterState): void {
    const before = this.#state;
    this.#state = state;
    this.#text = null;
    const sample = this.#samples.note(state, this.#nowMs());
    if (before !== null && [...this.#readers.values()].some(({ isCurrent }) => isCurrent)) {
      const change = JSON.stringify({ ...changeBetween(before, state), ...(sample && { sample }) });
      for (const [reader, watching] of this.#readers)
        if (watching.isCurrent) watching.isCurrent = reader.tell('change', change);
    }
    this.#bringUpToDate();
  }

  /** Tells the whole state to those that do not know it. */
  #bringUpToDate(): void {
    for (const [reader, watching] of this.#readers)
      if (!watching.isCurrent) watching.isCurrent = reader.tell('state', this.#textFor(reader));
  }

  #textFor({ role }: EventReader): string {
    this.#text ??= JSON.stringify(this.#state);
    return `{"role":"${role}",${this.#text.slice(1)}`;
  }

  async #histories(signal: AbortSignal): Promise<readonly HistoryView[]> {
    try {
      return await this.#options.looker.looker.histories(signal);
    } catch {
      return []; // the state says why
    }
  }

  async #tellHistory(signal: AbortSignal): Promise<void> {
    const waiting = [...this.#readers].filter(([, { isCurrent, hasHistory }]) => isCurrent && !hasHistory);
    if (waiting.length === 0) return;
    if (this.#history === null || this.#nowMs() - this.#history.atMs > HISTORY_FRESH_MS) {
      using limit = new TimeLimit(signal, LOOK_TIMEOUT_MS);
      const views = await this.#histories(limit.signal);
      this.#history = { view: mergeHistories(views), atMs: this.#nowMs() };
    }
    const data = JSON.stringify(this.#history.view);
    for (const [reader, watching] of waiting) watching.hasHistory = reader.tell('history', data);
  }
}

function usualPaceMs(tablets: number): number {
  return LOOK_EVERY_MS + MORE_PER_TABLET_MS * tablets;
}

function same(text: string): string {
  return text;
}
