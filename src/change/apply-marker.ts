import * as z from 'zod';
import { positionJson, positionToJson, type TabletPosition } from './position.ts';

/** What one marker says of one stream on its tablet: all up to `position` is durable in `sink`. */
export interface MarkedStream {
  /** {@link SinkTablet.streamGeneration}: a stream made anew under the old name is another one (kudu-facts trap 51). */
  readonly generation: string;
  readonly position: TabletPosition;
  /** Which sink it speaks of, in the words of sinks/sink-id.ts; empty where that is not known. */
  readonly sink: string;
}

/**
 * A lower bound of what is durable in the sinks, kept in the tablet's own log, where every replica has it.
 *
 * It is written only after the sink acknowledged, so it holds whatever became of the write that carries it: also where
 * that was never committed. Several may come in any order; of each stream the highest position counts, whatever
 * sink it names: a stream that goes to another sink goes on there.
 */
export interface ApplyMarker {
  /** Who wrote it. */
  readonly sidecar: string;
  readonly streams: readonly MarkedStream[];
  /** Generation of a stream for which this very operation may be the cut of a copy: the log from here on is wanted. */
  readonly cut?: string;
}

/** Layout: docs/wal-format.md, "The apply marker". */
const MAGIC = Buffer.from('spoor:m\x01', 'latin1');

const marked = z.object({ generation: z.string(), sink: z.string() });
const body = z.object({ sidecar: z.string(), streams: z.array(z.unknown()), cut: z.string().exactOptional() });

/** The bytes to put into the tablet's log. */
export function encodeMarker({ sidecar, streams, cut }: ApplyMarker): Buffer {
  const json: z.input<typeof body> = {
    sidecar,
    streams: streams.map(({ generation, sink, position }) => ({ generation, sink, ...positionToJson(position) })),
    ...(cut !== undefined && { cut }),
  };
  return Buffer.concat([MAGIC, Buffer.from(JSON.stringify(json))]);
}

/** Null: not ours, or of a version that we do not know. Foreign bytes are never an error: anybody may write some. */
export function decodeMarker(bytes: Uint8Array): ApplyMarker | null {
  if (!MAGIC.equals(bytes.subarray(0, MAGIC.length))) return null;
  const parsed = body.safeParse(parseJson(bytes.subarray(MAGIC.length)));
  if (!parsed.success) return null;
  const { sidecar, streams, cut } = parsed.data;
  const said: MarkedStream[] = [];
  for (const stream of streams) {
    const owner = marked.safeParse(stream);
    const position = positionJson.safeParse(stream);
    if (!owner.success || !position.success) return null;
    said.push({ ...owner.data, position: position.data });
  }
  return { sidecar, streams: said, ...(cut !== undefined && { cut }) };
}

/** Undefined for what is not UTF-8 or not JSON. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(UTF8.decode(bytes));
  } catch {
    return undefined;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
