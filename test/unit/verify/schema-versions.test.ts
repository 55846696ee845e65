import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RecordCells, SchemaRecord, TabletEventRecord } from '../../../src/formats/decoder.ts';
import { MemberCells } from '../../../src/formats/envelope-row.ts';
import { jsonLayout } from '../../../src/formats/json-definition.ts';
import { jsonDecoder } from '../../../src/formats/json-decode.ts';
import { ValueReader } from '../../../src/formats/json-value-decode.ts';
import { encodeSchemaChange, encodeTabletEvent } from '../../../src/formats/json-schema.ts';
import { DataType, type ColumnSchema } from '../../../src/kudu/schema.ts';
import { SchemaVersions } from '../../../src/verify/schema-versions.ts';
import { column, float64 } from '../../support/row-bytes.ts';

const SECOND = 1_000_000n << 12n;
const KEY = column('k', DataType.INT64, { isKey: true, id: 0 });
const of = (id: number, name: string): ColumnSchema => column(name, DataType.INT32, { id, nullable: true });
/** Of the table's versions 1 to 4: `a` is renamed to `b`, and another `a` comes; then only the default of it changes. */
const VERSIONS = [[of(1, 'a')], [of(1, 'b')], [of(1, 'b'), of(2, 'a')], [of(1, 'b'), of(2, 'a')]].map((columns) => [
  KEY,
  ...columns,
]);

/** ALTERs at index 100, 200 and 300 of tablet `t`, a thousand seconds apart. */
function topic(): SchemaVersions {
  const schemas = new SchemaVersions(['table']);
  for (const [i, columns] of VERSIONS.entries()) schemas.add(change(i + 1, columns));
  return schemas;
}

const cellsOf = (columns: readonly string[], value = '1'): RecordCells =>
  new MemberCells(new Map(columns.map((name) => [name, value])), new ValueReader(jsonLayout({ type: 'json' })));

const decoder = jsonDecoder('s');
function decoded(value: Buffer | null): SchemaRecord | TabletEventRecord {
  return decoder.decodeSchema({ key: null, value, position: null })!;
}

interface ChangeOptions {
  readonly tableId?: string;
  readonly tabletId?: string;
  readonly before?: readonly ColumnSchema[];
  readonly isAlter?: boolean;
}

function change(
  version: number,
  columns: readonly ColumnSchema[],
  options: ChangeOptions = {},
): SchemaRecord | TabletEventRecord {
  const { tableId = 'table', tabletId = 't', before: found = columns, isAlter = version > 1 } = options;
  const tablet = { tableId, tabletId, tableName: `name${version}` };
  const opId = { term: 1n, index: BigInt((version - 1) * 100) };
  const after = { tableName: tablet.tableName, schema: { columns } };
  const before = isAlter ? { tableName: `name${version - 1}`, schema: { columns: found } } : null;
  const hybridTime = BigInt(version * 1000) * SECOND;
  return decoded(encodeSchemaChange({ kind: 'schema', tablet, opId, hybridTime, version, before, after }).value);
}

describe('TableVersions', () => {
  const CASES: {
    why: string;
    tabletId?: string;
    index: number;
    at: number;
    columns: string[];
    isWhole?: boolean;
    is: number[];
  }[] = [
    {
      why: 'the tablet that was announced is exact before an ALTER',
      index: 99,
      at: 3999,
      columns: ['k', 'a'],
      is: [1],
    },
    { why: 'and behind it', index: 301, at: 4001, columns: ['k', 'a'], is: [4] },
    { why: 'and between two', index: 250, at: 3500, columns: ['k'], is: [3] },
    { why: 'another one goes by the names', tabletId: 'u', index: 5, at: 3010, columns: ['k', 'b', 'a'], is: [3] },
    {
      why: 'by all of them where the row is whole',
      tabletId: 'u',
      index: 5,
      at: 2010,
      columns: ['k', 'b'],
      isWhole: true,
      is: [2],
    },
    { why: 'by the time, long after', tabletId: 'u', index: 5, at: 3500, columns: ['k', 'a'], is: [3] },
    { why: 'by the time, long before', tabletId: 'u', index: 5, at: 1500, columns: ['k', 'a'], is: [1] },
    { why: 'near an ALTER it may be either', tabletId: 'u', index: 5, at: 3990, columns: ['k', 'a'], is: [3, 4] },
    { why: 'also just behind it', tabletId: 'u', index: 5, at: 4010, columns: ['k', 'a'], is: [3, 4] },
    { why: 'none has such a column', index: 5, at: 1000, columns: ['k', 'c'], is: [] },
    { why: 'none is whole with these', index: 5, at: 1000, columns: ['k'], isWhole: true, is: [] },
    {
      why: 'a record that cannot be where it says is of any that fits',
      index: 250,
      at: 3000,
      columns: ['k', 'a'],
      isWhole: true,
      is: [1],
    },
  ];
  for (const { why, tabletId = 't', index, at, columns, isWhole = false, is } of CASES)
    it(why, () => {
      const time = BigInt(at) * SECOND;
      const cells = cellsOf(columns);
      const found = topic().of('table')!.candidates({ tabletId, index, time, cells, isWhole });
      assert.deepEqual(
        found.map(({ version }) => version),
        is,
      );
    });

  it('learns from the names of a tablet what its later records are under', () => {
    const versions = topic().of('table')!;
    const ask = (index: number, columns: string[]): number[] =>
      versions
        .candidates({ tabletId: 'u', index, time: 2020n * SECOND, cells: cellsOf(columns), isWhole: false })
        .map(({ version }) => version);
    assert.deepEqual(ask(10, ['k']), [1, 2], 'either');
    assert.deepEqual(ask(20, ['k', 'b']), [2]);
    assert.deepEqual(ask(10, ['k']), [1, 2], 'still');
    assert.deepEqual(ask(21, ['k']), [2]);
  });

  it('answers the same list for the same answer', () => {
    const versions = topic().of('table')!;
    const ask = (): unknown =>
      versions.candidates({
        tabletId: 'u',
        index: 1,
        time: 3990n * SECOND,
        cells: cellsOf(['k', 'a']),
        isWhole: false,
      });
    assert.equal(ask(), ask());
  });

  it('knows every name of the table, and its keys by their names', () => {
    const versions = topic().of('table')!;
    assert.deepEqual([...versions.names].sort(), ['name1', 'name2', 'name3', 'name4']);
    assert.deepEqual(
      versions.keysNamed(['k'])?.map(({ name }) => name),
      ['k'],
    );
    assert.equal(versions.keysNamed(['a']), null);
  });

  it('takes what is of its tables, events too, and nothing else', () => {
    const schemas = topic();
    const tablet = { tableId: 'table', tabletId: 't', tableName: 'x' };
    const opId = { term: 1n, index: 7n };
    for (const event of ['recopied', 'range-dropped'] as const)
      schemas.add(
        decoded(
          encodeTabletEvent({ kind: 'event', event, tablet, opId, hybridTime: 5n, partition: null, missing: null })
            .value,
        ),
      );
    schemas.add(change(9, [KEY], { tableId: 'other' }));
    assert.deepEqual(schemas.recopied, [{ tabletId: 't', index: 7, time: 5n }]);
    assert.equal(schemas.of('other'), undefined);
    assert.equal(schemas.of('table')!.versions.length, 4);
  });

  it('takes the time of an ALTER for its begin, and that of any other record only for proof that it was there', () => {
    // A compacted topic has one record of a version: here that of a tablet which was born long after the ALTER.
    const schemas = new SchemaVersions(['table']);
    schemas.add(change(1, VERSIONS[2]!));
    schemas.add(change(2, VERSIONS[3]!, { isAlter: false }));
    const ask = (at: number): number[] =>
      schemas
        .of('table')!
        .candidates({ tabletId: 'u', index: 5, time: BigInt(at) * SECOND, cells: cellsOf(['k', 'a']), isWhole: false })
        .map(({ version }) => version);
    assert.deepEqual(ask(1500), [1, 2]);
    assert.deepEqual(ask(2100), [2]);
  });

  describe('of which the topic lacks some', () => {
    const present = { schemaVersion: 4, schema: { columns: VERSIONS[3]! } };
    const numbersOf = (schemas: SchemaVersions): number[] =>
      schemas.of('table')!.versions.map(({ version }) => version);
    const ask = (schemas: SchemaVersions, columns: string[], isWhole: boolean, value = '1'): number[] =>
      schemas
        .of('table')!
        .candidates({
          tabletId: 'u',
          index: 5,
          time: 10n * SECOND,
          cells: cellsOf(columns, value),
          isWhole,
        })
        .map(({ version }) => version);

    it('knows that of now', () => {
      const schemas = new SchemaVersions(['table']);
      schemas.complete('table', present);
      schemas.complete('another', present);
      assert.deepEqual(numbersOf(schemas), [4]);
      assert.deepEqual(ask(schemas, ['k', 'a'], false), [4]);
      assert.deepEqual(ask(schemas, ['k', 'c'], false), []);
    });

    it('knows what an ALTER found, where nothing else tells', () => {
      const schemas = new SchemaVersions(['table']);
      schemas.add(change(3, VERSIONS[2]!, { before: VERSIONS[1]! }));
      schemas.complete('table', present);
      assert.deepEqual(numbersOf(schemas), [2, 3], 'the last has the columns of the third');
      assert.deepEqual(ask(schemas, ['k', 'b'], true), [2]);
      const known = topic();
      known.complete('table', present);
      assert.deepEqual(numbersOf(known), [1, 2, 3, 4]);
    });

    it('reads a whole row without columns that were added since, but where its version is known', () => {
      const schemas = new SchemaVersions(['table']);
      schemas.complete('table', present);
      assert.deepEqual(ask(schemas, ['k', 'a'], true), [4]);
      schemas.add(change(1, VERSIONS[3]!, { tabletId: 'u' }));
      schemas.add(change(2, VERSIONS[3]!, { tabletId: 'u' }));
      assert.deepEqual(ask(schemas, ['k', 'a'], true), [], 'operation 5 of this tablet is of version 1');
    });

    it('reads no value of another kind', () => {
      const schemas = new SchemaVersions(['table']);
      schemas.complete('table', present);
      assert.deepEqual(ask(schemas, ['k', 'a'], true, '"1"'), []);
    });

    it('does not learn more from names than that the version below is passed', () => {
      const schemas = new SchemaVersions(['table']);
      schemas.add(change(1, VERSIONS[0]!));
      schemas.complete('table', { schemaVersion: 4, schema: { columns: [...VERSIONS[3]!, of(3, 'c')] } });
      assert.deepEqual(ask(schemas, ['k', 'b'], false), [4], 'or a version in between');
      assert.deepEqual(ask(schemas, ['k', 'b', 'a'], true), [4], 'which this row is of, without c');
    });

    it('has the keys of a row that no version has all columns of', () => {
      const schemas = new SchemaVersions(['table']);
      assert.deepEqual(schemas.of('table')!.keyed(cellsOf(['k'])), []);
      schemas.complete('table', present);
      assert.equal(schemas.of('table')!.keyed(cellsOf(['k', 'c'])).length, 1);
      assert.deepEqual(schemas.of('table')!.keyed(cellsOf(['c'])), []);
    });
  });

  it('has defaults in their one form', () => {
    const schemas = new SchemaVersions(['table']);
    schemas.add(change(1, [KEY, column('d', DataType.DOUBLE, { id: 1, writeDefault: float64(-0) })]));
    const texts = schemas.of('table')!.versions[0]!.columns.map(({ writeDefault }) => writeDefault.toString());
    assert.deepEqual(texts, ['null', '-0']);
  });
});
