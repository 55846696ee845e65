import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseStreamDefinition } from '../../../src/streams/definition.ts';
import { changeDefinition } from '../../../src/streams/change-definition.ts';
import { matchTables } from '../../../src/streams/table-patterns.ts';

const FILES = { type: 'file', dir: '/data/cdc' } as const;
const MINIMAL = {
  name: 'orders',
  tables: ['shop.orders'],
  start: 'now',
  sink: { type: 'kafka', topic: 'cdc.{table}' },
};
const withSink = (sink: object) => ({ ...MINIMAL, sink: { ...MINIMAL.sink, ...sink } });

function faultsOf(body: unknown): { kind: string; faults: [path: string, message: string][] } {
  const parsed = parseStreamDefinition(body);
  assert.notEqual(parsed.kind, 'ok', 'the body was taken');
  if (parsed.kind === 'ok') throw new Error('unreachable');
  return { kind: parsed.kind, faults: parsed.faults.map(({ path, message }) => [path, message]) };
}

describe('parseStreamDefinition', () => {
  it('fills in the defaults of the contract', () => {
    assert.deepEqual(parseStreamDefinition(MINIMAL), {
      kind: 'ok',
      definition: {
        name: 'orders',
        tables: ['shop.orders'],
        start: 'now',
        sink: {
          type: 'kafka',
          topic: 'cdc.{table}',
          delivery: 'exactly-once',
          partitions: -1,
          replicationFactor: -1,
          createTopics: true,
          schemaTopic: 'spoor.schema-changes',
        },
        format: { type: 'json' },
        images: 'after',
        tombstones: true,
        partitionBy: 'key',
        oversize: 'block',
      },
    });
  });

  it("takes the contract's example", () => {
    const example = {
      name: 'orders',
      tables: ['shop.orders', 'shop.item*'],
      start: 'snapshot',
      sink: {
        type: 'kafka',
        topic: 'cdc.{table}',
        delivery: 'exactly-once',
        partitions: 3,
        replicationFactor: 1,
        createTopics: true,
      },
      format: { type: 'json' },
      images: 'changed',
      tombstones: true,
    };
    const parsed = parseStreamDefinition(example);
    assert.ok(parsed.kind === 'ok');
    assert.deepEqual(
      { ...parsed.definition, sink: { ...example.sink } },
      { ...example, partitionBy: 'key', oversize: 'block' },
    );
    const { start, ...withoutStart } = example;
    const byDefault = parseStreamDefinition(withoutStart);
    assert.equal(byDefault.kind === 'ok' && byDefault.definition.start, start);
  });

  it('keeps the options of json as they are given', () => {
    const format = {
      type: 'json',
      schema: 'block',
      decimals: 'string',
      time: 'isostring',
      binary: 'hex',
      nonFinite: 'block',
    };
    for (const images of ['after', 'full', 'changed']) {
      const parsed = parseStreamDefinition({ ...MINIMAL, images, format });
      assert.ok(parsed.kind === 'ok');
      assert.deepEqual([parsed.definition.format, parsed.definition.images], [format, images]);
    }
  });

  it('gives back what it gave out: a stored definition is read again', () => {
    const once = parseStreamDefinition(MINIMAL);
    assert.ok(once.kind === 'ok');
    assert.deepEqual(parseStreamDefinition(JSON.parse(JSON.stringify(once.definition))), once);
  });

  const NOT_YET = [{ what: 'kudu-record', body: { ...MINIMAL, format: { type: 'kudu-record' } }, path: 'format.type' }];
  for (const { what, body, path } of NOT_YET)
    it(`knows but does not serve yet: ${what}`, () => {
      const { kind, faults } = faultsOf(body);
      assert.equal(kind, 'unsupported');
      assert.deepEqual(
        faults.map(([each]) => each),
        [path],
      );
      assert.match(faults[0]![1], /not supported yet by this version; use "/);
    });

  it('lists all that it does not serve, and calls the body wrong when anything is', () => {
    const body = { ...MINIMAL, format: { type: 'kudu-record' } };
    const all = faultsOf(body);
    assert.equal(all.kind, 'unsupported');
    assert.deepEqual(
      all.faults.map(([path]) => path),
      ['format.type'],
    );
    assert.equal(faultsOf({ ...body, name: '' }).kind, 'invalid');
  });

  it('takes avro without a registry for files, which hold their schemas themselves', () => {
    const parsed = parseStreamDefinition({ ...MINIMAL, sink: FILES, format: { type: 'avro' } });
    assert.ok(parsed.kind === 'ok' && parsed.definition.format.type === 'avro');
    assert.equal(parsed.definition.format.registry, undefined);
  });

  it('fills in what a stream in Avro leaves out', () => {
    const parsed = parseStreamDefinition({ ...MINIMAL, format: { type: 'avro', registry: 'http://localhost:8081' } });
    assert.ok(parsed.kind === 'ok');
    assert.deepEqual(parsed.definition.format, {
      type: 'avro',
      registry: 'http://localhost:8081',
      autoRegister: true,
      subject: 'topic',
      names: 'avro',
      decimals: 'precise',
      time: 'adaptive',
    });
  });

  const WRONG: { what: string; body: unknown; faults: [string, RegExp][] }[] = [
    { what: 'no body', body: undefined, faults: [['', /^is required$/]] },
    { what: 'null', body: null, faults: [['', /^must be an object, not null$/]] },
    { what: 'a list', body: [], faults: [['', /^must be an object, not an array$/]] },
    {
      what: 'nothing in it',
      body: {},
      faults: [
        ['name', /required/],
        ['tables', /required/],
        ['sink', /required/],
      ],
    },
    { what: 'an empty name', body: { ...MINIMAL, name: '' }, faults: [['name', /begin with a letter or a digit/]] },
    { what: 'a name with capitals', body: { ...MINIMAL, name: 'Orders' }, faults: [['name', /a-z, 0-9/]] },
    { what: 'a name that begins with a dot', body: { ...MINIMAL, name: '..' }, faults: [['name', /begin with/]] },
    {
      what: 'a name with a line break at its end',
      body: { ...MINIMAL, name: 'orders\n' },
      faults: [['name', /a-z, 0-9/]],
    },
    { what: 'a name of 65 characters', body: { ...MINIMAL, name: 'a'.repeat(65) }, faults: [['name', /at most 64/]] },
    {
      what: 'a name that is no string',
      body: { ...MINIMAL, name: 5 },
      faults: [['name', /must be a string, not a number/]],
    },
    { what: 'no tables', body: { ...MINIMAL, tables: [] }, faults: [['tables', /at least one/]] },
    {
      what: 'tables as text',
      body: { ...MINIMAL, tables: 'a' },
      faults: [['tables', /must be an array, not a string/]],
    },
    { what: 'an empty table', body: { ...MINIMAL, tables: ['a', ''] }, faults: [['tables[1]', /empty/]] },
    {
      what: 'a table that is no string',
      body: { ...MINIMAL, tables: [null] },
      faults: [['tables[0]', /must be a string, not null/]],
    },
    {
      what: 'a table too long for Kudu',
      body: { ...MINIMAL, tables: ['a'.repeat(257)] },
      faults: [['tables[0]', /at most 256/]],
    },
    { what: 'a table twice', body: { ...MINIMAL, tables: ['a', 'b', 'a'] }, faults: [['tables[2]', /second time/]] },
    { what: 'an unknown start', body: { ...MINIMAL, start: 'then' }, faults: [['start', /"snapshot", "now"/]] },
    { what: 'no sink type', body: { ...MINIMAL, sink: {} }, faults: [['sink.type', /"kafka", "redis", "file"/]] },
    {
      what: 'an unknown sink type',
      body: { ...MINIMAL, sink: { type: 'nowhere' } },
      faults: [['sink.type', /"kafka", "redis", "file"/]],
    },
    { what: 'no topic', body: { ...MINIMAL, sink: { type: 'kafka' } }, faults: [['sink.topic', /required/]] },
    { what: 'an empty topic', body: withSink({ topic: '' }), faults: [['sink.topic', /empty/]] },
    { what: 'a topic with a slash', body: withSink({ topic: 'a/{table}' }), faults: [['sink.topic', /Kafka allows/]] },
    { what: 'the topic ..', body: withSink({ topic: '..' }), faults: [['sink.topic', /must not be/]] },
    {
      what: 'a topic of 250 characters',
      body: withSink({ topic: 'a'.repeat(250) }),
      faults: [['sink.topic', /at most 249/]],
    },
    {
      what: 'an unknown placeholder',
      body: withSink({ topic: '{tabel}' }),
      faults: [['sink.topic', /unknown placeholder \{tabel\}; known are \{table\}, \{stream\}, \{database\}/]],
    },
    {
      what: 'an empty placeholder',
      body: withSink({ topic: 'a{}' }),
      faults: [['sink.topic', /unknown placeholder \{\}/]],
    },
    { what: 'a lone brace', body: withSink({ topic: 'a{table' }), faults: [['sink.topic', /brace/]] },
    {
      what: 'an unknown delivery',
      body: withSink({ delivery: 'at-most-once' }),
      faults: [['sink.delivery', /"exactly-once", "at-least-once"/]],
    },
    { what: 'no partitions', body: withSink({ partitions: 0 }), faults: [['sink.partitions', /1 to 100000, or -1/]] },
    { what: 'half a partition', body: withSink({ partitions: 1.5 }), faults: [['sink.partitions', /whole number/]] },
    { what: 'partitions as text', body: withSink({ partitions: '3' }), faults: [['sink.partitions', /whole number/]] },
    {
      what: 'replicas below -1',
      body: withSink({ replicationFactor: -2 }),
      faults: [['sink.replicationFactor', /1 to 1000, or -1/]],
    },
    {
      what: 'createTopics as text',
      body: withSink({ createTopics: 'no' }),
      faults: [['sink.createTopics', /boolean, not a string/]],
    },
    {
      what: 'a compression that Kafka does not know',
      body: withSink({ compression: 'brotli' }),
      faults: [['sink.compression', /"none", "gzip", "snappy", "lz4"/]],
    },
    {
      what: 'a setting as a number',
      body: withSink({ topicConfig: { 'retention.ms': 5 } }),
      faults: [['sink.topicConfig.retention.ms', /must be text, such as "86400000"/]],
    },
    {
      what: 'a setting that is none',
      body: withSink({ topicConfig: { 'retention ms': '5' } }),
      faults: [['sink.topicConfig.retention ms', /must be a setting of Kafka topics/]],
    },
    {
      what: 'a schema topic with a placeholder',
      body: withSink({ schemaTopic: '{table}' }),
      faults: [['sink.schemaTopic', /Kafka allows/]],
    },
    {
      what: 'an unknown format',
      body: { ...MINIMAL, format: { type: 'xml' } },
      faults: [['format.type', /"json", "avro", "protobuf", "kudu-record"/]],
    },
    { what: 'a format as text', body: { ...MINIMAL, format: 'json' }, faults: [['format', /must be an object/]] },
    {
      what: 'an unknown option of json',
      body: { ...MINIMAL, format: { type: 'json', pretty: true } },
      faults: [['format.pretty', /not known/]],
    },
    {
      what: 'unknown images',
      body: { ...MINIMAL, images: 'none' },
      faults: [['images', /"after", "full", "changed"/]],
    },
    {
      what: 'an unknown word of json',
      body: { ...MINIMAL, format: { type: 'json', decimals: 'numeric' } },
      faults: [['format.decimals', /"string", "precise", "double"/]],
    },
    {
      what: 'flat records of what was changed alone',
      body: { ...MINIMAL, images: 'changed', format: { type: 'json', envelope: 'flat' } },
      faults: [['images', /does not go with envelope "flat"/]],
    },
    {
      what: 'flat records of a key alone, which nothing in them would tell',
      body: { ...MINIMAL, oversize: 'key-only', format: { type: 'json', envelope: 'flat' } },
      faults: [['oversize', /does not go with envelope "flat"/]],
    },
    {
      what: 'flat records without tombstones',
      body: { ...MINIMAL, tombstones: false, format: { type: 'json', envelope: 'flat' } },
      faults: [['tombstones', /a delete has no other record/]],
    },
    {
      what: 'texts in the place of numbers beside a schema',
      body: { ...MINIMAL, format: { type: 'json', schema: 'block', nonFinite: 'string' } },
      faults: [['format.nonFinite', /take a text in the place of a number for 0/]],
    },
    {
      what: 'marks between records that have schemas',
      body: { ...MINIMAL, resolved: { intervalMs: 1000 }, format: { type: 'json', schema: 'block' } },
      faults: [['resolved', /Kafka Connect stops at them/]],
    },
    ...['avro', 'protobuf'].map((type) => ({
      what: `records of a key alone in ${type}, which nothing in them would tell`,
      body: { ...MINIMAL, oversize: 'key-only', format: { type, registry: 'http://r:8081' } },
      faults: [['oversize', new RegExp(`"key-only" does not go with ${type}`)]] as [string, RegExp][],
    })),
    {
      what: 'avro without a registry',
      body: { ...MINIMAL, format: { type: 'avro' } },
      faults: [['format.registry', /is missing: avro into kafka needs the URL of a schema registry/]],
    },
    {
      what: 'protobuf without a registry',
      body: { ...MINIMAL, format: { type: 'protobuf' } },
      faults: [['format.registry', /must be http:.*or a list/]],
    },
    {
      what: 'files of avro with a registry',
      body: { ...MINIMAL, sink: FILES, format: { type: 'avro', registry: 'http://r:8081' } },
      faults: [['format.registry', /hold their schemas themselves: leave it out/]],
    },
    {
      what: 'files of protobuf',
      body: { ...MINIMAL, sink: FILES, format: { type: 'protobuf', registry: 'http://r:8081' } },
      faults: [['format.type', /is "protobuf", and files are "json" or "avro"/]],
    },
    {
      what: 'avro with rows that are not whole',
      body: { ...MINIMAL, images: 'changed', format: { type: 'avro', registry: 'http://r' } },
      faults: [['images', /"changed" does not go with avro/]],
    },
    {
      what: 'registries that are none',
      body: { ...MINIMAL, format: { type: 'avro', registry: ['ftp://a', 'http://u:p@b', 'http://c/?x', 'd'] } },
      faults: [
        ['format.registry[0]', /must be http:/],
        ['format.registry[1]', /SPOOR_REGISTRY_PASSWORD/],
        ['format.registry[2]', /must be http:/],
        ['format.registry[3]', /must be http:/],
      ],
    },
    { what: 'tombstones as a number', body: { ...MINIMAL, tombstones: 1 }, faults: [['tombstones', /boolean/]] },
    {
      what: 'a mistyped field',
      body: { ...MINIMAL, tombstone: true },
      faults: [['tombstone', /did you mean tombstones\?/]],
    },
    {
      what: 'a mistyped field of the sink',
      body: withSink({ replicaton: 1 }),
      faults: [['sink.replicaton', /not known/]],
    },
    { what: 'an unknown field', body: { ...MINIMAL, x: 1 }, faults: [['x', /known are name, tables/]] },
  ];
  for (const { what, body, faults } of WRONG)
    it(`refuses ${what}`, () => {
      const found = faultsOf(body);
      assert.equal(found.kind, 'invalid');
      assert.deepEqual(
        found.faults.map(([path]) => path),
        faults.map(([path]) => path),
      );
      for (const [i, [, message]] of faults.entries()) assert.match(found.faults[i]![1], message);
    });

  it('names every fault of a body, not only the first', () => {
    const body = {
      name: 'A',
      tables: ['', 7],
      start: 'x',
      sink: { type: 'kafka', topic: '{x}', delivery: 'y', partitions: 0, extra: 1 },
      format: { type: 'z' },
      images: 'w',
      tombstones: 'yes',
      more: 1,
    };
    assert.deepEqual(
      new Set(faultsOf(body).faults.map(([path]) => path)),
      new Set([
        'name',
        'tables[0]',
        'tables[1]',
        'start',
        'sink.topic',
        'sink.delivery',
        'sink.partitions',
        'sink.extra',
        'format.type',
        'images',
        'tombstones',
        'more',
      ]),
    );
  });

  it('never throws, whatever JSON it is given', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        assert.ok(['ok', 'invalid', 'unsupported'].includes(parseStreamDefinition(body).kind));
      }),
    );
  });
});

describe('tables and topics of a definition', () => {
  const body = (tables: unknown, topics?: unknown) => ({
    name: 's',
    tables,
    sink: { type: 'kafka', topic: 'cdc.{table}', ...(topics !== undefined && { topics }) },
  });

  it('may take tables out and give some a topic of their own', () => {
    const topics = { 'shop.a_b': 'cdc.other', '..': 'dots', constructor: 'made' };
    assert.equal(parseStreamDefinition(body(['shop.*', '!shop.tmp*'], topics)).kind, 'ok');
  });

  it('are refused with what is wrong', () => {
    assert.deepEqual(faultsOf(body(['!a'])).faults, [
      ['tables', 'must have a pattern without "!": one takes tables out that others take in'],
    ]);
    assert.deepEqual(faultsOf(body(['a', '!'])).faults, [['tables[1]', 'must name a table or pattern behind "!"']]);
    assert.match(faultsOf(body(['a'], { a: 'x y' })).faults[0]!.join(': '), /^sink\.topics\.a: must be made of/);
    assert.match(faultsOf(body(['a'], { 'a*': 'x' })).faults[0]!.join(': '), /sink\.topics.*: .*one table/);
    assert.match(faultsOf(body(['a'], ['x'])).faults[0]!.join(': '), /sink\.topics: must be/);
  });

  it('may change while the stream goes on', () => {
    const made = parseStreamDefinition(body(['a']));
    assert.ok(made.kind === 'ok');
    const changed = changeDefinition({ ...made, paused: false }, { sink: { topics: { b: 'other' } } });
    assert.ok(changed.kind === 'ok' && changed.definition.sink.type === 'kafka');
    assert.deepEqual(changed.definition.sink.topics, { b: 'other' });
    const back = changeDefinition(changed, { sink: { topics: { b: null } } });
    assert.ok(back.kind === 'ok' && back.definition.sink.type === 'kafka');
    assert.deepEqual(back.definition.sink.topics, {});
  });
});

describe('matchTables', () => {
  const CASES: [pattern: string, name: string, matches: boolean][] = [
    ['shop.orders', 'shop.orders', true],
    ['shop.orders', 'shop.orders2', false],
    ['shop.orders', 'xshop.orders', false],
    ['shop.item*', 'shop.item', true],
    ['shop.item*', 'shop.items.old', true],
    ['shop.item*', 'shop.ite', false],
    ['*', '', true],
    ['*', 'any.thing', true],
    ['*.orders', 'shop.orders', true],
    ['*.orders', '.orders', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['a**c', 'ac', true],
    ['*ab', 'aab', true],
    ['shop.', 'shopx', false], // a dot is a dot
    ['a?c', 'abc', false], // and nothing but * is special
    ['[ab]', 'a', false],
    ['impala::db.*', 'impala::db.t', true],
  ];
  for (const [pattern, name, matches] of CASES)
    it(`${JSON.stringify(pattern)} ${matches ? 'takes' : 'leaves'} ${JSON.stringify(name)}`, () => {
      assert.equal(matchTables([pattern], name), matches);
      assert.equal(matchTables(['no', pattern], name), matches);
    });

  it('agrees with a regular expression on any pattern', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '*', '.'), maxLength: 8 });
    fc.assert(
      fc.property(text, fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 8 }), (pattern, name) => {
        const source = pattern.split('*').map((part) => part.replaceAll('.', '\\.'));
        assert.equal(matchTables([pattern], name), new RegExp(`^${source.join('.*')}$`).test(name));
      }),
    );
  });

  it('takes out what a pattern with ! names, wherever that stands', () => {
    for (const patterns of [
      ['shop.*', '!shop.tmp*'],
      ['!shop.tmp*', 'shop.*', 'shop.tmp1'],
    ]) {
      assert.equal(matchTables(patterns, 'shop.orders'), true);
      assert.equal(matchTables(patterns, 'shop.tmp1'), false);
      assert.equal(matchTables(patterns, '!shop.tmp1'), false);
    }
    assert.equal(matchTables(['!a'], 'b'), false, 'what is taken out takes nothing in');
    assert.equal(matchTables(['*', '!*'], 'a'), false);
  });

  it('takes no exponential time', () => {
    assert.equal(matchTables([`${'*a'.repeat(100)}b`], 'a'.repeat(256)), false);
  });
});
