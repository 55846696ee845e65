import * as z from 'zod';
import { unservedVariant } from '../util/zod-unserved.ts';
import { kafkaSink } from './kafka/definition.ts';

/** `sink` of a stream: every kind that there is. What each does is told in app/sinks.ts, the other place that knows all. */
export const sinkDefinition = z.discriminatedUnion('type', [kafkaSink, unservedVariant('redis', 'kafka')]);

export type SinkDefinition = Readonly<z.output<typeof sinkDefinition>>;

/** The names that may stand in it. */
export const SINK_KEYS: readonly string[] = Object.keys(kafkaSink.shape);
