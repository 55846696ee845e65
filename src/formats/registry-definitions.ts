import * as z from 'zod';

const URL_FAULT = 'must be http://host:port or https://host:port, with a path where the registry has one';

const registryUrl = z
  .string(URL_FAULT)
  .max(2000, URL_FAULT)
  .superRefine((url, ctx) => {
    const fault = registryUrlFault(url);
    if (fault !== null) ctx.addIssue({ code: 'custom', message: fault });
  });

/** What the formats share whose records say by a number in a schema registry what they are. */
const registryFields = {
  registry: z
    .union(
      [registryUrl, z.array(registryUrl).min(1, 'must name at least one URL').max(10, 'must name at most 10 URLs')],
      `${URL_FAULT}; or a list of such`,
    )
    .describe(
      'URL of a schema registry with the REST API of Confluent; or several of one: the next is asked where one is away.',
    ),
  autoRegister: z
    .boolean()
    .default(true)
    .describe('Whether Spoor registers schemas. If not, a table waits until somebody has registered its schema.'),
  subject: z
    .enum(['topic', 'record', 'topic-record'])
    .default('topic')
    .describe('Subjects: `<topic>-key` and `<topic>-value`; by the full name of the record; or by both.'),
};

const time = z
  .enum(['adaptive', 'connect', 'isostring'])
  .default('adaptive')
  .describe('Times: with all microseconds; as Kafka Connect has them, in milliseconds; or as text (ISO 8601).');

/** `format` of a stream in Avro. */
export const avroDefinition = z.strictObject({
  type: z.literal('avro'),
  ...registryFields,
  registry: registryFields.registry
    .exactOptional()
    .describe(
      'URL of a schema registry with the REST API of Confluent; or several of one: the next is asked where one is away. Needed but for files, which hold their schemas themselves.',
    ),
  names: z
    .enum(['avro', 'avro_unicode', 'none'])
    .default('avro')
    .describe(
      'Names that Avro does not allow: `_` for each such character; `_uXXXX`, by which no two names become one; or left as they are.',
    ),
  decimals: z
    .enum(['precise', 'string', 'double'])
    .default('precise')
    .describe('Decimals: as what they are; as text; or as the nearest floating point number.'),
  time,
});

/** `format` of a stream in Protocol Buffers. */
export const protobufDefinition = z.strictObject({
  type: z.literal('protobuf'),
  ...registryFields,
  decimals: z
    .enum(['string', 'precise', 'double'])
    .default('string')
    .describe("Decimals: as text; as a message like Confluent's Decimal; or as the nearest floating point number."),
  time,
});

/** Passwords in a URL would be shown to everybody who may look at the stream. */
function registryUrlFault(url: string): string | null {
  if (!URL.canParse(url)) return URL_FAULT;
  const { protocol, username, password, search, hash } = new URL(url);
  if (protocol !== 'http:' && protocol !== 'https:') return URL_FAULT;
  if (username !== '' || password !== '')
    return 'must have no user name or password in it: they are given to the sidecars as SPOOR_REGISTRY_USERNAME and SPOOR_REGISTRY_PASSWORD';
  return search === '' && hash === '' ? null : URL_FAULT;
}
