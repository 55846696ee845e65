import assert from 'node:assert/strict';
import { it } from 'node:test';
import { toBinary } from '@bufbuild/protobuf';
import { minimalSchema } from '../../../src/kudu/extension-writer.ts';
import { SchemaPBSchema } from '../../../src/kudu/proto/common_pb.ts';
import { schemaToPb } from '../../../src/kudu/schema-codec.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column } from '../../support/kudu-columns.ts';

it('sends the key and the columns that must be set, with what decides their type, and nothing else', () => {
  const bytes = Buffer.from('abcd');
  const noise = { comment: 'why', encoding: 2, compression: 3 };
  const schema = {
    columns: [
      column('k1', DataType.DECIMAL64, { ...noise, id: 1, isKey: true, precision: 12, scale: 2 }),
      column('k2', DataType.VARCHAR, { ...noise, id: 2, isKey: true, length: 9 }),
      column('auto', DataType.INT64, { id: 3, isKey: true, autoIncrementing: true }),
      column('required', DataType.VARCHAR, { ...noise, id: 4, length: 7, readDefault: bytes, immutable: true }),
      column('defaulted', DataType.INT32, { id: 5, writeDefault: bytes, readDefault: bytes }),
      column('nullable', DataType.INT32, { id: 6, nullable: true }),
      column('nullableDefaulted', DataType.INT32, { id: 7, nullable: true, writeDefault: bytes }),
    ],
  };
  const sent = schemaToPb(minimalSchema(schema), { withIds: false });
  const expected = schemaToPb(
    {
      columns: [
        column('k1', DataType.DECIMAL64, { isKey: true, precision: 12, scale: 2 }),
        column('k2', DataType.VARCHAR, { isKey: true, length: 9 }),
        column('auto', DataType.INT64, { isKey: true, autoIncrementing: true }),
        column('required', DataType.VARCHAR, { length: 7, immutable: true }),
      ],
    },
    { withIds: false },
  );
  assert.deepEqual(Buffer.from(toBinary(SchemaPBSchema, sent)), Buffer.from(toBinary(SchemaPBSchema, expected)));
});
