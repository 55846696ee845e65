import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { avroSchemas, type AvroSchemaOptions } from '../../src/formats/avro/avro-schema.ts';
import { protoSchemas, type ProtoTypes } from '../../src/formats/protobuf/proto-schema.ts';
import { currentAuth } from '../../src/formats/registry/registry-auth.ts';
import { RegistryClient, type SchemaText } from '../../src/formats/registry/registry-client.ts';
import { DataType, type ColumnSchema } from '../../src/kudu/schema.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import { Apicurio } from '../support/apicurio.ts';
import { TestAuthority } from '../support/test-authority.ts';
import { EDGE_SCHEMA } from '../support/edge-values.ts';
import { column, int32 } from '../support/row-bytes.ts';

const T = DataType;
const OPTIONS: AvroSchemaOptions = { names: 'avro', decimals: 'precise', time: 'adaptive' };
const valueOf = (columns: readonly ColumnSchema[], topic = 'cdc.orders'): string =>
  avroSchemas({ columns }, topic, OPTIONS).value;
const KEY = column('id', T.INT64, { isKey: true, id: 0 });
const PROTO: ProtoTypes = { decimals: 'string', time: 'adaptive' };
const field = (name: string, id: number): ColumnSchema => column(name, T.INT32, { id });
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

  describe('of Protocol Buffers', () => {
    const OLDER = [KEY, field('a', 1), field('b', 2)];
    const CHANGES: Record<string, readonly ColumnSchema[]> = {
      add: [...OLDER, field('c', 3)],
      drop: OLDER.slice(0, 2),
      rename: [KEY, field('a', 1), field('z', 2)],
    };
    /** On the wire each is the same to every reader: a field is its number. */
    const REFUSED: Record<string, readonly string[]> = {
      NONE: [],
      BACKWARD: ['drop', 'rename'],
      FORWARD: ['add', 'rename'],
      FULL: ['rename'],
    };
    for (const rule of ['NONE', 'BACKWARD', 'FORWARD', 'FULL'] as const)
      it(`refuses by ${rule}: ${REFUSED[rule]!.join(' and ') || 'nothing'}`, async () => {
        const refused: string[] = [];
        for (const [what, columns] of Object.entries(CHANGES)) {
          const subject = `proto.${rule}.${what}-value`;
          const [before, after] = [OLDER, columns].map((each): SchemaText => {
            return { schemaType: 'PROTOBUF', text: protoSchemas({ columns: each }, subject, PROTO).value };
          }) as [SchemaText, SchemaText];
          const id = await client.register(subject, before, signal);
          assert.equal(await client.lookUp(subject, before, signal), id);
          await registry.demand(rule, subject);
          const isCompatible = await client.isCompatible(subject, after, signal);
          const isTaken = await client.register(subject, after, signal).then(
            () => true,
            (error: unknown) => (assert.ok(isRefused(/answered 409/)(error)), false),
          );
          assert.equal(isCompatible, isTaken);
          if (!isTaken) refused.push(what);
        }
        assert.deepEqual(refused, REFUSED[rule]);
      });
  });

  it('is asked whether it would take a schema, and takes none by that', async () => {
    const schemaOf = (columns: readonly ColumnSchema[]) =>
      ({ schemaType: 'AVRO', text: valueOf(columns, 'cdc.asked') }) as const;
    assert.equal(await client.isCompatible('cdc.asked-value', schemaOf([KEY]), signal), true);
    await register('cdc.asked-value', schemaOf([KEY, column('n', T.INT32)]).text);
    await registry.demand('FULL', 'cdc.asked-value');
    assert.equal(await client.isCompatible('cdc.asked-value', schemaOf([KEY, column('n', T.STRING)]), signal), false);
    assert.equal(await client.isCompatible('cdc.asked-value', schemaOf([KEY]), signal), true);
    const versions = (await (await fetch(`${registry.url}/subjects/cdc.asked-value/versions`)).json()) as number[];
    assert.deepEqual(versions, [1]);
  });
});

describe('a real schema registry over TLS', () => {
  it('is trusted by the authority that we are given, and by another when its file has another', async () => {
    await using dir = await WorkDir.create('spoor-test-registry-tls');
    const [own, other] = [await TestAuthority.create(dir.path, 'own'), await TestAuthority.create(dir.path, 'other')];
    await using registry = await Apicurio.start({ tls: await own.issue('registry') });
    const file = join(dir.path, 'ca.pem');
    const [ownText, otherText] = [await readFile(own.cert, 'utf8'), await readFile(other.cert, 'utf8')];
    await writeFile(file, otherText);
    const signal = AbortSignal.timeout(60_000);
    const urls = [registry.secureUrl];
    using client = new RegistryClient({ urls, auth: currentAuth({ ca: otherText }, { ca: file }) });
    using trusting = new RegistryClient({ urls });
    const ask = (of: RegistryClient): Promise<number> =>
      of.register('tls-value', { schemaType: 'AVRO', text: valueOf([KEY], 'tls') }, signal);
    const isDistrusted = (error: unknown): boolean =>
      error instanceof SinkError && error.kind === 'unavailable' && /certificate/.test(error.message);
    await assert.rejects(ask(client), isDistrusted);
    await assert.rejects(ask(trusting), isDistrusted);
    await writeFile(file, ownText);
    const id = await ask(client);
    await writeFile(file, otherText);
    await assert.rejects(ask(client), isDistrusted, 'no connection of before is used');
    await writeFile(file, ownText);
    assert.equal(await ask(client), id);
  });
});
