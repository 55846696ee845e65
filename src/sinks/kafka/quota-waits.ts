import type { Logger } from '../../util/logger.ts';

const SAY_EVERY_MS = 60_000;

/** How long brokers made us wait because of their quotas: a slow sink, and not one that cannot be reached. */
export class QuotaWaits {
  readonly #logger: Logger;
  #last: { readonly ms: number; readonly atMs: number } | null = null;
  #saidAtMs = Number.NEGATIVE_INFINITY;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  note(broker: string, ms: number, nowMs: number): void {
    this.#last = { ms, atMs: nowMs };
    if (nowMs - this.#saidAtMs < SAY_EVERY_MS) return;
    this.#saidAtMs = nowMs;
    this.#logger.warn({ broker, waitMs: ms }, 'a quota of kafka slows us down');
  }

  /** How long the last of them was, where it was asked for since then; else null. */
  since(sinceMs: number): number | null {
    return this.#last !== null && this.#last.atMs >= sinceMs ? this.#last.ms : null;
  }
}
