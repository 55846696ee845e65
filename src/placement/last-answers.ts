import type { StoredStream, StreamSource } from '../streams/stored-stream.ts';
import type { Catalog } from '../streams/table-catalog.ts';
import { StandingQuestion } from '../util/standing-question.ts';
import { steadyNow } from '../util/steady-clock.ts';
import { TimeLimit } from '../util/time-limit.ts';

export interface AskedOfCluster {
  readonly streams: StreamSource;
  readonly catalog: Catalog;
  /** Asks the other sidecars. */
  readonly askOthers: (signal: AbortSignal) => Promise<void>;
}

/** How long one question of a look is waited for before the last answer has to do; it goes on, and the next look has it. */
export const LOOK_TIMEOUT_MS = 1500;
/** How long a catalog, or the streams, may take; large clusters and busy ones are asked in the background. */
const ANSWER_TIMEOUT_MS = 20_000;

/**
 * What is new with streams, tables and sidecars: asked with each look. Spoor's own tables or a master may be away, perhaps for
 * the same reason as an old leader: the last answer counts until there is another, and it is known which that is.
 */
export class LastAnswers {
  readonly #asked: AskedOfCluster;
  readonly #askedStreams = new StandingQuestion<readonly StoredStream[]>(ANSWER_TIMEOUT_MS);
  readonly #askedCatalog = new StandingQuestion<void>(ANSWER_TIMEOUT_MS);
  #streams: readonly StoredStream[] | null = null;
  #unanswered: unknown = null;
  /** What is known of the streams may be older than a look. */
  #isLate = false;

  constructor(asked: AskedOfCluster) {
    this.#asked = asked;
  }

  /** Null until they were listed once. */
  get streams(): readonly StoredStream[] | null {
    return this.#streams;
  }

  /** Why a question of the last look has no new answer; null where each has. */
  get unanswered(): unknown {
    return this.#unanswered;
  }

  /** Whether nothing of what decides on what is let go of is older than this look. */
  get isSure(): boolean {
    return this.#unanswered === null && !this.#isLate && !this.hasUnreadable;
  }

  /** Also one that this version cannot read, or was never asked for. */
  get mayHaveStreams(): boolean {
    return this.#streams === null || this.#streams.length > 0 || this.hasUnreadable;
  }

  /** A stream of a newer version, of which is not known what it has: nothing is let go of that it may want. */
  get hasUnreadable(): boolean {
    return (this.#asked.streams.unreadable?.length ?? 0) > 0;
  }

  /** Something else that belongs to this look had no answer. */
  noteUnanswered(error: unknown): void {
    this.#unanswered ??= error;
  }

  /**
   * Errors: the signal's reason alone.
   * @param tabletIdsOf the tablets whose tables are to be known; asked only where there may be streams
   */
  async look(tabletIdsOf: () => readonly string[], signal: AbortSignal): Promise<void> {
    const { streams, catalog, askOthers } = this.#asked;
    this.#unanswered = null;
    const [listed] = await Promise.all([
      this.#ask((s) => this.#askedStreams.ask((during) => streams.list(during), s), null, signal),
      this.#ask(askOthers, undefined, signal),
    ]);
    this.#isLate = listed === null || steadyNow() - listed.askedAtMs > LOOK_TIMEOUT_MS;
    if (listed) this.#streams = listed.answer;
    if (this.#streams === null || !this.mayHaveStreams) return;
    const tabletIds = tabletIdsOf();
    await this.#ask((s) => this.#askedCatalog.ask((during) => catalog.refresh(tabletIds, during), s), null, signal);
  }

  async #ask<T>(question: (signal: AbortSignal) => Promise<T>, last: T, signal: AbortSignal): Promise<T> {
    try {
      using limit = new TimeLimit(signal, LOOK_TIMEOUT_MS);
      return await question(limit.signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#unanswered ??= error;
      return last;
    }
  }
}
