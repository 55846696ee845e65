import * as z from 'zod';
import type { OpId } from '../kudu/opid.ts';
import { opIdJson, type TabletPosition } from '../change/position.ts';
import { membershipIn } from './membership.ts';
import {
  memberKey,
  type Correction,
  type JoinedTable,
  type Resync,
  type Rewind,
  type StoredStream,
  type StreamDetails,
} from './stored-stream.ts';
import { parsePosition } from './stored-position.ts';
import { skippedOf, type StreamItem } from './stream-items.ts';
import { matchTables } from './table-patterns.ts';

export const joinedBody = z.object({ name: z.string(), speakerTabletId: z.string() });
const correctionBody = z.object({
  id: z.string(),
  keys: z.array(z.base64().transform((text) => Buffer.from(text, 'base64'))),
});
const rewindBody = z.object({
  id: z.string(),
  to: z.union([
    z.object({ op: opIdJson }).transform(({ op }) => ({ opId: op })),
    z.object({
      time: z
        .string()
        .regex(/^\d{1,20}$/)
        .transform(BigInt),
    }),
  ]),
});
const resyncBody = z.object({ id: z.string(), from: z.enum(['snapshot', 'gap']), requestedAt: z.string() });

/** What a stream's rows in the system table say, but for its revisions. @throws {z.ZodError} one says what this version does not know */
export function detailsOf(stream: StoredStream, items: readonly StreamItem[]): StreamDetails {
  const starts = new Map<string, TabletPosition>();
  const resyncs = new Map<string, Resync>();
  const gapRepairs = new Map<string, Resync>();
  const corrections = new Map<string, Correction>();
  const rewinds = new Map<string, Rewind>();
  const skips = new Map<string, OpId[]>();
  const ended = new Set<string>();
  for (const { kind, id, membership, key, body } of items) {
    if (kind === 'start') starts.set(key, parsePosition(body));
    else if (kind === 'keys') corrections.set(key, correctionBody.parse(JSON.parse(body)));
    else if (kind === 'rewind') rewinds.set(key, rewindBody.parse(JSON.parse(body)));
    else if (kind === 'skip') {
      const { tabletId, opId } = skippedOf(id);
      const of = memberKey(tabletId, { id: membership, again: false });
      skips.set(of, [...(skips.get(of) ?? []), opId]);
    } else if (kind === 'ended') ended.add(key);
    else if (kind === 'resync' || kind === 'gap') {
      const asked = resyncBody.parse(JSON.parse(body));
      const of = asked.from === 'gap' ? gapRepairs : resyncs; // version 0.1 keeps both under `resync`
      if (asked.requestedAt > (of.get(key)?.requestedAt ?? '')) of.set(key, asked);
    }
  }
  return { starts, joined: joinedAmong(stream, items), resyncs, gapRepairs, corrections, rewinds, skips, ended };
}

/** Those in their present membership that joined by a name that is asked for: a stale one that was late is none. */
export function joinedAmong(stream: StoredStream, items: readonly StreamItem[]): Map<string, JoinedTable> {
  const tables = items.filter(
    ({ kind, id, membership }) => kind === 'table' && membership === membershipIn(stream, id).id,
  );
  const joined = tables.map(({ id, body }): [string, JoinedTable] => [id, joinedBody.parse(JSON.parse(body))]);
  return new Map(joined.filter(([, { name }]) => matchTables(stream.definition.tables, name)));
}
