import type { CliContext } from './cli-context.ts';
import { LiveBlock } from './live-block.ts';
import { describeTimeLeft, Pace, renderBar } from './progress-bar.ts';
import { wrap } from './text-style.ts';
import { printable } from './text-table.ts';

const DRAW_EVERY_MS = 200;
const TELL_EVERY_MS = 5_000;

/** How far some work is. */
export interface Progressing {
  /** 0 to 1; null where nobody knows. */
  readonly share: number | null;
  /** What is done, in a few words. */
  readonly words: string;
  /** What is to be known besides, a line each. */
  readonly notes?: readonly string[];
}

/**
 * Shows on standard error how far work is: on a terminal a bar that is drawn over, with the time that is left; elsewhere a
 * line with the time now and then, when there is something new to say.
 */
export class Progress implements Disposable {
  readonly #err: (text: string) => void;
  readonly #block: LiveBlock | null;
  readonly #columns: () => number;
  readonly #isPlain: boolean;
  readonly #now: () => number;
  #pace = new Pace();
  #what = '';
  #shownAtMs = Number.NEGATIVE_INFINITY;
  #told = '';

  constructor({ err, errScreen }: Pick<CliContext, 'err' | 'errScreen'>, now = () => performance.now()) {
    this.#err = err;
    const isTerminal = (errScreen?.() ?? null) !== null;
    const screen = () => errScreen?.() ?? { columns: 80, rows: 24 };
    this.#block = isTerminal ? new LiveBlock(err, screen) : null;
    this.#columns = () => screen().columns;
    this.#isPlain = !isTerminal;
    this.#now = now;
    // What is over soon needs no line.
    if (this.#isPlain) this.#shownAtMs = now();
  }

  /** @param what another piece of work than before begins a pace of its own */
  show({ share, words, notes = [] }: Progressing, what = ''): void {
    const nowMs = this.#now();
    if (what !== this.#what) [this.#pace, this.#what] = [new Pace(), what];
    if (share !== null) this.#pace.note(share, nowMs);
    const left = describeTimeLeft(this.#pace.secondsLeft);
    if (this.#block && nowMs - this.#shownAtMs >= DRAW_EVERY_MS)
      this.#draw(this.#block, share, words, left, notes, nowMs);
    const line = [share === null ? '' : `${(share * 100).toFixed(1)} %`, words, left, ...notes]
      .filter(Boolean)
      .join('; ');
    if (this.#isPlain && line !== this.#told && nowMs - this.#shownAtMs >= TELL_EVERY_MS) {
      this.#err(`${new Date().toISOString()} ${printable(line)}\n`);
      [this.#shownAtMs, this.#told] = [nowMs, line];
    }
  }

  /** Before something else is written. */
  clear(): void {
    this.#block?.clear();
  }

  [Symbol.dispose](): void {
    this.clear();
  }

  #draw(
    block: LiveBlock,
    share: number | null,
    words: string,
    left: string,
    notes: readonly string[],
    nowMs: number,
  ): void {
    const width = this.#columns() - 1;
    const text = [printable(words), left].filter(Boolean).join(', ');
    const first = share === null ? text : renderBar(share, text, width);
    const below = notes.flatMap((note) => wrap(printable(note), width - 2).map((line) => `  ${line}`));
    block.show([first, ...below].map((line) => Array.from(line).slice(0, width).join('')));
    this.#shownAtMs = nowMs;
  }
}
