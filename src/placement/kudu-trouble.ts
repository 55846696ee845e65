import type { Logger } from '../util/logger.ts';

/** A reason with a figure in it is another one each time: so many are told of, and no more until Kudu answered. */
const TOLD_AT_MOST = 20;

/** What is wrong with Kudu at this moment. Each reason is told once from one answer to the next: they may take turns for hours. */
export class KuduTrouble {
  readonly #logger: Logger;
  readonly #told = new Set<string>();
  #now: string | null = 'not asked yet';

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** In words for a person; null as long as Kudu answers. */
  get now(): string | null {
    return this.#now;
  }

  begin(reason: string): void {
    this.#now = reason;
    if (this.#told.has(reason) || this.#told.size >= TOLD_AT_MOST) return;
    this.#told.add(reason);
    this.#logger.warn({ reason }, 'kudu does not answer');
  }

  end(): void {
    if (this.#now === null) return;
    this.#now = null;
    this.#told.clear();
    this.#logger.info({}, 'kudu answers');
  }
}
