import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;

/** Resolves with the first answer of `ask` that is neither false, null nor undefined; what it throws counts as none. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | false | null | undefined> | T | false | null | undefined,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown = 'not yet';
  do {
    try {
      const answer = await ask();
      if (answer !== false && answer !== null && answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await sleep(POLL_MS);
  } while (performance.now() < deadline);
  throw new Error(`did not happen within ${timeoutMs / 1000} s: ${what}`, { cause: last });
}
