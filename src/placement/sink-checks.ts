import { SinkError, type Sink } from '../sinks/sink.ts';
import type { Fault } from '../shipping/replicator-state.ts';

interface Check {
  readonly isUnderWay: boolean;
  /** Null until it was answered once. */
  readonly answer: { readonly failure: Pick<Fault, 'code' | 'message'> | null; readonly atMs: number } | null;
}

/** How often a sink is asked whether it answers, while somebody wants to know. */
const CHECK_EVERY_MS = 5_000;
/** Nobody has wanted to know for so long: what was found out is old. */
const ANSWER_COUNTS_MS = 15_000;
const CHECK_TIMEOUT_MS = 5_000;

/** Whether sinks answer that nothing is shipped to from here. They are asked as long as somebody wants to know. */
export class SinkChecks {
  readonly #checks = new WeakMap<Sink, Check>();
  readonly #onAnswer: () => void;
  readonly #now: () => number;

  /** @param onAnswer called where an answer is another one than the last */
  constructor(onAnswer: () => void, now: () => number = () => performance.now()) {
    this.#onAnswer = onAnswer;
    this.#now = now;
  }

  /** Null while that is not known: it is being asked. */
  works(sink: Sink): boolean | null {
    const answer = this.#ask(sink);
    return answer && answer.failure === null;
  }

  /** Why it does not answer; null where it does, or that is not known yet. */
  failure(sink: Sink): Pick<Fault, 'code' | 'message'> | null {
    return this.#ask(sink)?.failure ?? null;
  }

  #ask(sink: Sink): Check['answer'] {
    const check = this.#checks.get(sink) ?? { isUnderWay: false, answer: null };
    const ageMs = check.answer === null ? Number.POSITIVE_INFINITY : this.#now() - check.answer.atMs;
    if (!check.isUnderWay && ageMs >= CHECK_EVERY_MS) {
      this.#checks.set(sink, { ...check, isUnderWay: true });
      void this.#check(sink, check.answer);
    }
    return ageMs < ANSWER_COUNTS_MS ? check.answer : null;
  }

  async #check(sink: Sink, before: Check['answer']): Promise<void> {
    const failure = await failureOf(sink);
    this.#checks.set(sink, { isUnderWay: false, answer: { failure, atMs: this.#now() } });
    if (before === null || (before.failure === null) !== (failure === null)) this.#onAnswer();
  }
}

async function failureOf(sink: Sink): Promise<Pick<Fault, 'code' | 'message'> | null> {
  try {
    await sink.check(AbortSignal.timeout(CHECK_TIMEOUT_MS));
    return null;
  } catch (error) {
    const isRefused = error instanceof SinkError && error.kind === 'refused';
    const code = isRefused ? 'SPOOR_SINK_REFUSED' : 'SPOOR_SINK_UNAVAILABLE';
    return { code, message: error instanceof Error ? error.message : String(error) };
  }
}
