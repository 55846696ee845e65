import { setImmediate as nextTurn } from 'node:timers/promises';
import { collectGarbage } from './collect-garbage.ts';
import { CurrentWait } from './waits.ts';

/** Given back in this process, and perhaps not free yet. */
let givenBack = 0;
/** Of that so much may pile up. */
const MAX_GIVEN_BACK = 32 << 20;

/** So long all who have some rest: what each of them waits for may never come, and a bound on memory is not to stand still for it. */
const STALLED_MS = 1_000;

interface Waiting {
  readonly bytes: number;
  readonly granted: () => void;
}

/**
 * Bounds memory that is taken by many: who asks for more than is left waits, first come first served. What is more than all there
 * is has its turn alone. Whoever has some is to give it back, however long he takes, and says so while he {@link BudgetShare.rest}s:
 * where all do for {@link STALLED_MS}, the first who waits has it all the same.
 */
export class ByteBudget {
  readonly #maxBytes: number;
  #bytes = 0;
  /** How many have some and do not rest. */
  #busy = 0;
  readonly #waiting: Waiting[] = [];
  /** Runs while somebody waits, and all rest. */
  #stalled: NodeJS.Timeout | null = null;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** For one of those who take from it. */
  share(): BudgetShare {
    return new BudgetShare(this);
  }

  /** By a share: whether there is so much, and nobody stands before him; then it is his. */
  takeAtOnce(bytes: number): boolean {
    const fits = this.#waiting.length === 0 && this.#fits(bytes);
    if (fits) this.takeMore(bytes);
    return fits;
  }

  /** By a share. Rejects with the signal's reason. */
  wait(bytes: number, signal: AbortSignal): Promise<void> {
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
          this.takeMore(bytes);
          resolve();
        },
      };
      const aborted = (): void => {
        leave();
        reject(signal.reason as Error);
        this.#next(); // it may have been too large, and not who waits behind it
      };
      this.#waiting.push(waiting);
      this.#watch();
      signal.addEventListener('abort', aborted, { once: true });
    });
  }

  /** By a share, without waiting. */
  takeMore(bytes: number): void {
    this.#bytes += bytes;
  }

  /** By a share. */
  giveBack(bytes: number): void {
    this.#bytes -= bytes;
    noteGivenBack(bytes);
    this.#next();
  }

  /** By a share: whether it has some and does not rest is another than before. */
  setBusy(isBusy: boolean): void {
    this.#busy += isBusy ? 1 : -1;
    this.#watch();
  }

  #watch(): void {
    const stands = this.#waiting.length > 0 && this.#busy === 0;
    if (stands)
      this.#stalled ??= setTimeout(() => {
        this.#stalled = null;
        this.#waiting[0]?.granted();
        this.#watch();
      }, STALLED_MS);
    else if (this.#stalled) {
      clearTimeout(this.#stalled);
      this.#stalled = null;
    }
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes;
  }

  #next(): void {
    for (let first = this.#waiting[0]; first && this.#fits(first.bytes); first = this.#waiting[0]) first.granted();
    this.#watch();
  }
}

/** Something is not needed any more that was of no budget. */
export function noteGivenBack(bytes: number): void {
  givenBack += bytes;
}

/** To be called before much is allocated: what was given back is free then. */
export async function freeGivenBack(): Promise<void> {
  if (givenBack < MAX_GIVEN_BACK) return;
  givenBack = 0;
  await nextTurn(); // Node itself keeps what a file was read into until all that followed from it at once is over
  collectGarbage();
}

/**
 * What one of them has. Who has some is given more at once: what he has may be of no use without it, and then he would not
 * give it back.
 */
export class BudgetShare {
  /** What {@link take} waits for. */
  readonly wait = new CurrentWait();
  readonly #of: ByteBudget;
  #bytes = 0;
  #rests = false;
  #isBusy = false;

  constructor(of: ByteBudget) {
    this.#of = of;
  }

  /** One call at a time. Rejects with the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#bytes > 0) this.#of.takeMore(bytes);
    else if (!this.#of.takeAtOnce(bytes)) {
      this.wait.begin(`room in memory for a large operation, of ${bytes} bytes: such operations take turns`);
      await this.#of.wait(bytes, signal).finally(() => {
        this.wait.end();
      });
    }
    this.#bytes += bytes;
    this.#note();
  }

  /** @param most all that it has where that is less, or nothing is said */
  giveBack(most = Infinity): void {
    const bytes = Math.min(most, this.#bytes);
    if (bytes === 0) return;
    this.#bytes -= bytes;
    this.#of.giveBack(bytes);
    this.#note();
  }

  /** Whether nobody knows when what it has will be given back, or whether it will. */
  rest(rests: boolean): void {
    this.#rests = rests;
    this.#note();
  }

  #note(): void {
    const isBusy = this.#bytes > 0 && !this.#rests;
    if (isBusy === this.#isBusy) return;
    this.#isBusy = isBusy;
    this.#of.setBusy(isBusy);
  }
}
