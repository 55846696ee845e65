import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HistoryView } from '../../../src/api/cluster-state.ts';
import { withSample } from '../../../src/page/apply-change.ts';
import { indented } from '../../../src/page/json-text.ts';
import { EventParser } from '../../../src/page/sse.ts';
import { definitionOf, EMPTY_FORM, fieldOf } from '../../../src/page/stream-form.ts';
import { byTable, countStates, filtered } from '../../../src/page/tablets.ts';
import { ago, bytes, duration, rate } from '../../../src/page/words.ts';
import { parseStreamBody } from '../../../src/streams/definition.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

describe('server-sent events', () => {
  const text = 'event: state\ndata: {"a":1}\n\n: still here\n\nevent: change\ndata: two\ndata: lines\n\n';
  const events = [
    { event: 'state', data: '{"a":1}' },
    { event: 'change', data: 'two\nlines' },
  ];
  it('are the same, wherever what comes is cut', () => {
    for (let at = 0; at <= text.length; at++) {
      const parser = new EventParser();
      assert.deepEqual([...parser.push(text.slice(0, at)), ...parser.push(text.slice(at))], events);
    }
  });
});

describe('the charts', () => {
  it('go on with each sample, and forget what is older than an hour', () => {
    const at = Array.from({ length: 360 }, (_, i) => 10 + i * 10);
    const past: HistoryView = { stepSeconds: 10, at, streams: { a: { records: at, lagSeconds: at, heldBytes: at } } };
    const next = withSample(past, { at: 3610, streams: { a: [1, 2, 3], b: [4, 5, 6] } });
    assert.deepEqual([next.at.length, next.at[0], next.at.at(-1)], [360, 20, 3610]);
    assert.deepEqual(next.streams.a!.records.slice(-2), [3600, 1]);
    assert.deepEqual(
      [next.streams.b!.records.length, next.streams.b!.records[0], next.streams.b!.heldBytes.at(-1)],
      [360, null, 6],
    );
    assert.equal(withSample(next, { at: 3610, streams: {} }), next, 'what is known is not told twice');
  });
});

describe('figures', () => {
  for (const [seconds, text] of [
    [0, '0 s'],
    [0.0123, '12 ms'],
    [2.34, '2.3 s'],
    [75, '75 s'],
    [3600, '60 min'],
    [3 * 3600 + 120, '3 h 2 min'],
    [50 * 3600, '2 d 2 h'],
    [null, '–'],
  ] as const)
    it(`of ${seconds ?? 'unknown'} seconds are ${text}`, () => {
      assert.equal(duration(seconds), text);
    });
  it('of bytes and rates have three digits', () => {
    assert.deepEqual([bytes(0), bytes(999), bytes(8_388_608), bytes(1.5e12)], ['0 B', '999 B', '8 MiB', '1.36 TiB']);
    assert.deepEqual([rate(0), rate(3.21), rate(1234), rate(45_678), rate(null)], ['0', '3.21', '1,234', '45.7K', '–']);
    assert.deepEqual(
      [ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:03:00Z')), ago(null, 0)],
      ['3 min ago', '–'],
    );
  });
});

describe('a list of tablets', () => {
  const tablets = [
    tabletView({ tabletId: '1'.repeat(32), table: 'b' }),
    tabletView({ tabletId: '2'.repeat(32), table: 'a', lagSeconds: 5 }),
    tabletView({ tabletId: '3'.repeat(32), table: 'a', state: 'blocked' }),
  ];
  const any = { text: '', state: 'any', table: null } as const;
  it('has the worst first, and lets through what is asked for', () => {
    const ids = (filter: Parameters<typeof filtered>[1]) =>
      filtered(tablets, filter).map(({ tabletId }) => tabletId[0]);
    assert.deepEqual(ids(any), ['3', '2', '1']);
    assert.deepEqual(ids({ ...any, state: 'running' }), ['2', '1']);
    assert.deepEqual(ids({ ...any, table: 'b' }), ['1']);
    assert.deepEqual(ids({ ...any, text: 'NO BROKER' }), ['3']);
    assert.deepEqual(countStates(tablets), [
      ['blocked', 1],
      ['running', 2],
    ]);
    assert.deepEqual(
      byTable(tablets).map(({ name, tablets: own, lagSeconds }) => [name, own.length, lagSeconds]),
      [
        ['a', 2, 5],
        ['b', 1, 0.25],
      ],
    );
  });
});

describe('the form of a stream', () => {
  const form = { ...EMPTY_FORM, name: 'orders', tables: 'shop.orders\n shop.item*, !shop.items_old\n' };
  it('makes a definition that Spoor takes, for each sink', () => {
    assert.deepEqual(definitionOf(form), {
      name: 'orders',
      tables: ['shop.orders', 'shop.item*', '!shop.items_old'],
      start: 'snapshot',
      sink: { type: 'kafka', topic: 'cdc.{table}', delivery: 'exactly-once' },
    });
    for (const more of [
      { partitions: '3', replicationFactor: '1', images: 'full' },
      { sink: 'redis' },
      { sink: 'file', place: '/data/cdc' },
      { format: 'avro', registry: 'http://registry:8081' },
      { further: '{"images":"full","where":{"shop.orders":"id > 1"},"sink":{"compression":"lz4"}}' },
    ] as const)
      assert.equal(parseStreamBody(definitionOf({ ...form, ...more })).kind, 'ok', JSON.stringify(more));
  });
  it('has all else of a definition in its further fields, and says what is no such thing', () => {
    const further = '{"partitionBy":"tablet","sink":{"topic":"t"}}';
    const { sink, partitionBy } = definitionOf({ ...form, further });
    assert.deepEqual([partitionBy, sink], ['tablet', { type: 'kafka', topic: 't', delivery: 'exactly-once' }]);
    for (const wrong of ['{', '[]', 'null', '7'])
      assert.throws(() => definitionOf({ ...form, further: wrong }), SyntaxError);
  });
  it('knows which of its fields a fault is about', () => {
    const parsed = parseStreamBody(definitionOf({ ...form, name: 'Orders', place: 'cdc.{tabel}', partitions: 'x' }));
    assert.ok(parsed.kind === 'invalid');
    assert.deepEqual(parsed.faults.map(({ path }) => fieldOf(path)).sort(), ['name', 'partitions', 'place']);
    assert.deepEqual(['tables[1]', 'format.registry', 'copyRowsPerSecond'].map(fieldOf), [
      'tables',
      'registry',
      'further',
    ]);
  });
});

describe('a JSON document over several lines', () => {
  it('is as JavaScript would write it, for any document', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('', ' ', '\n\t'), (value, space) => {
        assert.equal(
          indented(JSON.stringify(value, null, space)),
          JSON.stringify(JSON.parse(JSON.stringify(value)), null, 2),
        );
      }),
    );
  });
  it('keeps numbers that JavaScript cannot hold, and what is no JSON', () => {
    assert.equal(indented('{"id":9223372036854775807,"x":1.10}'), '{\n  "id": 9223372036854775807,\n  "x": 1.10\n}');
    assert.equal(indented('}}"a'), '\n}\n}"a');
  });
});
