import * as z from 'zod';
import { jsonFaults, jsonFormat, type FormatCompany } from './json-definition.ts';
import { unservedVariant } from '../util/zod-unserved.ts';

/** `format` of a stream: every one that there is. What each does is told in app/formats.ts, the other place that knows all. */
export const formatDefinition = z.discriminatedUnion('type', [
  jsonFormat,
  unservedVariant('avro', 'json'),
  unservedVariant('kudu-record', 'json'),
]);

/** The names that may stand in it. */
export const FORMAT_KEYS: readonly string[] = Object.keys(jsonFormat.shape);

export type FormatDefinition = Readonly<z.output<typeof formatDefinition>>;

/** Pure: what of a stream does not go with its format, by its path in the definition. */
export function formatFaults(format: FormatDefinition, company: FormatCompany): ReturnType<typeof jsonFaults> {
  return jsonFaults(format, company);
}
