import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RecordExample } from '../../../src/api/shapes.ts';
import { exampleRecord, type ExampleOptions } from '../../../src/app/example-record.ts';
import { DataType, type ColumnSchema } from '../../../src/kudu/schema.ts';
import { RowBlock } from '../../../src/kudu/row-block.ts';
import { planTopics } from '../../../src/sinks/kafka/topic-plan.ts';
import { parseStreamDefinition } from '../../../src/streams/definition.ts';
import { kafkaOf } from '../../support/kafka-of.ts';
import { column, int32, int64 } from '../../support/row-bytes.ts';

const TABLE = {
  tableId: 'aa',
  name: 'impala::shop.orders',
  tablets: ['1', '2'].map((tabletId) => ({ tabletId, partitionKeyStart: new Uint8Array() })),
};
const COLUMNS = [
  column('id', DataType.INT64, { isKey: true, id: 0 }),
  column('state', DataType.INT32, { id: 1 }),
  column('secret', DataType.INT32, { id: 2 }),
];
const ROWS = [
  [9007199254740993n, 1, 5],
  [2n, 7, 5],
] as const;

/** @param rows of the second tablet: the first has none */
async function example(
  more: object,
  {
    begins = 'copy',
    columns = COLUMNS,
    rows = ROWS,
  }: {
    readonly begins?: 'copy' | 'now';
    readonly columns?: readonly ColumnSchema[];
    readonly rows?: readonly (readonly [bigint, number, number])[];
  } = {},
): Promise<{ readonly scanned: readonly string[]; readonly example: RecordExample }> {
  const scanned: string[] = [];
  const parsed = parseStreamDefinition({
    ...{ name: 'orders', tables: ['impala::shop.*'], start: begins === 'copy' ? 'snapshot' : 'now' },
    sink: { type: 'kafka', topic: 'cdc.{table}' },
    ...more,
  });
  assert.ok(parsed.kind === 'ok', JSON.stringify(parsed));
  const table = {
    description: { schema: { columns } },
    async *scanTablet(tabletId: string) {
      scanned.push(tabletId);
      await Promise.resolve();
      if (tabletId !== '2' || rows.length === 0) return;
      const bytes = rows.flatMap(([id, state, secret]) => [int64(id), int32(state), int32(secret)]);
      yield new RowBlock({ columns }, rows.length, Buffer.concat(bytes), Buffer.alloc(0));
    },
  };
  const options = {
    client: { openTable: () => Promise.resolve(table) } as unknown as ExampleOptions['client'],
    planSink: (of, tables) => planTopics({ ...kafkaOf(of), streamName: of.name }, tables),
  } satisfies ExampleOptions;
  const { signal } = new AbortController();
  return { scanned, example: await exampleRecord(parsed.definition, TABLE, begins, options, signal) };
}

const afterOf = ({ value }: RecordExample): string => /"after":(\{[^}]*\})/.exec(value)![1]!;

describe('what the first record of a table would be', () => {
  it('is a row that it has, as a copy or an insert brings it, with all its digits', async () => {
    const copied = await example({});
    assert.deepEqual(copied.scanned, ['1', '2']);
    assert.deepEqual(
      [copied.example.key, afterOf(copied.example), copied.example.isMadeUp],
      ['{"id":9007199254740993}', '{"id":9007199254740993,"state":1,"secret":5}', false],
    );
    assert.match(copied.example.value, /^\{"op":"r",.*"snapshot":"true","db":"shop","table":"orders"/);
    const { value } = (await example({}, { begins: 'now' })).example;
    assert.match(value, /^\{"op":"c",.*"snapshot":"false"/);
  });
  it('is one that the stream wants, with the columns and in the layout that it wants', async () => {
    const more = { images: 'full', where: { '*': 'state > 5' }, columns: { '*': { exclude: ['secret'] } } };
    assert.equal(afterOf((await example(more)).example), '{"id":2,"state":7}');
    const flat = await example({ format: { type: 'json', envelope: 'flat' } });
    assert.equal(flat.example.value.startsWith('{"id":9007199254740993,'), true, flat.example.value);
  });
  it('is made up where there is none, whatever its columns are', async () => {
    const none = await example({ images: 'full', where: { '*': 'state > 7' } });
    assert.deepEqual([none.example.isMadeUp, afterOf(none.example)], [true, '{"id":1,"state":1,"secret":1}']);
    const types = Object.values(DataType).filter(
      (type) => type !== DataType.IS_DELETED && type !== DataType.INT128 && !isUnsigned(type),
    );
    const columns = types.flatMap((type, i) =>
      [false, true].map((nullable) =>
        column(`c${i}${nullable}`, type, {
          ...{ id: 2 * i + Number(nullable), isKey: i === 0 && !nullable, nullable },
          ...(type === DataType.VARCHAR && { length: 10 }),
          ...(isDecimal(type) && { precision: 9, scale: 2 }),
        }),
      ),
    );
    const { example: made } = await example({}, { rows: [], columns });
    const after = Object.values(JSON.parse(afterOf(made)) as object);
    assert.equal(after.length, columns.length);
    assert.equal(after.includes(null), false);
  });
  it('asks for no right that the stream would not need', async () => {
    assert.deepEqual((await example({ images: 'changed' }, { begins: 'now' })).scanned, []);
  });
});

const isUnsigned = (type: DataType): boolean =>
  type === DataType.UINT8 || type === DataType.UINT16 || type === DataType.UINT32 || type === DataType.UINT64;
const isDecimal = (type: DataType): boolean =>
  type === DataType.DECIMAL32 || type === DataType.DECIMAL64 || type === DataType.DECIMAL128;
