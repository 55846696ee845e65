import { z } from 'zod';
import type { SinkPosition } from '../sink.ts';
import type { OffsetEntry } from './wire/apis.ts';

/**
 * A position as it lies in a consumer group's offsets: the offset is the apply OpId's index, the rest is metadata.
 * Brokers allow 4096 bytes of metadata by default (offset.metadata.max.bytes); Kudu's names end at 256.
 */
const Metadata = z.object({
  spoor: z.literal(1),
  generation: z.string(),
  term: z.string().regex(/^\d{1,19}$/),
  index: z.string().regex(/^\d{1,19}$/),
  table: z.string(),
  schema_version: z.int().nonnegative(),
});

/** The consumer group whose offsets hold a tablet's position; the transactional id of its producer has the same text. */
export function positionGroup(streamName: string, tabletId: string): string {
  return `spoor.${streamName}.${tabletId}`;
}

/** The same position once for each topic that carries it, always in partition 0. */
export function encodePosition(position: SinkPosition, generation: string, topics: readonly string[]): OffsetEntry[] {
  const metadata = JSON.stringify({
    spoor: 1,
    generation,
    term: position.opId.term.toString(),
    index: position.opId.index.toString(),
    table: position.tableName,
    schema_version: position.schemaVersion,
  } satisfies z.infer<typeof Metadata>);
  return topics.map((topic) => ({ topic, partition: 0, offset: position.opId.index, metadata }));
}

/**
 * The furthest position among a group's offsets, or null where there is none of this generation of the stream.
 * Offsets of several topics are there after a table was renamed; the topic of the old name keeps the older one.
 * @throws {RangeError} an offset was not written by Spoor (reset by hand, or by another program): what it means is
 *   for a person to say
 */
export function decodePosition(
  offsets: readonly { readonly topic: string; readonly offset: bigint; readonly metadata: string | null }[],
  generation: string,
): SinkPosition | null {
  let furthest: SinkPosition | null = null;
  for (const { topic, offset, metadata } of offsets) {
    if (offset < 0n) continue; // nothing committed there
    const parsed = Metadata.safeParse(parseJson(metadata));
    if (!parsed.success || parsed.data.index !== offset.toString())
      throw new RangeError(`the offset ${offset} on topic ${topic} was not written by Spoor`);
    if (parsed.data.generation !== generation) continue;
    const opId = { term: BigInt(parsed.data.term), index: offset };
    if (furthest === null || opId.index > furthest.opId.index)
      furthest = { opId, tableName: parsed.data.table, schemaVersion: parsed.data.schema_version };
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
