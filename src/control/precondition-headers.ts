import type { IncomingHttpHeaders } from 'node:http';
import * as z from 'zod';
import type { Precondition, TagList } from '../streams/precondition.ts';
import { ProblemError } from './problem.ts';

/** What openapi.json says of the headers of calls that change a stream. */
export const preconditionHeaders = z.object({
  'if-match': z
    .string()
    .exactOptional()
    .describe('`ETag`s of the stream, or `*`: 412, and nothing changes, when it is another by now, or is not there.'),
  'if-none-match': z
    .string()
    .exactOptional()
    .describe('`*`: only where there is no such stream yet; 412 and nothing changes when there is one.'),
});

const TAG = '(?:W/)?"[\\x21\\x23-\\x7e\\x80-\\xff]*"';
const TAGS = new RegExp(`^${TAG}(?:\\s*,\\s*${TAG})*$`);

/** @throws {ProblemError} 400: whoever asks for a condition must not have it passed over for a slip */
export function preconditionOf(headers: IncomingHttpHeaders): Precondition {
  const [ifMatch, ifNoneMatch] = (['if-match', 'if-none-match'] as const).map((name) => tagsOf(name, headers[name]));
  return { ...(ifMatch && { ifMatch }), ...(ifNoneMatch && { ifNoneMatch }) };
}

function tagsOf(name: string, value: string | undefined): TagList | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (text === '*') return text;
  if (TAGS.test(text)) return text.match(new RegExp(TAG, 'g')) ?? [];
  const message = `got ${JSON.stringify(value)}; allowed: * or the ETag of a stream as it came, in quotes, such as "7"`;
  throw new ProblemError(400, `${name}: ${message}`, { errors: [{ path: name, message }] });
}
