import * as z from 'zod';

/** How the values of columns are written, in Debezium's words. */
export interface ValueOptions {
  readonly decimals: 'string' | 'precise' | 'double';
  readonly time: 'adaptive' | 'connect' | 'isostring';
  readonly binary: 'base64' | 'hex' | 'bytes';
  readonly nonFinite: 'string' | 'null' | 'block';
}

/** All options of the format, none left to a default. */
export interface JsonLayout extends ValueOptions {
  /** `block`: Kafka Connect's schema in every key and value. */
  readonly schema: 'none' | 'block';
  /** `flat`: the row itself, and a delete a tombstone. */
  readonly envelope: 'debezium' | 'flat';
}

/** `{"type":"json"}` of a stream's `format`. What is left out is as {@link jsonLayout} says: some of it goes by `schema`. */
export const jsonFormat = z.strictObject({
  type: z.literal('json'),
  schema: z
    .enum(['none', 'block'])
    .exactOptional()
    .describe("`none`, the default; `block`: each key and value has Kafka Connect's schema with it."),
  envelope: z
    .enum(['debezium', 'flat'])
    .exactOptional()
    .describe('`debezium`, the default; `flat`: a value is the row itself, and a delete a tombstone.'),
  decimals: z
    .enum(['string', 'precise', 'double'])
    .exactOptional()
    .describe(
      "Decimals: `string`, the default; `precise`: Connect's Decimal, the default in a schema block; `double`.",
    ),
  time: z
    .enum(['adaptive', 'connect', 'isostring'])
    .exactOptional()
    .describe('Times: `adaptive`, the default, microseconds; `connect`, milliseconds; `isostring`, ISO 8601.'),
  binary: z
    .enum(['base64', 'hex', 'bytes'])
    .exactOptional()
    .describe("Binary: text in `base64`, the default, or `hex`; `bytes`: Connect's, the default in a schema block."),
  nonFinite: z
    .enum(['string', 'null', 'block'])
    .exactOptional()
    .describe(
      'NaN and infinities: `string`, the default; `null`, the default in a schema block, and counted; `block`: the tablet.',
    ),
});
export type JsonFormatDefinition = Readonly<z.output<typeof jsonFormat>>;

/** Pure: the options with their defaults. A reader that goes by Connect's schema takes a text in a number's place for 0. */
export function jsonLayout(format: JsonFormatDefinition): JsonLayout {
  const { schema = 'none', envelope = 'debezium', time = 'adaptive' } = format;
  const isBlock = schema === 'block';
  return {
    schema,
    envelope,
    time,
    decimals: format.decimals ?? (isBlock ? 'precise' : 'string'),
    binary: format.binary ?? (isBlock ? 'bytes' : 'base64'),
    nonFinite: format.nonFinite ?? (isBlock ? 'null' : 'string'),
  };
}

/** What of a stream a format must go together with. */
export interface FormatCompany {
  readonly images: 'after' | 'full' | 'changed';
  readonly tombstones: boolean;
  /** What becomes of a record that is too large. */
  readonly oversize?: 'block' | 'dead-letter' | 'key-only';
  /** Marks between the records, where the stream has any. */
  readonly resolved?: unknown;
  readonly sink: { readonly type: string };
}

/** Pure: what does not go together, by its path in the definition. */
export function jsonFaults(
  format: JsonFormatDefinition,
  { images, tombstones, oversize, resolved }: FormatCompany,
): { readonly path: readonly string[]; readonly message: string }[] {
  const { schema, envelope, nonFinite } = jsonLayout(format);
  const faults: { path: readonly string[]; message: string }[] = [];
  if (envelope === 'flat' && images === 'changed')
    faults.push({
      path: ['images'],
      message: '"changed" does not go with envelope "flat": a column that was not set would be taken for null',
    });
  if (envelope === 'flat' && !tombstones)
    faults.push({
      path: ['tombstones'],
      message: 'must be true with envelope "flat": a delete has no other record',
    });
  if (envelope === 'flat' && oversize === 'key-only')
    faults.push({
      path: ['oversize'],
      message:
        '"key-only" does not go with envelope "flat": nothing in the record would say that its other columns are not null',
    });
  if (schema === 'block' && nonFinite === 'string')
    faults.push({
      path: ['format', 'nonFinite'],
      message: '"string" does not go with schema "block": readers take a text in the place of a number for 0',
    });
  if (schema === 'block' && resolved !== undefined)
    faults.push({
      path: ['resolved'],
      message: 'does not go with schema "block": its marks are no records of a table, and Kafka Connect stops at them',
    });
  return faults;
}
