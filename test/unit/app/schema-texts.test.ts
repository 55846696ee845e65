import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TableSchemas } from '../../../src/api/shapes.ts';
import { schemaTexts } from '../../../src/app/schema-texts.ts';
import { DataType, type ColumnSchema } from '../../../src/kudu/schema.ts';
import { planTopics } from '../../../src/sinks/kafka/topic-plan.ts';
import { parseStreamDefinition } from '../../../src/streams/definition.ts';
import { column } from '../../support/row-bytes.ts';
import { kafkaOf } from '../../support/kafka-of.ts';

const NAMES = { table: 'shop.orders', joinedAs: 'shop.orders' };
const ID = column('id', DataType.INT32, { isKey: true, id: 0 });
const int32Column = (name: string, id: number): ColumnSchema => column(name, DataType.INT32, { id });

function textsOf(format: object, columns: readonly ColumnSchema[]): TableSchemas {
  const sink = { type: 'kafka', topic: 'cdc.{table}' };
  const parsed = parseStreamDefinition({ name: 'orders', tables: ['shop.*'], sink, format });
  assert.ok(parsed.kind === 'ok');
  return schemaTexts(parsed.definition, NAMES, { columns: [ID, ...columns] }, (of, tables) =>
    planTopics({ ...kafkaOf(of), streamName: of.name }, tables),
  );
}

describe('the schemas of a table that are handed out', () => {
  const CLASH = [int32Column('a-b', 1), int32Column('a.b', 2)];

  it('lack a format that the stream is not in, and that has no words for the table', () => {
    const texts = textsOf({ type: 'json' }, CLASH);
    assert.equal(texts.topic, 'cdc.shop.orders');
    assert.deepEqual([texts.avro, texts.protobuf, typeof texts.flink], [undefined, undefined, 'string']);
    const unicode = textsOf({ type: 'avro', names: 'avro_unicode', registry: 'http://r:8081' }, CLASH);
    assert.deepEqual([typeof unicode.avro?.value, unicode.protobuf], ['string', undefined]);
  });

  it('are none, with the reason, where it is the format of the stream', () => {
    const texts = textsOf({ type: 'protobuf', registry: 'http://r:8081' }, CLASH);
    assert.deepEqual(Object.keys(texts).sort(), ['reason', 'table', 'topic']);
    assert.match(texts.reason!, /"a-b" and "a\.b" would both be the field a_b/);
  });

  it('are in every format else, as the options of its own say', () => {
    const columns = [column('at', DataType.UNIXTIME_MICROS, { id: 1 })];
    const texts = textsOf({ type: 'protobuf', registry: 'http://r:8081', time: 'isostring' }, columns);
    assert.match(texts.protobuf!.value, /optional string at = 2;/);
    assert.match(texts.avro!.value, /MicroTimestamp/);
  });
});
