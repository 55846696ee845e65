import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ColumnSchemaPBSchema, SchemaPBSchema } from '../../../src/kudu/proto/common_pb.ts';
import { schemaFromPb, schemaToPb } from '../../../src/kudu/schema-codec.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../../../src/kudu/schema.ts';

const PLAIN: ColumnSchema = {
  name: 'c',
  type: DataType.INT32,
  isKey: false,
  nullable: false,
  readDefault: null,
  writeDefault: null,
  immutable: false,
  autoIncrementing: false,
  comment: '',
  encoding: 0,
  compression: 0,
};

const SCHEMA: TableSchema = {
  columns: [
    { ...PLAIN, id: 0, name: 'k', type: DataType.INT64, isKey: true, encoding: 6, compression: 3 },
    { ...PLAIN, id: 10, name: 'auto', type: DataType.INT64, isKey: true, autoIncrementing: true },
    { ...PLAIN, id: 1, name: 'd', type: DataType.DECIMAL128, precision: 38, scale: 0, nullable: true },
    { ...PLAIN, id: 2, name: 'v', type: DataType.VARCHAR, length: 12, comment: 'twelve characters' },
    { ...PLAIN, id: 3, name: 's', type: DataType.STRING, readDefault: Buffer.from(''), writeDefault: Buffer.from('ü') },
    { ...PLAIN, id: 4, name: 'i', type: DataType.BOOL, immutable: true },
  ],
};

describe('schema codec', () => {
  it('keeps every attribute through the wire, an empty default apart from none', () => {
    const bytes = toBinary(SchemaPBSchema, schemaToPb(SCHEMA, { withIds: true }));
    assert.deepEqual(schemaFromPb(fromBinary(SchemaPBSchema, bytes)), SCHEMA);
  });

  it('leaves ids out for a tablet server, which refuses them', () => {
    const back = schemaFromPb(schemaToPb(SCHEMA, { withIds: false }));
    assert.ok(back.columns.every((column) => !('id' in column)));
  });

  it('refuses a type that it does not know, and names column and type', () => {
    const nested = create(SchemaPBSchema, { columns: [create(ColumnSchemaPBSchema, { name: 'tags', type: 21 })] });
    const overTheWire = fromBinary(SchemaPBSchema, toBinary(SchemaPBSchema, nested));
    assert.throws(() => schemaFromPb(overTheWire), /"tags" has data type 21/);
  });

  it('does not share memory with the message that a default came in', () => {
    const bytes = toBinary(SchemaPBSchema, schemaToPb(SCHEMA, { withIds: true }));
    const schema = schemaFromPb(fromBinary(SchemaPBSchema, bytes));
    bytes.fill(0);
    assert.equal(schema.columns[4]!.writeDefault!.toString(), 'ü');
  });
});
