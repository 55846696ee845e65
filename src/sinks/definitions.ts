import * as z from 'zod';
import { fileSink } from './file/definition.ts';
import { kafkaSink } from './kafka/definition.ts';
import { redisSink } from './redis/definition.ts';

/*
 * A kind of sink registers here, with its options, and in app/sinks.ts, with what it does. Once it is in the union below,
 * neither compiles without the rest of it.
 */

/** `sink` of a stream: every kind that there is. */
export const sinkDefinition = z.discriminatedUnion('type', [kafkaSink, redisSink, fileSink]);

export type SinkDefinition = Readonly<z.output<typeof sinkDefinition>>;

/** What others than the sink itself have to know of its options. */
interface SinkTraits<Definition> {
  /** The names that may stand in them. */
  readonly keys: readonly string[];
  /** Where records go, for a person: `kafka:<this>` in `spoor streams list`. */
  where(definition: Definition): string;
  /** Whether a record may come twice, so that `spoor verify` lets it. */
  mayRepeat(definition: Definition): boolean;
}

const TRAITS: { readonly [Type in SinkDefinition['type']]: SinkTraits<Extract<SinkDefinition, { type: Type }>> } = {
  kafka: {
    keys: Object.keys(kafkaSink.shape),
    where: ({ topic }) => topic,
    mayRepeat: ({ delivery }) => delivery === 'at-least-once',
  },
  redis: {
    keys: Object.keys(redisSink.shape),
    where: ({ key }) => key,
    mayRepeat: () => false,
  },
  file: { keys: Object.keys(fileSink.shape), where: ({ dir }) => dir, mayRepeat: () => false },
};

/** The names that may stand in any of them. */
export const SINK_KEYS: readonly string[] = [...new Set(Object.values(TRAITS).flatMap(({ keys }) => keys))];

/** Where the records of a stream go, for a person. */
export function whereOf(sink: SinkDefinition): string {
  return traitsOf(sink).where(sink);
}

/** Whether a record of the stream may come twice. */
export function mayRepeat(sink: SinkDefinition): boolean {
  return traitsOf(sink).mayRepeat(sink);
}

function traitsOf({ type }: SinkDefinition): SinkTraits<SinkDefinition> {
  return TRAITS[type];
}
