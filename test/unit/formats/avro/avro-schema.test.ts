import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import avsc from 'avsc';
import { adjustName, adjustNamespace } from '../../../../src/formats/avro/avro-names.ts';
import { avroSchemas, type AvroSchemaOptions } from '../../../../src/formats/avro/avro-schema.ts';
import { DataType } from '../../../../src/kudu/schema.ts';
import { EDGE_SCHEMA } from '../../../support/edge-values.ts';
import { column, int32 } from '../../../support/row-bytes.ts';

const OPTIONS: AvroSchemaOptions = { names: 'avro', decimals: 'precise', time: 'adaptive' };
const { key, value } = avroSchemas(EDGE_SCHEMA, 'cdc.shop.orders', OPTIONS);

interface Field {
  readonly name: string;
  readonly type: unknown;
  readonly default?: unknown;
}
interface RecordType {
  readonly name: string;
  readonly namespace: string;
  readonly fields: readonly Field[];
  readonly [name: string]: unknown;
}
const parsed = (text: string): RecordType => JSON.parse(text) as RecordType;
const rowOf = (text: string): RecordType => (parsed(text).fields[0]!.type as [null, RecordType])[1];

describe('an Avro schema', () => {
  it('has the names and versions that readers of Debezium look for', () => {
    const envelope = parsed(value);
    assert.deepEqual(
      [envelope.namespace, envelope.name, envelope['connect.name'], envelope['connect.version']],
      ['cdc.shop.orders', 'Envelope', 'cdc.shop.orders.Envelope', 2],
    );
    assert.deepEqual(
      envelope.fields.map(({ name }) => name),
      ['before', 'after', 'source', 'op', 'ts_ms', 'ts_us', 'ts_ns', 'transaction'],
    );
    const { fields, ...names } = parsed(key);
    assert.deepEqual(names, {
      type: 'record',
      name: 'Key',
      namespace: 'cdc.shop.orders',
      'connect.name': 'cdc.shop.orders.Key',
    });
    assert.deepEqual(fields, [{ name: 'id', type: 'long' }]);
    assert.deepEqual(envelope.fields[1], { name: 'after', type: ['null', 'Value'], default: null });
  });

  it('says of each type what Connect and others know of it', () => {
    const types = Object.fromEntries(rowOf(value).fields.map(({ name, type }) => [name, type]));
    const decimal = (precision: number, scale: number): object => ({
      type: 'bytes',
      scale,
      precision,
      'connect.version': 1,
      'connect.parameters': { scale: String(scale), 'connect.decimal.precision': String(precision) },
      'connect.name': 'org.apache.kafka.connect.data.Decimal',
      logicalType: 'decimal',
    });
    const micros = {
      type: 'long',
      'connect.version': 1,
      'connect.name': 'io.debezium.time.MicroTimestamp',
      logicalType: 'timestamp-micros',
    };
    assert.deepEqual(types, {
      id: 'long',
      i8: ['null', { type: 'int', 'connect.type': 'int8' }],
      i16: ['null', { type: 'int', 'connect.type': 'int16' }],
      i32: ['null', 'int'],
      i64: ['null', 'long'],
      yes: ['null', 'boolean'],
      f32: ['null', 'float'],
      f64: ['null', 'double'],
      text: ['null', 'string'],
      short: ['null', 'string'],
      bytes: ['null', 'bytes'],
      at: ['null', micros],
      day: ['null', { type: 'int', logicalType: 'date' }],
      d32: ['null', decimal(9, 2)],
      d64: ['null', decimal(18, 18)],
      d128: ['null', decimal(38, 0)],
    });
  });

  it('makes every column but the key optional, and never has a default of Kudu', () => {
    const columns = [
      column('id', DataType.INT32, { isKey: true, writeDefault: int32(1) }),
      column('n', DataType.INT32, { writeDefault: int32(77), readDefault: int32(77) }),
    ];
    assert.deepEqual(rowOf(avroSchemas({ columns }, 't', OPTIONS).value).fields, [
      { name: 'id', type: 'int' },
      { name: 'n', type: ['null', 'int'], default: null },
    ]);
  });

  it('is one that another library takes, also where names are odd', () => {
    const columns = ['id', '1st', 'größe', 'a b', '_', ''].map((name, place) =>
      column(name, DataType.INT32, { isKey: place === 0 }),
    );
    for (const names of ['avro', 'avro_unicode'] as const)
      for (const topic of ['t', 'cdc.1a.x-y', '9..z', 'event', 'io.debezium']) {
        const texts = avroSchemas({ columns: names === 'avro' ? columns.slice(0, 4) : columns }, topic, {
          ...OPTIONS,
          names,
        });
        for (const text of [texts.key, texts.value]) avsc.Type.forSchema(JSON.parse(text) as avsc.Schema);
        assert.equal(avsc.Type.forSchema(JSON.parse(texts.value) as avsc.Schema).name, texts.valueName);
      }
  });

  it('adjusts names as Debezium does', () => {
    assert.deepEqual(
      ['plain_1', 'x-y', '1st', 'ö'].map((name) => adjustName(name, 'avro')),
      ['plain_1', 'x_y', '_1st', '_'],
    );
    assert.deepEqual(
      ['plain_1', 'x-y', '1st', '😀'].map((name) => adjustName(name, 'avro_unicode')),
      ['plain_u005f1', 'x_u002dy', '_1st', '_ud83d_ude00'],
    );
    assert.equal(adjustName('x-y', 'none'), 'x-y');
    assert.equal(adjustNamespace('cdc.my-shop.2nd', 'avro'), 'cdc.my_shop._2nd');
  });

  it('says with a field of another name which column it is', () => {
    const columns = [column('x-y', DataType.INT32, { isKey: true })];
    const texts = avroSchemas({ columns }, 't', OPTIONS);
    assert.deepEqual(parsed(texts.key).fields, [{ name: 'x_y', type: 'int', 'spoor.column': 'x-y' }]);
  });
});
