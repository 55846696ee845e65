import type { Screen } from './cli-context.ts';

const UP = (lines: number): string => (lines > 0 ? `\x1b[${lines}A` : '');
const TO_BEGIN = '\r';
const CLEAR_BELOW = '\x1b[J';

/** Lines on a terminal that are drawn again in place. What is written elsewhere meanwhile clears them first. */
export class LiveBlock implements Disposable {
  readonly #write: (text: string) => void;
  readonly #screen: () => Screen;
  #shown: readonly string[] = [];

  constructor(write: (text: string) => void, screen: () => Screen) {
    this.#write = write;
    this.#screen = screen;
  }

  /** @param lines none longer than the terminal is wide: one that wraps could not be taken back */
  show(lines: readonly string[]): void {
    // One line stays free, or the terminal scrolls and the first ones cannot be reached any more.
    const room = Math.max(1, this.#screen().rows - 1);
    const fitting =
      lines.length > room ? [...lines.slice(0, room - 1), `... and ${lines.length - room + 1} more lines`] : lines;
    this.#write(`${this.#toBegin()}${CLEAR_BELOW}${fitting.join('\n')}${fitting.length > 0 ? '\n' : ''}`);
    this.#shown = fitting;
  }

  /** Takes the lines away. */
  clear(): void {
    if (this.#shown.length > 0) this.#write(`${this.#toBegin()}${CLEAR_BELOW}`);
    this.#shown = [];
  }

  /** Lets the lines stay as they are. */
  keep(): void {
    this.#shown = [];
  }

  [Symbol.dispose](): void {
    this.clear();
  }

  #toBegin(): string {
    return TO_BEGIN + UP(this.#shown.length);
  }
}
