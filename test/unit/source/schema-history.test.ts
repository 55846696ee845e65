import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowFormatError } from '../../../src/change/row-layout.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { SchemaHistory } from '../../../src/source/schema-history.ts';
import { schemaBytes } from '../../support/log-entries.ts';
import { column } from '../../support/row-bytes.ts';

const KEY = column('k', DataType.INT64, { isKey: true });
const V0: TableSchema = { columns: [KEY, column('a', DataType.INT32, { nullable: true })] };
const V1: TableSchema = { columns: [KEY, column('b', DataType.INT32, { nullable: true })] };

describe('SchemaHistory', () => {
  it('takes a version only if it rises: a retried ALTER is logged twice, a stale header is older', () => {
    const history = new SchemaHistory({ version: 3, schema: V0 });
    assert.equal(history.advance({ version: 3, schema: V1 }), false);
    assert.equal(history.advance({ version: 2, schema: V1 }), false);
    assert.equal(history.current.schema, V0);
    assert.equal(history.advance({ version: 5, schema: V1 }), true);
    assert.deepEqual(history.current, { version: 5, schema: V1 });
  });

  it('makes one layout for the same request bytes, and a new one under the next schema', () => {
    const history = new SchemaHistory({ version: 0, schema: V0 });
    const request = schemaBytes({ columns: [KEY] });
    const layout = history.layoutOf(request);
    assert.equal(history.layoutOf(Buffer.from(request)), layout);
    history.advance({ version: 1, schema: V1 });
    assert.equal(history.layoutOf(request).tabletSchema, V1);
  });

  it('does not depend on the bytes it was asked with: they are log memory that may be used again', () => {
    const history = new SchemaHistory({ version: 0, schema: V0 });
    const request = schemaBytes({ columns: [KEY] });
    const layout = history.layoutOf(request);
    request.fill(0);
    assert.equal(history.layoutOf(schemaBytes({ columns: [KEY] })), layout);
  });

  it('keeps few layouts, the last used, however many schemas clients send', () => {
    const history = new SchemaHistory({ version: 0, schema: V0 });
    const one = schemaBytes(V0);
    const layout = history.layoutOf(one);
    for (let i = 0; i < 100; i++) {
      history.layoutOf(schemaBytes({ columns: [KEY, { ...V0.columns[1]!, comment: `client ${i}` }] }));
      assert.equal(history.layoutOf(one), layout);
    }
  });

  it('refuses a write that the schema in force cannot have taken', () => {
    const history = new SchemaHistory({ version: 0, schema: V0 });
    assert.throws(() => history.layoutOf(schemaBytes(V1)), RowFormatError);
  });
});
