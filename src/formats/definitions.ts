import * as z from 'zod';
import { jsonFaults, jsonFormat, type FormatCompany } from './json-definition.ts';
import { unservedVariant } from '../util/zod-unserved.ts';
import { avroDefinition, protobufDefinition } from './registry-definitions.ts';

/** `format` of a stream: every one that there is. What each does is told in app/formats.ts, the other place that knows all. */
export const formatDefinition = z.discriminatedUnion('type', [
  jsonFormat,
  avroDefinition,
  protobufDefinition,
  unservedVariant('kudu-record', 'json'),
]);

export type FormatDefinition = Readonly<z.output<typeof formatDefinition>>;

/** Pure: what of a stream does not go with its format, by its path in the definition. */
export function formatFaults(format: FormatDefinition, company: FormatCompany): ReturnType<typeof jsonFaults> {
  if (format.type === 'json') return jsonFaults(format, company);
  const taken = 'would be taken for null';
  return [
    ...registryFaults(format, company.sink),
    ...(company.images === 'changed'
      ? [{ path: ['images'], message: `"changed" does not go with ${format.type}: a column that was not set ${taken}` }]
      : []),
    ...(company.oversize === 'key-only'
      ? [
          {
            path: ['oversize'],
            message: `"key-only" does not go with ${format.type}: each column but the key ${taken}`,
          },
        ]
      : []),
  ];
}

/** A file says itself what is in it; elsewhere each record says by a number what it is. */
function registryFaults(
  format: Exclude<FormatDefinition, { type: 'json' }>,
  { type: sink }: FormatCompany['sink'],
): ReturnType<typeof jsonFaults> {
  const fault = (field: string, message: string): ReturnType<typeof jsonFaults> => [
    { path: ['format', field], message },
  ];
  if (sink !== 'file')
    return format.registry === undefined
      ? fault('registry', `is missing: ${format.type} into ${sink} needs the URL of a schema registry`)
      : [];
  if (format.type === 'protobuf') return fault('type', 'is "protobuf", and files are "json" or "avro"');
  return format.registry === undefined
    ? []
    : fault('registry', 'is given, and files in avro hold their schemas themselves: leave it out');
}

const KEYS: ReadonlyMap<unknown, readonly string[]> = new Map(
  [jsonFormat, avroDefinition, protobufDefinition].map(({ shape }) => [shape.type.value, Object.keys(shape)]),
);

/** The names that may stand in a `format` of the type that it has; none where it has no such type. */
export function formatKeys(format: unknown): readonly string[] {
  return KEYS.get((format as { readonly type?: unknown } | null)?.type) ?? [];
}
