import { collectGarbage } from './collect-garbage.ts';

interface Waiting {
  readonly bytes: number;
  readonly granted: () => void;
}

/** Given back in this process, and perhaps not free yet. */
let givenBack = 0;
/** Of that so much may pile up. */
const MAX_GIVEN_BACK = 32 << 20;

/**
 * Bounds memory that is taken by many: who asks for more than is left waits, first come first served. What is more than all
 * there is has its turn alone.
 */
export class ByteBudget {
  readonly #maxBytes: number;
  #bytes = 0;
  readonly #waiting: Waiting[] = [];

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** For one of those who take from it. */
  share(): BudgetShare {
    return new BudgetShare(this);
  }

  /** Rejects with the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#waiting.length === 0 && this.#fits(bytes)) this.#bytes += bytes;
    else await this.#wait(bytes, signal);
  }

  async #wait(bytes: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const aborted = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason as Error);
        this.#next(); // it may have been too large, and not who waits behind it
      };
      const waiting = {
        bytes,
        granted: () => {
          signal.removeEventListener('abort', aborted);
          resolve();
        },
      };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', aborted, { once: true });
    });
  }

  /** Without waiting. */
  takeMore(bytes: number): void {
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
    givenBack += bytes;
    this.#next();
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes;
  }

  #next(): void {
    for (let first = this.#waiting[0]; first && this.#fits(first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#bytes += first.bytes;
      first.granted();
    }
  }
}

/** To be called before much is allocated: what was given back is free then. */
export function freeGivenBack(): void {
  if (givenBack < MAX_GIVEN_BACK) return;
  givenBack = 0;
  collectGarbage();
}

/**
 * What one of them has. Who has some is given more at once: what he has may be of no use without it, and then he would not
 * give it back.
 */
export class BudgetShare {
  readonly #of: ByteBudget;
  #bytes = 0;

  constructor(of: ByteBudget) {
    this.#of = of;
  }

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytes > 0) this.#of.takeMore(bytes);
    else await this.#of.take(bytes, signal);
    this.#bytes += bytes;
  }

  /** All that it has. */
  giveBack(): void {
    const bytes = this.#bytes;
    if (bytes === 0) return;
    this.#bytes = 0;
    this.#of.giveBack(bytes);
  }
}
