import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileTopicTemplate } from '../../../../src/sinks/kafka/topic-template.ts';

describe('compileTopicTemplate', () => {
  const CASES: readonly [template: string, table: string, topic: string, why: string][] = [
    ['cdc.{table}', 'shop.orders', 'cdc.shop.orders', 'the default'],
    ['{stream}-{database}', 'shop.orders.old', 's1-shop', 'the database stands before the first dot'],
    ['{database}', 'orders', 'orders', 'without a dot the whole name'],
    ['all', 'shop.orders', 'all', 'no placeholder is needed'],
    ['{table}.{table}', 'a', 'a.a', 'a placeholder may come twice'],
    ['cdc.{table}', 'impala::shop.orders', 'cdc.impala__shop.orders', 'Kafka has no colon in a name'],
    ['cdc.{table}', 'größe', 'cdc.gr__e', 'nor a letter beyond ASCII'],
    ['cdc.{table}', '{stream}', 'cdc._stream_', 'a table name is no template'],
  ];
  for (const [template, table, topic, why] of CASES)
    it(`makes ${topic} of ${template} and ${table}: ${why}`, () => {
      assert.equal(compileTopicTemplate({ topic: template }, 's1')(table), topic);
    });

  for (const template of ['{tabel}', 'cdc.{}', 'cdc.{table', '{Table}', '{ table }'])
    it(`refuses the template ${template}`, () => {
      assert.throws(() => compileTopicTemplate({ topic: template }, 's1'), RangeError);
    });

  for (const table of ['', '.', '..', 'x'.repeat(250)])
    it(`refuses a topic named ${JSON.stringify(table.slice(0, 5))} of ${table.length} characters`, () => {
      assert.throws(() => compileTopicTemplate({ topic: '{table}' }, 's1')(table), /table .* makes the topic name/);
    });
});
