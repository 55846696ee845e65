import { pause } from '../util/pause.ts';
import type { Difference } from './comparison.ts';
import { StreamUnavailableError, VerifyError } from './verify-error.ts';

/** How the sidecars are asked to put rows right. */
export interface Corrector {
  /**
   * Asks for rows of a tablet to be shipped as they are: at a cut of its own each comes whole, or as its delete. Another
   * request for the tablet takes its place. @returns the id of the request
   */
  request(tabletId: string, keys: readonly Buffer[], signal: AbortSignal): Promise<string>;
  /** By tablet, the id of the last request that is in the sink. */
  done(signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
}

/** More in one tablet are better served by a copy of all its rows. */
const MAX_KEYS = 20_000;
const KEYS_PER_REQUEST = 200;
/** As base64. */
const BYTES_PER_REQUEST = 16 * 1024;
const POLL_MS = 250;
const TABLETS_AT_A_TIME = 4;

/** The rows that are wrong, by their tablets. Memory is bounded: a tablet with too many is not repaired anyhow. */
export class WrongRows {
  readonly #byTablet = new Map<string, Buffer[]>();

  add({ tabletId, encodedKey }: Pick<Difference, 'tabletId' | 'encodedKey'>): void {
    if (tabletId === null) return; // of a row that no table has, and of which nobody knows whose it was
    const known = this.#byTablet.get(tabletId);
    if (!known) this.#byTablet.set(tabletId, [encodedKey]);
    else if (known.length <= MAX_KEYS) known.push(encodedKey);
  }

  get count(): number {
    return [...this.#byTablet.values()].reduce((sum, keys) => sum + keys.length, 0);
  }

  tablets(): Iterable<[string, readonly Buffer[]]> {
    return this.#byTablet;
  }
}

/**
 * Has the rows shipped as they are, in rounds that are each in the sink before the next is asked for.
 * @throws {VerifyError} a tablet has too many, or a round is not in the sink in time
 */
export async function repair(
  wrong: WrongRows,
  corrector: Corrector,
  options: { readonly timeoutMs: number; readonly progress: (text: string) => void },
  signal: AbortSignal,
): Promise<void> {
  for (const [tabletId, keys] of wrong.tablets())
    if (keys.length > MAX_KEYS)
      throw new VerifyError(
        'failed',
        `tablet ${tabletId} has more than ${MAX_KEYS} rows that are wrong; copy it again: spoor streams resync <stream> --tablet ${tabletId}`,
      );
  const waiting = [...wrong.tablets()];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [tabletId, keys] = next;
      let done = 0;
      for (const round of rounds(keys)) {
        options.progress(`tablet ${tabletId}: ${done} of ${keys.length} rows put right`);
        const id = await corrector.request(tabletId, round, signal);
        await awaitCorrection(tabletId, id, corrector, options.timeoutMs, signal);
        done += round.length;
      }
    }
  };
  await Promise.all(Array.from({ length: TABLETS_AT_A_TIME }, worker));
}

/** Waits until a request is in the sink. */
async function awaitCorrection(
  tabletId: string,
  id: string,
  corrector: Corrector,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const start = performance.now();
  const isDone = async (): Promise<boolean> => {
    try {
      return (await corrector.done(signal)).get(tabletId) === id;
    } catch (error) {
      if (error instanceof StreamUnavailableError) return false;
      throw error;
    }
  };
  while (!(await isDone())) {
    if (performance.now() - start > timeoutMs)
      throw new VerifyError('failed', `tablet ${tabletId}: rows were not put right within ${timeoutMs / 1000} s`);
    await pause(POLL_MS, signal);
    signal.throwIfAborted();
  }
}

/** A key that is too long for any round goes alone. */
export function* rounds(keys: readonly Buffer[]): Generator<readonly Buffer[], void, void> {
  let round: Buffer[] = [];
  let bytes = 0;
  for (const key of keys) {
    const size = 4 * Math.ceil(key.length / 3);
    if (round.length === KEYS_PER_REQUEST || (round.length > 0 && bytes + size > BYTES_PER_REQUEST)) {
      yield round;
      [round, bytes] = [[], 0];
    }
    round.push(key);
    bytes += size;
  }
  if (round.length > 0) yield round;
}
