import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { clashOf, planTopics, type TopicPlanOptions } from '../../../../src/sinks/kafka/topic-plan.ts';

const plan = (tables: readonly string[], more: Partial<TopicPlanOptions> = {}) =>
  planTopics({ streamName: 's1', topic: 'cdc.{table}', schemaTopic: 'spoor.schema-changes', ...more }, tables);

describe('the topics of a stream', () => {
  it('are told by table', () => {
    const { places, faults, warnings } = plan(['shop.a', 'shop.b'], { topics: { 'shop.b': 'other' } });
    assert.deepEqual(
      [...places],
      [
        ['shop.a', 'cdc.shop.a'],
        ['shop.b', 'other'],
      ],
    );
    assert.deepEqual([faults, warnings], [[], []]);
  });

  it('that Kafka does not have beside each other are faults that name both tables and the way out', () => {
    const { faults } = plan(['shop.a_b', 'shop_a.b', 'shop.c']);
    assert.equal(faults.length, 1);
    assert.match(
      faults[0]!,
      /^"shop\.a_b" and "shop_a\.b" make the topics cdc\.shop\.a_b and cdc\.shop_a\.b, of which/,
    );
    assert.match(faults[0]!, /"!shop_a\.b" in tables, or .* sink\.topics$/);
    assert.deepEqual(plan(['shop.a_b', 'shop_a.b'], { topics: { 'shop_a.b': 'cdc.other' } }).faults, []);
    assert.match(
      plan(['schema.changes'], { topic: 'spoor.{table}', schemaTopic: 'spoor.schema_changes' }).faults[0]!,
      /the schema changes/,
    );
  });

  it('that no topic can be named after are faults', () => {
    for (const table of ['.', '..', 'x'.repeat(250)])
      assert.match(plan([table], { topic: '{table}' }).faults[0]!, /does not take; .*sink\.topics/);
    assert.deepEqual(plan(['..'], { topic: '{table}', topics: { '..': 'dots' } }).faults, []);
  });

  it('that tables share are warned of, unless the template has them together', () => {
    const names = ['impala::shop.a', 'impala__shop.a'];
    assert.deepEqual(plan(names).warnings, ['"impala::shop.a", "impala__shop.a" share the topic cdc.impala__shop.a']);
    for (const topic of ['all', '{stream}', '{database}'])
      assert.deepEqual(plan(['a.b', 'a.c'], { topic }).warnings, []);
    assert.equal(plan(['a', 'b'], { topics: { b: 'cdc.a' } }).warnings.length, 1, 'one of them did not ask for it');
    assert.deepEqual(plan(['a', 'b'], { topics: { a: 'x', b: 'x' } }).warnings, [], 'both did');
    assert.match(plan(['schema-changes'], { topic: 'spoor.{table}' }).warnings[0]!, /the schema changes/);
    assert.match(plan(['ü', 'ö', 'ä', 'ß', 'é', 'à', 'ñ']).warnings[0]!, /and 2 more share the topic cdc\._/);
  });

  it('of a table and those in its way are told when it is refused', () => {
    const options = { streamName: 's1', topic: 'cdc.{table}', schemaTopic: 'x' };
    const tables = ['shop.a_b', 'shop_a.b', 'shop.c'];
    assert.match(clashOf(options, 'shop_a.b', tables)!, /"shop_a\.b" and "shop\.a_b", which goes to cdc\.shop\.a_b/);
    assert.equal(clashOf(options, 'shop.c', tables), null);
  });

  it('never make a fault or fail on names that JavaScript has a meaning for', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
    const { places, faults } = plan(names);
    assert.deepEqual(faults, []);
    assert.deepEqual(
      [...places.values()],
      names.map((name) => `cdc.${name}`),
    );
    assert.deepEqual(plan(names, { topics: {} }).faults, []);
  });

  it('are of all tables or told as faults, and no two of them clash then', () => {
    const name = fc.string({
      unit: fc.constantFrom('a', '.', '_', ':', '-', 'é', '😀', '"', '\n'),
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(fc.uniqueArray(name, { maxLength: 6 }), (tables) => {
        const { places, faults, warnings } = plan(tables);
        assert.equal(places.size, tables.length);
        const topics = [...new Set(places.values())];
        const isApart = new Set(topics.map((topic) => topic.replaceAll('.', '_'))).size === topics.length;
        assert.equal(faults.length === 0, isApart);
        assert.equal(warnings.length === 0, topics.length === tables.length);
      }),
    );
  });
});
