import type { Writable } from 'node:stream';

/** How often a plain (not live) output repeats the status. */
const PLAIN_EVERY_MS = 5_000;

/**
 * Lines that stay, and below them one status that is rewritten in place on a terminal; elsewhere the status is a line
 * of its own now and then.
 */
export class Screen {
  readonly #out: Writable;
  readonly #live: boolean;
  readonly #columns: () => number;
  #status = '';
  #plainShownAt = -Infinity;

  constructor(out: Writable & { isTTY?: boolean; columns?: number }) {
    this.#out = out;
    this.#live = out.isTTY === true;
    this.#columns = () => out.columns ?? 80;
  }

  /** A line that stays. */
  line(text: string): void {
    this.#clear();
    this.#out.write(`${text}\n`);
    this.#draw();
  }

  /** Replaces the status; `nowMs` is any clock that does not jump. */
  status(text: string, nowMs: number): void {
    if (this.#live) {
      this.#clear();
      this.#status = text;
      this.#draw();
    } else if (nowMs - this.#plainShownAt >= PLAIN_EVERY_MS) {
      this.#plainShownAt = nowMs;
      this.#out.write(`${text}\n`);
    }
  }

  /** Keeps the last status as a line that stays. */
  keepStatus(): void {
    if (this.#status !== '') this.#out.write('\n');
    this.#status = '';
  }

  #clear(): void {
    if (this.#status !== '') this.#out.write('\r\x1b[K');
  }

  #draw(): void {
    // A status that wraps could not be taken back with one carriage return.
    if (this.#status !== '') this.#out.write(this.#status.slice(0, Math.max(this.#columns() - 1, 20)));
  }
}
