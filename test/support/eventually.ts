import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../../src/util/as-error.ts';

const POLL_MS = 50;
/** For what takes a second or two: where three clusters share two cores, all may stand still for most of a minute. */
const LONG_MS = 90_000;

/** Resolves with the first answer of `ask` that is neither false, null nor undefined; what it throws counts as none. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | false | null | undefined> | T | false | null | undefined,
  timeoutMs = LONG_MS,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown = null;
  do {
    try {
      const answer = await ask();
      if (answer !== false && answer !== null && answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await sleep(POLL_MS);
  } while (performance.now() < deadline);
  const why = last === null ? '' : `; last: ${asError(last).message}`;
  throw new Error(`did not happen within ${timeoutMs / 1000} s: ${what}${why}`, { cause: last });
}
