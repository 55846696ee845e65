import { collectGarbage } from './collect-garbage.ts';

/** Given back in this process, and perhaps not free yet. */
let givenBack = 0;
/** Of that so much may pile up. */
const MAX_GIVEN_BACK = 32 << 20;

/** So long nobody has to give anything back. A bound on memory is not to stand still for: who has it may himself wait for long. */
const STALLED_MS = 1_000;

interface Waiting {
  readonly bytes: number;
  readonly granted: () => void;
}

/**
 * Bounds memory that is taken by many: who asks for more than is left waits, first come first served. Where nothing is given back
 * for {@link STALLED_MS}, the first who waits has it all the same. What is more than all there is has its turn alone.
 */
export class ByteBudget {
  readonly #maxBytes: number;
  #bytes = 0;
  readonly #waiting: Waiting[] = [];
  /** Runs while somebody waits. */
  #stalled: NodeJS.Timeout | null = null;

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
    if (this.#waiting.length > 0 || !this.#fits(bytes)) await this.#wait(bytes, signal);
    else this.#bytes += bytes;
  }

  /** Without waiting. */
  takeMore(bytes: number): void {
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
    givenBack += bytes;
    this.#next();
    this.#watch();
  }

  #wait(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        signal.removeEventListener('abort', aborted);
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
      };
      const waiting = {
        bytes,
        granted: () => {
          leave();
          this.#bytes += bytes;
          resolve();
        },
      };
      const aborted = (): void => {
        leave();
        reject(signal.reason as Error);
        this.#next(); // it may have been too large, and not who waits behind it
        this.#watch();
      };
      this.#waiting.push(waiting);
      if (this.#waiting.length === 1) this.#watch();
      signal.addEventListener('abort', aborted, { once: true });
    });
  }

  /** From now on it counts how long nothing has moved. */
  #watch(): void {
    if (this.#stalled) clearTimeout(this.#stalled);
    this.#stalled = null;
    if (this.#waiting.length === 0) return;
    this.#stalled = setTimeout(() => {
      this.#waiting[0]?.granted();
      this.#watch();
    }, STALLED_MS);
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes;
  }

  #next(): void {
    for (let first = this.#waiting[0]; first && this.#fits(first.bytes); first = this.#waiting[0]) first.granted();
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

  /** @param most all that it has where that is less, or nothing is said */
  giveBack(most = Infinity): void {
    const bytes = Math.min(most, this.#bytes);
    if (bytes === 0) return;
    this.#bytes -= bytes;
    this.#of.giveBack(bytes);
  }
}
