import * as z from 'zod';
import type { Logger } from '../../util/logger.ts';
import { formatEntryId, parseEntryId } from './entry-id.ts';
import type { RedisConnection } from './redis-connection.ts';
import { LOOK } from './scripts.ts';
import { trimBefore, type GroupProgress, type StreamLook } from './trimming.ts';

export interface TrimOptions {
  /** Null: any number. */
  readonly maxLen: number | null;
  /** Null: any age. */
  readonly minIdAgeMs: number | null;
}

/** Entries that are looked through at a time: Redis does nothing else meanwhile. */
const STEP = 2_000;
const MAX_STEPS = 50;

const lookAnswer = z.tuple([z.string(), z.string(), z.string()]).rest(z.string());

/** Takes old entries out of stream keys, as far as no consumer group needs them. Fails without a word but in the log. */
export async function trim(
  connection: RedisConnection,
  key: string,
  { maxLen, minIdAgeMs }: TrimOptions,
  deps: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  try {
    const node = await connection.nodeOf(key, deps.signal);
    for (let step = 0; step < MAX_STEPS && !deps.signal.aborted; step++) {
      const answer = await node.run(LOOK, [key], [String(maxLen ?? -1), String(STEP)]);
      const look = parseLook(answer);
      const before = trimBefore(look, minIdAgeMs);
      if (before === null) return;
      // Whole nodes alone, which is cheap: some more than was asked for may stay.
      const gone = await node.ask((client) => client.xtrim(key, 'MINID', '~', formatEntryId(before)));
      if (gone === 0 || maxLen === null || look.length - gone <= maxLen) return;
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (!deps.signal.aborted) deps.logger.warn({ key, reason }, 'a stream key was not trimmed');
  }
}

function parseLook(answer: unknown): StreamLook {
  const [now, length, cut, ...ids] = lookAnswer.parse(answer);
  const groups: GroupProgress[] = [];
  for (let at = 0; at + 1 < ids.length; at += 2)
    groups.push({ delivered: parseEntryId(ids[at]!), pending: ids[at + 1] === '' ? null : parseEntryId(ids[at + 1]!) });
  return { nowMs: BigInt(now), length: Number(length), firstToKeep: cut === '' ? null : parseEntryId(cut), groups };
}
