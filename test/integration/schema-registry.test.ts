import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { avroSchemas, type AvroSchemaOptions } from '../../src/formats/avro/avro-schema.ts';
import { RegistryClient } from '../../src/formats/registry/registry-client.ts';
import { DataType, type ColumnSchema } from '../../src/kudu/schema.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import { Apicurio } from '../support/apicurio.ts';
import { EDGE_SCHEMA } from '../support/edge-values.ts';
import { column, int32 } from '../support/row-bytes.ts';

const T = DataType;
const OPTIONS: AvroSchemaOptions = { names: 'avro', decimals: 'precise', time: 'adaptive' };
const valueOf = (columns: readonly ColumnSchema[], topic = 'cdc.orders'): string =>
  avroSchemas({ columns }, topic, OPTIONS).value;
const KEY = column('id', T.INT64, { isKey: true });
const isRefused =
  (words: RegExp) =>
  (error: unknown): boolean =>
    error instanceof SinkError && error.kind === 'refused' && words.test(error.message);

describe('a real schema registry', () => {
  let registry: Apicurio;
  let client: RegistryClient;
  const signal = AbortSignal.timeout(300_000);
  const register = (subject: string, text: string): Promise<number> =>
    client.register(subject, { schemaType: 'AVRO', text }, signal);

  before(async () => {
    registry = await Apicurio.start();
    client = new RegistryClient({ urls: [registry.url] });
  });
  after(async () => {
    client[Symbol.dispose]();
    await registry[Symbol.asyncDispose]();
  });

  it('gives a schema one number, however often it is registered, and gives the schema back by it', async () => {
    const { key, value } = avroSchemas(EDGE_SCHEMA, 'cdc.shop.every', OPTIONS);
    const id = await register('cdc.shop.every-value', value);
    assert.equal(await register('cdc.shop.every-value', value), id);
    assert.equal(await client.lookUp('cdc.shop.every-value', { schemaType: 'AVRO', text: value }, signal), id);
    assert.notEqual(await register('cdc.shop.every-key', key), id);
    assert.deepEqual(await client.schemaOf(id, signal), { schemaType: 'AVRO', text: value });
    assert.equal(await client.schemaOf(id + 1000, signal), null);
  });

  it('knows nothing that was not registered, and takes nothing that is no schema', async () => {
    const text = valueOf([KEY], 'never');
    await assert.rejects(client.lookUp('never-value', { schemaType: 'AVRO', text }, signal), isRefused(/answered 404/));
    await assert.rejects(register('bad-value', '{"type":"record"}'), isRefused(/answered 422/));
  });

  const n = column('n', T.INT32);
  const VERSIONS: [what: string, versions: (readonly ColumnSchema[])[]][] = [
    [
      'a column added, NOT NULL with a default of Kudu',
      [
        [KEY, n],
        [KEY, n, column('more', T.INT32, { writeDefault: int32(7), readDefault: int32(7) })],
      ],
    ],
    [
      'a column dropped',
      [
        [KEY, n, column('gone', T.STRING)],
        [KEY, n],
      ],
    ],
    [
      'a column renamed',
      [
        [KEY, column('was', T.INT32)],
        [KEY, column('is', T.INT32)],
      ],
    ],
    ['columns of every type added and dropped again', [[KEY], EDGE_SCHEMA.columns, [KEY]]],
    [
      'all of these, one after the other',
      [
        [KEY, n],
        [KEY, n, column('a', T.STRING)],
        [KEY, column('n2', T.INT32), column('a', T.STRING)],
        [KEY, column('n2', T.INT32)],
        [KEY],
      ],
    ],
  ];
  for (const rule of ['BACKWARD', 'FORWARD', 'FULL'] as const)
    for (const [place, [what, versions]] of VERSIONS.entries())
      it(`takes ${what} as compatible ${rule}`, async () => {
        const subject = `${rule}-${place}-value`;
        const texts = versions.map((columns) => valueOf(columns));
        await register(subject, texts[0]!);
        await registry.demand(rule, subject);
        for (const text of texts.slice(1)) await register(subject, text);
      });

  it('refuses a column that comes again with another type, in words that are handed on', async () => {
    await register('cdc.bad-value', valueOf([KEY, column('n', T.INT32)], 'cdc.bad'));
    await registry.demand('FULL', 'cdc.bad-value');
    await assert.rejects(
      register('cdc.bad-value', valueOf([KEY, column('n', T.STRING)], 'cdc.bad')),
      isRefused(/answered 409 for subject cdc\.bad-value: .*ncompatible/),
    );
  });
});
