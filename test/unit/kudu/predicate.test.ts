import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeCell, type CellInput } from '../../../src/kudu/cell-codec.ts';
import { predicateToPb, type Predicate } from '../../../src/kudu/predicate.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { EVERY_TYPE, column } from '../../support/kudu-columns.ts';

type Value = Exclude<CellInput, null>;

/** The predicate as text, bounds in hex. */
function show(predicate: Predicate): string {
  const pb = predicateToPb(EVERY_TYPE, predicate);
  if (pb === 'none') return 'none';
  const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
  switch (pb.predicate.case) {
    case 'range':
      return `[${hex(pb.predicate.value.lower)},${hex(pb.predicate.value.upper)})`;
    case 'equality':
      return `=${hex(pb.predicate.value.value)}`;
    case 'inList':
      return `in ${pb.predicate.value.values.map(hex).join()}`;
    case 'isNull':
    case 'isNotNull':
    case undefined:
      return pb.predicate.case ?? '';
  }
}

/** `> value` must begin exactly where `>= next` does. */
function assertNext(name: string, value: Value, next: Value): void {
  assert.equal(show({ column: name, is: '>', value }), show({ column: name, is: '>=', value: next }));
  assert.equal(show({ column: name, is: '<=', value }), show({ column: name, is: '<', value: next }));
}

describe('predicates', () => {
  it('moves an exclusive lower and an inclusive upper bound by one step of the type', () => {
    assertNext('int8', -1, 0);
    assertNext('int32', 255, 256);
    assertNext('int64', -(2n ** 63n), -(2n ** 63n) + 1n);
    assertNext('time', -1n, 0n);
    assertNext('decimal32', '-0.01', '0.00');
    assertNext('decimal128', '18446744073.7095516159', '18446744073.7095516160');
    assertNext('string', 'a', 'a\0');
    assertNext('binary', Buffer.from([255]), Buffer.from([255, 0]));
    assertNext('bool', false, true);
    assertNext('double', 1, 1 + Number.EPSILON);
    assertNext('double', -0, Number.MIN_VALUE);
    assertNext('double', -Number.MIN_VALUE, -0);
    assertNext('double', Number.MAX_VALUE, Infinity);
    assertNext('float', 1, 1 + 2 ** -23);
  });

  it('lets nothing through above the highest value, and all but NULL up to it', () => {
    for (const [name, highest] of [
      ['int8', 127],
      ['int64', 2n ** 63n - 1n],
      ['bool', true],
      ['double', Infinity],
    ] as const) {
      assert.equal(show({ column: name, is: '>', value: highest }), 'none');
      assert.equal(show({ column: name, is: '<=', value: highest }), 'isNotNull');
    }
  });

  it('sorts a list in the order of the type and takes repetitions out', () => {
    const cell = (value: number): string => encodeCell(column('c', DataType.INT32), value).toString('hex');
    assert.equal(show({ column: 'int32', is: 'in', values: [256, -1, 1, 256] }), `in ${[-1, 1, 256].map(cell).join()}`);
    assert.equal(show({ column: 'string', is: 'in', values: ['b', 'a', 'b'] }), 'in 61,62');
    assert.equal(show({ column: 'int32', is: 'in', values: [] }), 'none');
  });

  it('knows that a column which cannot be NULL never is', () => {
    assert.equal(show({ column: 'int64', is: 'null' }), 'none');
    assert.equal(show({ column: 'int8', is: 'null' }), 'isNull');
    assert.equal(show({ column: 'int8', is: 'not-null' }), 'isNotNull');
  });

  it('refuses a column that is not there, and a value that does not fit', () => {
    assert.throws(() => show({ column: 'nope', is: 'null' }), /no column "nope"/);
    assert.throws(() => show({ column: 'int8', is: '=', value: 128 }), /"int8" takes/);
  });
});
