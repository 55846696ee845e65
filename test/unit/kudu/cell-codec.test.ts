import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeCell, encodeCell, type CellInput } from '../../../src/kudu/cell-codec.ts';
import { KuduError } from '../../../src/kudu/errors.ts';
import type { ColumnSchema } from '../../../src/kudu/schema.ts';
import { EVERY_TYPE } from '../../support/kudu-columns.ts';

type Value = Exclude<CellInput, null>;

const EDGES: Readonly<Record<string, readonly Value[]>> = {
  int8: [-128, 127, 0],
  int16: [-32768, 32767],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [-(2n ** 63n), 2n ** 63n - 1n, 0n],
  bool: [true, false],
  float: [-0, 0, NaN, Infinity, -Infinity, Math.fround(0.1), 2 ** -149, Math.fround(3.4028234663852886e38)],
  double: [-0, NaN, Infinity, -Infinity, 0.1, Number.MIN_VALUE, Number.MAX_VALUE],
  string: ['', 'größe', '𝄞', '\0', 'x'.repeat(70_000)],
  varchar: ['', '𝄞'.repeat(20)],
  binary: [Buffer.alloc(0), Buffer.from([0, 255])],
  time: [-(2n ** 63n), -1n, 2n ** 63n - 1n],
  date: [-719_162, 2_932_896, -1],
  decimal32: ['-9999999.99', '9999999.99', '0.00', '-0.01'],
  decimal64: ['-0.999999999999999999', '0.000000000000000001'],
  decimal128: ['-9999999999999999999999999999.9999999999', '0.0000000001', '18446744073.7095516160'],
};

const MISFITS: Readonly<Record<string, readonly unknown[]>> = {
  int8: [128, -129, 1.5, '1', true],
  int16: [32768],
  int32: [2 ** 31, NaN],
  int64: [2n ** 63n, 2 ** 53, '1'],
  bool: [0, 'true'],
  float: ['1', 1n],
  double: ['1', 1n],
  string: ['\ud800', 5],
  varchar: ['x'.repeat(21), '𝄞'.repeat(21)],
  binary: ['text'],
  time: [2n ** 63n],
  date: [2 ** 31],
  decimal32: ['10000000', '0.001', 1],
  decimal64: ['1'],
  decimal128: ['1e5'],
};

describe('cell codec', () => {
  for (const column of EVERY_TYPE.columns) {
    it(`reads back the edge values of ${column.name}`, () => {
      for (const value of EDGES[column.name]!) assert.deepEqual(decodeCell(column, encodeCell(column, value)), value);
    });

    it(`refuses what is no ${column.name}, without showing it`, () => {
      for (const value of MISFITS[column.name]!)
        assert.throws(
          () => encodeCell(column, value as Value),
          (error) =>
            error instanceof KuduError && error.kind === 'usage' && error.notRun && error.message.includes(column.name),
          String(value),
        );
    });
  }

  it('takes a whole number as bigint or number alike', () => {
    const int64: ColumnSchema = EVERY_TYPE.columns[0]!;
    assert.deepEqual(encodeCell(int64, 5), encodeCell(int64, 5n));
  });

  it('takes the bytes of a string as they are: the server does not check UTF-8', () => {
    const string = EVERY_TYPE.columns.find(({ name }) => name === 'string')!;
    assert.deepEqual(encodeCell(string, Buffer.from([0xff])), Buffer.from([0xff]));
  });
});
