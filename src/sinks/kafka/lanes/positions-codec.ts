import * as z from 'zod';
import { positionJson, positionToJson, rowRefJson, rowRefToJson } from '../../../change/position.ts';
import type { Decision, LaneId, PositionsEntry, StoredPosition } from './positions-view.ts';

/*
 * The records of the positions topic, for people and other programs to read: JSON, compacted by key.
 *
 *   {"installation":…,"stream":…,"tablet":…}
 *     → {"spoor":1,"claim":{"lane":…,"offset":"…"},"generation":…,"position":{…}|null,"upTo":"<index>.<row>"?,"released":true?}
 *   the same with "lane":…, a claim of that lane
 *     → {"spoor":1}
 *   {"installation":…,"stream":…,"lane":…}, how that lane's last transaction was decided, noted before it was fenced, or before
 *   what Kafka left open of it is ended once more
 *     → {"spoor":1,"producer":"…","epoch":…?,"outcome":"commit"|"abort","ends":[{"topic":…,"partition":…,"since":"<offset>"}…]?}
 */

/**
 * Kafka's word for none, of the records of the positions topic: by a time of ours a broker would judge our clock, and refuse
 * positions where that is an hour ahead of its own. Without one it closes segments by its own clock, as they are to be.
 */
export const NO_TIMESTAMP_MS = -1;

/** Whose positions they are: a partition may hold those of several. */
export interface PositionsOwner {
  readonly installation: string;
  readonly stream: string;
}

const int64Json = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt);
const keyJson = z.object({
  installation: z.string(),
  stream: z.string(),
  tablet: z.string(),
  lane: z.string().exactOptional(),
});
const decisionKeyJson = z.strictObject({ installation: z.string(), stream: z.string(), lane: z.string() });
const decisionJson = z.object({
  spoor: z.literal(1),
  producer: int64Json,
  epoch: z.number().exactOptional(),
  outcome: z.enum(['commit', 'abort']),
  ends: z.array(z.object({ topic: z.string(), partition: z.number(), since: int64Json })).exactOptional(),
});
const storedJson = z.object({
  spoor: z.literal(1),
  claim: z.object({
    lane: z.string(),
    offset: int64Json,
  }),
  generation: z.string().exactOptional(),
  position: positionJson.nullable(),
  upTo: rowRefJson.exactOptional(),
  released: z.literal(true).exactOptional(),
});

function keyOf({ installation, stream }: PositionsOwner, tablet: string, lane?: string): Buffer {
  return Buffer.from(JSON.stringify({ installation, stream, tablet, ...(lane !== undefined && { lane }) }));
}

export interface KeyAndValue {
  readonly key: Buffer;
  readonly value: Buffer;
}

const CLAIM = Buffer.from(JSON.stringify({ spoor: 1 }));

export function encodeClaim(owner: PositionsOwner, tablet: string, lane: string): KeyAndValue {
  return { key: keyOf(owner, tablet, lane), value: CLAIM };
}

export function encodeDecision(
  { installation, stream }: PositionsOwner,
  lane: LaneId,
  { producerId, epoch, outcome, ends }: Decision,
): KeyAndValue {
  const key = { installation, stream, lane };
  const value = {
    spoor: 1,
    producer: producerId.toString(),
    ...(epoch !== undefined && { epoch }),
    outcome,
    ...(ends && { ends: ends.map((end) => ({ ...end, since: end.since.toString() })) }),
  } satisfies z.input<typeof decisionJson>;
  return { key: Buffer.from(JSON.stringify(key)), value: Buffer.from(JSON.stringify(value)) };
}

export function encodeStored(
  owner: PositionsOwner,
  tablet: string,
  { claim, position, isReleased }: StoredPosition,
): KeyAndValue {
  const value = {
    spoor: 1,
    claim: { lane: claim.lane, offset: claim.offset.toString() },
    ...(position && { generation: position.generation }),
    position: position && positionToJson(position.at),
    ...(position?.upTo && { upTo: rowRefToJson(position.upTo) }),
    ...(isReleased && { released: true }),
  };
  return { key: keyOf(owner, tablet), value: Buffer.from(JSON.stringify(value)) };
}

/** A record as it lies in the partition. */
export interface PositionsRecord {
  readonly offset: bigint;
  readonly producerId: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/**
 * Null for what is another owner's, or nobody's: whoever else writes into the topic, it is no position of ours.
 */
export function decodeEntry(
  owner: PositionsOwner,
  { offset, producerId, key, value }: PositionsRecord,
): PositionsEntry | null {
  const parsed = keyJson.safeParse(parseJson(key));
  if (!parsed.success) return decodeDecision(owner, { offset, producerId, key, value });
  const { installation, stream, tablet, lane } = parsed.data;
  if (installation !== owner.installation || stream !== owner.stream) return null;
  if (value === null) return { kind: 'forgotten', offset, tablet, lane: lane ?? null };
  if (lane !== undefined) return { kind: 'claim', offset, tablet, lane };
  const stored = storedJson.safeParse(parseJson(value));
  if (!stored.success) {
    const why = `the position of tablet ${tablet} at offset ${offset} was not written by Spoor, or by a newer version: ${z.prettifyError(stored.error)}`;
    return { kind: 'unreadable', offset, tablet, why };
  }
  const { claim, generation = '', position: at, upTo, released } = stored.data;
  const position = at && { generation, at, ...(upTo && { upTo }) };
  return { kind: 'position', offset, tablet, producerId, stored: { claim, position, isReleased: released ?? false } };
}

function decodeDecision(owner: PositionsOwner, { offset, key, value }: PositionsRecord): PositionsEntry | null {
  const parsed = decisionKeyJson.safeParse(parseJson(key));
  if (!parsed.success) return null;
  const { installation, stream, lane } = parsed.data;
  const decision = decisionJson.safeParse(parseJson(value));
  if (installation !== owner.installation || stream !== owner.stream || !decision.success) return null;
  const { producer: producerId, epoch, outcome, ends } = decision.data;
  const said = { producerId, ...(epoch !== undefined && { epoch }), outcome, ...(ends && { ends }) };
  return { kind: 'decision', offset, lane, decision: said };
}

function parseJson(bytes: Buffer | null): unknown {
  try {
    return JSON.parse(bytes?.toString() ?? '');
  } catch {
    return null;
  }
}
