import * as z from 'zod';
import {
  positionJson,
  positionToJson,
  rowRefJson,
  rowRefToJson,
  type RowRef,
  type TabletPosition,
} from '../../change/position.ts';

/*
 * What the hash beside a stream key says of one tablet. A stream key that a tablet's records go to is a *lane* of it: each shard
 * is one, and so are the keys of schema changes and dead letters. Records and state of a lane are written in one atomic step.
 */

/** Records of a write that is not whole, behind {@link LaneState.position}. */
export interface Partial {
  /** So many rows of a copy, by what their positions have behind the tablet: `base.<hybrid time>`. */
  readonly copied?: { readonly at: string; readonly count: number };
  /** The last row of the log; behind those of the copy where there is one. */
  readonly row?: RowRef;
}

export interface LaneState {
  readonly generation: string;
  /** All up to here is in the lane; null: nothing is said of that. Of keys that many tables share it is where the write began. */
  readonly position: TabletPosition | null;
  readonly partial: Partial | null;
}

const stateJson = z.object({
  spoor: z.literal(1),
  generation: z.string(),
  position: positionJson.nullable(),
  copied: z.object({ at: z.string(), count: z.int().nonnegative() }).exactOptional(),
  row: rowRefJson.exactOptional(),
});

export function encodeLaneState({ generation, position, partial }: LaneState): string {
  const state = {
    spoor: 1,
    generation,
    position: position && positionToJson(position),
    ...(partial?.copied && { copied: partial.copied }),
    ...(partial?.row && { row: rowRefToJson(partial.row) }),
  } satisfies z.input<typeof stateJson>;
  return JSON.stringify(state);
}

/**
 * @param text empty where there is none
 * @returns null where there is none, or one of another making of the stream
 * @throws {RangeError} it was not written by Spoor, or by a newer version
 */
export function decodeLaneState(text: string, generation: string): LaneState | null {
  if (text === '') return null;
  const parsed = stateJson.safeParse(parseJson(text));
  if (!parsed.success) throw new RangeError('it was not written by Spoor, or by a newer version');
  const { position, copied, row } = parsed.data;
  if (parsed.data.generation !== generation) return null;
  const partial = copied || row ? { ...(copied && { copied }), ...(row && { row }) } : null;
  return { generation, position, partial };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
