import * as z from 'zod';

/** What an answer of a registry means to who asked. */
export type RegistryAnswer =
  | { readonly kind: 'ok'; readonly json: unknown }
  /** The same question will be answered so again until a person acts. */
  | { readonly kind: 'refused'; readonly status: number; readonly reason: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

const failure = z.object({ message: z.string() });
const MAX_REASON_CHARS = 2000;
const REQUEST_TIMEOUT = 408;
const TOO_MANY_REQUESTS = 429;

/**
 * By the status alone: registries differ in their `error_code`s (consumers.md 2.2). 409 (incompatible), 422 (invalid), 401, 403
 * and 404 want a person; 429 and 5xx pass.
 * @param masked its words without secrets: before they are cut short, or the begin of one would be left
 */
export function answerOf(
  status: number,
  text: string,
  masked: (words: string) => string = (words) => words,
): RegistryAnswer {
  const json = parseJson(text);
  if (status === 200 || status === 201)
    return json === undefined ? { kind: 'unavailable', reason: 'answered what is no JSON' } : { kind: 'ok', json };
  const parsed = failure.safeParse(json);
  const reason = masked(parsed.success ? parsed.data.message : text.trim() || 'no reason').slice(0, MAX_REASON_CHARS);
  if (status < 400 || status >= 500 || status === TOO_MANY_REQUESTS || status === REQUEST_TIMEOUT)
    return { kind: 'unavailable', reason: `answered ${status} (${reason})` };
  return { kind: 'refused', status, reason };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
