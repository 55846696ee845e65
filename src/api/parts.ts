import type { StreamDefinition } from '../streams/definition.ts';

export type SinkKind = StreamDefinition['sink']['type'];

/** A kind of sink that is missing here does not compile. */
const SINKS: Readonly<Record<SinkKind, true>> = { kafka: true, redis: true, file: true };

/** What a sidecar needs so that it can work, by the names that `/readyz` has for it. */
export type Part = 'kudu' | SinkKind | 'wal';
const PARTS: readonly Part[] = ['kudu', ...(Object.keys(SINKS) as SinkKind[]), 'wal'];

/** Something about each part: about Kafka always, as readers have it since it was the only sink; about others where there are such. */
export type OfParts<T> = Readonly<Record<'kudu' | 'kafka' | 'wal', T>> &
  Readonly<Partial<Record<Exclude<SinkKind, 'kafka'>, T>>>;

/** In the order in which they are told. */
export function eachPart<T>(parts: OfParts<T>): [part: Part, it: T][] {
  return PARTS.flatMap((part): [Part, T][] => {
    const it = parts[part];
    return it === undefined ? [] : [[part, it]];
  });
}

export function mapParts<T, U>(parts: OfParts<T>, map: (it: T, part: Part) => U): OfParts<U> {
  return Object.fromEntries(eachPart(parts).map(([part, it]) => [part, map(it, part)])) as OfParts<U>;
}
