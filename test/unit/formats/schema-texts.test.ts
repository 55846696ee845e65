import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConnectSchema } from '../../../src/formats/connect-schema.ts';
import { jsonLayout, type JsonFormatDefinition } from '../../../src/formats/json-definition.ts';
import {
  clickHouseTableText,
  connectKeyText,
  connectValueText,
  flinkTableText,
  jsonSchemaText,
  type SchemaSubject,
} from '../../../src/formats/schema-texts.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column, int32 } from '../../support/row-bytes.ts';

const COLUMNS = [
  column('id', DataType.INT64, { isKey: true }),
  column('o`dd', DataType.STRING, { isKey: true }),
  column('n', DataType.INT8, { writeDefault: int32(7) }),
  column('f', DataType.DOUBLE),
  column('price', DataType.DECIMAL64, { precision: 12, scale: 2 }),
  column('at', DataType.UNIXTIME_MICROS),
  column('day', DataType.DATE),
  column('blob', DataType.BINARY),
];
const subject = (options: Omit<JsonFormatDefinition, 'type'> = {}): SchemaSubject => ({
  table: 'impala::shop.orders',
  schema: { columns: COLUMNS },
  topic: "cdc.o'rders",
  layout: jsonLayout({ type: 'json', ...options }),
});
const typesIn = (text: string): Record<string, string> => {
  const schema = JSON.parse(text) as ConnectSchema;
  const row = schema.fields!.find(({ field }) => field === 'after') ?? schema;
  return Object.fromEntries(
    row.fields!.map(({ field, type, name = '' }) => [field, `${type} ${name.split('.').at(-1)!}`.trim()]),
  );
};

describe('the texts that a consumer needs', () => {
  it("are, for Kafka Connect, the schemas of the format's options, named after the topic", () => {
    const key = JSON.parse(connectKeyText(subject())) as ConnectSchema;
    assert.deepEqual(
      [key.name, key.fields!.map(({ field, optional }) => [field, optional])],
      [
        "cdc.o'rders.Key",
        [
          ['id', false],
          ['o`dd', false],
        ],
      ],
    );
    const rest = { id: 'int64', 'o`dd': 'string', n: 'int8', f: 'double' };
    assert.deepEqual(typesIn(connectValueText(subject())), {
      ...rest,
      price: 'string',
      at: 'int64 MicroTimestamp',
      day: 'int32 Date',
      blob: 'string',
    });
    const block = { ...rest, price: 'bytes Decimal', at: 'int64 MicroTimestamp', day: 'int32 Date', blob: 'bytes' };
    assert.deepEqual(typesIn(connectValueText(subject({ schema: 'block' }))), block);
    const other = subject({ envelope: 'flat', decimals: 'double', time: 'isostring', binary: 'hex' });
    assert.deepEqual(typesIn(connectValueText(other)), {
      ...rest,
      price: 'double',
      at: 'string IsoTimestamp',
      day: 'string IsoDate',
      blob: 'string',
    });
    assert.deepEqual(typesIn(connectValueText(subject({ time: 'connect' }))).at, 'int64 Timestamp');
    assert.ok(!connectValueText(subject()).includes('default'));
  });

  it('are a JSON Schema in which every column but those of the key may be null or missing', () => {
    const schema = JSON.parse(jsonSchemaText(subject())) as {
      $defs: { row: { properties: Record<string, unknown>; required: string[] } };
    };
    const { properties, required } = schema.$defs.row;
    assert.deepEqual(required, ['id', 'o`dd']);
    assert.deepEqual(
      [properties['id'], properties['f'], properties['blob']],
      [
        { type: 'integer' },
        { type: ['number', 'string', 'null'] },
        { type: ['string', 'null'], contentEncoding: 'base64' },
      ],
    );
    const flat = JSON.parse(
      jsonSchemaText(subject({ envelope: 'flat', time: 'isostring', nonFinite: 'null' })),
    ) as typeof schema.$defs.row;
    assert.deepEqual(
      [flat.properties['f'], flat.properties['at'], flat.properties['day']],
      [
        { type: ['number', 'null'] },
        { type: ['string', 'null'], format: 'date-time' },
        { type: ['string', 'null'], format: 'date' },
      ],
    );
  });

  it('are a table for Flink, whose times are numbers unless they are texts', () => {
    assert.equal(
      flinkTableText(subject()),
      [
        'CREATE TABLE `orders` (',
        '  `id` BIGINT NOT NULL,',
        '  `o``dd` STRING NOT NULL,',
        '  `n` TINYINT,',
        '  `f` DOUBLE,',
        '  `price` DECIMAL(12, 2),',
        '  `at` BIGINT,',
        '  `day` INT,',
        '  `blob` BYTES,',
        '  PRIMARY KEY (`id`, `o``dd`) NOT ENFORCED',
        ') WITH (',
        "  'connector' = 'kafka',",
        "  'topic' = 'cdc.o''rders',",
        "  'properties.bootstrap.servers' = '<brokers>',",
        "  'properties.isolation.level' = 'read_committed',",
        "  'scan.startup.mode' = 'earliest-offset',",
        "  'format' = 'debezium-json',",
        "  'debezium-json.schema-include' = 'false'",
        ');',
        '',
      ].join('\n'),
    );
    const iso = flinkTableText(subject({ time: 'isostring', schema: 'block', binary: 'hex' }));
    for (const line of [
      '`at` TIMESTAMP_LTZ(6)',
      '`day` DATE',
      '`price` BYTES',
      '`blob` STRING',
      "'debezium-json.schema-include' = 'true'",
      "'debezium-json.timestamp-format.standard' = 'ISO-8601'",
    ])
      assert.ok(iso.includes(line), line);
    assert.ok(flinkTableText(subject({ envelope: 'flat' })).includes("'connector' = 'upsert-kafka'"));
  });

  it('are a table for ClickHouse that keeps the newest row of each key', () => {
    assert.equal(
      clickHouseTableText(subject()),
      [
        'CREATE TABLE `shop`.`orders` (',
        '  `id` Int64,',
        '  `o``dd` String,',
        '  `n` Nullable(Int8),',
        '  `f` Nullable(Float64),',
        '  `price` Nullable(Decimal(12, 2)),',
        '  `at` Nullable(Int64),',
        '  `day` Nullable(Int32),',
        '  `blob` Nullable(String),',
        '  `_version` UInt64,',
        '  `is_deleted` UInt8',
        ') ENGINE = ReplacingMergeTree(`_version`, `is_deleted`)',
        'ORDER BY (`id`, `o``dd`);',
        '',
      ].join('\n'),
    );
    const iso = clickHouseTableText({ ...subject({ time: 'isostring' }), table: 'orders' });
    for (const part of ['CREATE TABLE `orders` (', "`at` Nullable(DateTime64(6, 'UTC'))", '`day` Nullable(Date32)'])
      assert.ok(iso.includes(part), part);
  });
});
