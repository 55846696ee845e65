import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import type { Row, RowInput } from '../../src/kudu/row-operations.ts';
import { DataType, type ColumnSchema } from '../../src/kudu/schema.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import type { RowOperation } from '../../src/kudu/writer.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { startKudu } from '../support/cluster.ts';
import { javaTool } from '../support/java-tools.ts';

/** Needs a real cluster and Java: rows that one client writes, the other reads, and the other way round. */
describe('Kudu client beside the Java client', () => {
  let cluster: KuduCluster;
  let client: KuduClient;
  before(async () => {
    cluster = await startKudu({ tservers: 3 });
    client = await KuduClient.connect({ masters: cluster.masters });
  });
  after(async () => {
    client[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  const java = (tool: Parameters<typeof javaTool>[0], table: string, rest: Record<string, string | number> = {}) =>
    javaTool(tool, { masters: cluster.masters.join(), table, ...rest });

  /** What the Java client reads, in the same words as {@link ours}. */
  async function theirs(table: KuduTable): Promise<string[]> {
    const { columns } = table.description.schema;
    const lines = await java('dump', table.description.name);
    return lines
      .map((line) => {
        const row = parseKeepingBigIntegers(line);
        return columns.map((column) => `${column.name}=${canonical(column, row[column.name])}`).join(' ');
      })
      .sort();
  }

  async function ours(table: KuduTable): Promise<string[]> {
    const { columns } = table.description.schema;
    const rows = await table.scan().toArray();
    return rows.map((row) => columns.map((c) => `${c.name}=${canonical(c, jsonValue(row[c.name]))}`).join(' ')).sort();
  }

  it('reads every type and edge value that Java wrote', async () => {
    await java('create-table', 'java.types', { shape: 'types' });
    await java('write-types', 'java.types');
    const table = await client.openTable({ name: 'java.types' });
    const rows = await theirs(table);
    assert.equal(rows.length > 12, true);
    assert.deepEqual(await ours(table), rows);
  });

  it('reads the defaults of every type as Java set them', async () => {
    const table = await client.openTable({ name: 'java.types' });
    // The row with nothing but its key shows them.
    const shown = (await ours(table)).find((row) => row.includes('decimal_9_2_set=-1.05'));
    assert.match(
      shown!,
      /int64_set=-9223372036854775808 .*double_set=-0 .*varchar_set="中文" binary_set="AP9\/" time_set=-1 date_set=-1/,
    );
  });

  it('writes every type and edge value so that Java reads them', async () => {
    await java('create-table', 'ours.types', { shape: 'types' });
    const table = await client.openTable({ name: 'ours.types' });
    const { columns } = table.description.schema;
    const most = Math.max(...columns.map((column) => edges(column).length));
    const operations: RowOperation[] = [];
    for (let n = 0; n < most; n++)
      operations.push({
        type: 'insert',
        row: rowOf(columns, n, (column) => edges(column)[Math.min(n, edges(column).length - 1)]),
      });
    operations.push({ type: 'insert', row: { id: 1000 } });
    operations.push({ type: 'insert', row: rowOf(columns, 1001, (column) => (column.nullable ? null : undefined)) });
    operations.push({ type: 'upsert', row: rowOf(columns, 1002, (column) => edges(column)[0]) });
    operations.push({ type: 'update', row: rowOf(columns, 1002, (column) => edges(column)[1]) });
    operations.push({ type: 'insert', row: { id: 1003 } }, { type: 'delete', row: { id: 1003 } });
    assert.deepEqual((await table.write(operations)).rowErrors, []);
    const rows = await theirs(table);
    assert.equal(rows.length, most + 3);
    assert.deepEqual(await ours(table), rows);
    // And the values are those that were given, not merely the same mistake on both sides.
    const first = (await table.scan({ predicates: [{ column: 'id', is: '=', value: 0 }] }).toArray())[0]!;
    for (const column of columns.slice(1)) assert.deepEqual(first[column.name], edges(column)[0], column.name);
  });

  it('makes a table that Java reads and writes', async () => {
    const table = await client.createTable({
      name: 'ours.made',
      columns: [
        { name: 'id', type: 'INT32', key: true },
        { name: 'text', type: 'VARCHAR', length: 20, nullable: true },
        { name: 'price', type: 'DECIMAL', precision: 12, scale: 2, default: '-1.50' },
        { name: 'time', type: 'UNIXTIME_MICROS', nullable: true },
      ],
      hash: [{ columns: ['id'], buckets: 3 }],
    });
    await java('write-types', 'ours.made');
    const rows = await theirs(table);
    assert.equal(
      rows.some((row) => row.includes('price=-1.50')),
      true,
    );
    assert.deepEqual(await ours(table), rows);
  });

  it('finds the tablet of a key of any type as Java and the servers do', async () => {
    // A server refuses a row that belongs into another tablet, so one wrong bucket would be an error here.
    await java('create-table', 'ours.keys', { shape: 'keys', buckets: 5 });
    const table = await client.openTable({ name: 'ours.keys' });
    const { columns } = table.description.schema;
    const operations: RowOperation[] = [];
    for (let n = 0; n < 60; n++) {
      const row: Record<string, RowInput[string]> = { value: n };
      for (const column of columns) {
        // An encoded key has at most 16 KiB.
        const values = edges(column).filter((value) => typeof value !== 'string' || value.length < 1000);
        if (column.isKey) row[column.name] = values[n % values.length];
      }
      row['int64'] = BigInt(n) * 7_777_777_777n; // keeps the keys apart
      operations.push({ type: 'insert', row });
    }
    assert.deepEqual((await table.write(operations)).rowErrors, []);
    await client.createTable({
      name: 'ours.hashed',
      columns: columns.filter(({ isKey }) => isKey).map((column) => specOf(column)),
      // Two dimensions, the first over several columns of which the strings are not last; and ranges beside them.
      hash: [
        { columns: ['int8', 'string', 'binary', 'int32'], buckets: 4, seed: 3 },
        { columns: ['date', 'varchar'], buckets: 3 },
      ],
      range: {
        columns: ['int64'],
        partitions: [
          { lower: {}, upper: { int64: 0n } },
          { lower: { int64: 0n }, upper: { int64: 100_000_000_000n } },
          { lower: { int64: 100_000_000_000n }, upper: {} },
        ],
      },
      numReplicas: 1,
    });
    const hashed = await client.openTable({ name: 'ours.hashed' });
    const withoutValue = operations.map(({ row }) => ({ type: 'insert' as const, row: { ...row, value: undefined } }));
    assert.deepEqual((await hashed.write(withoutValue)).rowErrors, []);
    for (const one of [table, hashed]) assert.deepEqual(await ours(one), await theirs(one));
    // An equality on the hashed columns narrows the scan to one bucket, which must be the right one.
    const [some] = await table.scan({ limit: 1 }).toArray();
    const predicates = columns
      .filter(({ isKey }) => isKey)
      .map((c) => ({ column: c.name, is: '=' as const, value: some![c.name]! }));
    assert.deepEqual(await table.scan({ predicates }).toArray(), [some]);
  });

  it('reads what Java leaves behind after thousands of mixed operations', async () => {
    await java('create-table', 'java.mixed', { shape: 'small' });
    await java('write-mixed', 'java.mixed', { ops: 4000, keys: 300, threads: 2, seed: 11 });
    const table = await client.openTable({ name: 'java.mixed' });
    assert.deepEqual(await ours(table), await theirs(table));
  });
});

type Json = string | number | boolean | null;

/** JSON with whole numbers beyond 2^53 as strings; no string of these tests has such digits behind a colon. */
function parseKeepingBigIntegers(line: string): Record<string, Json> {
  return JSON.parse(line.replace(/":(-?\d{16,})(?=[,}])/g, '":"$1"')) as Record<string, Json>;
}

function jsonValue(value: Row[string] | undefined): Json {
  if (value === undefined) throw new Error('a column is missing');
  if (Buffer.isBuffer(value)) return value.toString('base64');
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  return value;
}

/** One word for one value: numbers as JavaScript writes them, -0 apart from 0, strings quoted. */
function canonical(column: ColumnSchema, value: Json | undefined): string {
  if (value === undefined) throw new Error(`column ${column.name} is missing`);
  if (value === null) return 'null';
  if (column.type === DataType.STRING || column.type === DataType.VARCHAR || column.type === DataType.BINARY)
    return JSON.stringify(value);
  return Object.is(value, -0) ? '-0' : String(value);
}

function rowOf(
  columns: readonly ColumnSchema[],
  id: number,
  valueOf: (column: ColumnSchema) => RowInput[string],
): RowInput {
  return Object.fromEntries(columns.map((column, i) => [column.name, i === 0 ? id : valueOf(column)]));
}

/** Edge values of a column's type; the first is not what an untouched cell would show. */
function edges(column: ColumnSchema): readonly Exclude<Row[string], null>[] {
  const digits = 10n ** BigInt(column.precision ?? 0) - 1n;
  switch (column.type) {
    case DataType.BOOL:
      return [true, false];
    case DataType.INT8:
      return [-128, 127, 0, -1];
    case DataType.INT16:
      return [-32768, 32767, 0, -1];
    case DataType.INT32:
      return [-2147483648, 2147483647, 0, -1];
    case DataType.INT64:
    case DataType.UNIXTIME_MICROS:
      return [-(2n ** 63n), 2n ** 63n - 1n, 0n, -1n, 2n ** 53n + 1n];
    case DataType.FLOAT:
      return [-0, 2 ** -149, Math.fround(3.4028234663852886e38), NaN, Infinity, -Infinity, Math.fround(0.1), 0];
    case DataType.DOUBLE:
      return [-0, Number.MIN_VALUE, -Number.MAX_VALUE, NaN, Infinity, -Infinity, 0.1, 1e21, 1e-7, 0];
    case DataType.STRING:
      return ['"quoted" \\ \n', '', '\0\u001f\u007f\u2028\ufeff\uffff', 'éß→中', '𝄞🦌👩‍👩‍👧', 'x'.repeat(60_000)];
    case DataType.VARCHAR:
      return ['𝄞'.repeat(20), '', 'a\0b', '\0'];
    case DataType.BINARY:
      return [Buffer.from([255, 0, 128]), Buffer.alloc(0), Buffer.from([0]), Buffer.from([0, 0, 1])];
    case DataType.DATE:
      return [-719_162, 2_932_896, 0, -1];
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return [-digits, digits, 0n, 1n, -1n].map((unscaled) => unscaledText(unscaled, column.scale ?? 0));
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new Error(`no user makes a column of type ${column.type}`);
  }
}

/** By hand, so that the test does not lean on what it tests. */
function unscaledText(unscaled: bigint, scale: number): string {
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0');
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return unscaled < 0n ? `-${text}` : text;
}

function specOf(column: ColumnSchema) {
  const decimal = column.precision !== undefined;
  const name = Object.entries(DataType).find(([, type]) => type === column.type)![0];
  return {
    name: column.name,
    key: true,
    type: (decimal ? 'DECIMAL' : name) as 'INT32',
    ...(decimal ? { precision: column.precision, scale: column.scale ?? 0 } : {}),
    ...(column.length === undefined ? {} : { length: column.length }),
  };
}
