import * as z from 'zod';
import { unservedVariant } from '../util/zod-unserved.ts';

const jsonFormat = z.strictObject({ type: z.literal('json') });

/** `format` of a stream: every one that there is. What each does is told in app/formats.ts, the other place that knows all. */
export const formatDefinition = z.discriminatedUnion('type', [
  jsonFormat,
  unservedVariant('avro', 'json'),
  unservedVariant('kudu-record', 'json'),
]);

/** The names that may stand in it. */
export const FORMAT_KEYS: readonly string[] = Object.keys(jsonFormat.shape);
