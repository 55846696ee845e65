import { z } from 'zod';
import { isAhead, positionJson, positionToJson, type TabletPosition } from '../../change/position.ts';
import type { OffsetEntry } from './wire/offset-apis.ts';

/**
 * A position as version 0.1 kept it, in a consumer group's offsets, see legacy-positions.ts: the offset is the apply OpId's index, all of it is metadata.
 * Brokers allow 4096 bytes of metadata by default (offset.metadata.max.bytes); Kudu's names end at 256, and of the keys
 * that a copy goes on from none is kept that is long (source/tablet-source.ts).
 */
const Owner = z.object({ spoor: z.literal([1, 2]), generation: z.string() });

export interface GroupOffset {
  readonly topic: string;
  readonly offset: bigint;
  readonly metadata: string | null;
}

/** The consumer group whose offsets hold a tablet's position; the transactional id of its producer has the same text. */
export function positionGroup(streamName: string, tabletId: string): string {
  return `spoor.${streamName}.${tabletId}`;
}

/** The same position once for each topic that carries it, always in partition 0. */
export function encodePosition(
  position: TabletPosition,
  generation: string,
  topics: readonly string[],
  spoor: 1 | 2 = 1,
): OffsetEntry[] {
  const owner = { spoor, generation } satisfies z.input<typeof Owner>;
  const metadata = JSON.stringify({ ...owner, ...positionToJson(position) });
  return topics.map((topic) => ({ topic, partition: 0, offset: position.opId.index, metadata }));
}

/**
 * The furthest position among a group's offsets, or null where there is none of this generation of the stream.
 * Offsets of several topics are there after a table was renamed; the topic of the old name keeps the older one.
 * @throws {RangeError} an offset was not written by Spoor (reset by hand, or by another program): what it means is
 *   for a person to say
 */
export function decodePosition(offsets: readonly GroupOffset[], generation: string): TabletPosition | null {
  let furthest: TabletPosition | null = null;
  for (const { topic, offset, metadata } of offsets) {
    if (offset < 0n) continue; // nothing committed there
    const json = parseJson(metadata);
    const owner = Owner.safeParse(json);
    const position = positionJson.safeParse(json);
    if (!owner.success || !position.success || position.data.opId.index !== offset)
      throw new RangeError(`the offset ${offset} on topic ${topic} was not written by Spoor`);
    if (owner.data.generation === generation && isAhead(position.data, furthest)) furthest = position.data;
  }
  return furthest;
}

function parseJson(text: string | null): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return null;
  }
}
