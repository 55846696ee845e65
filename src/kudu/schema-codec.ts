import { create, isFieldSet } from '@bufbuild/protobuf';
import {
  ColumnSchemaPBSchema,
  ColumnTypeAttributesPBSchema,
  SchemaPBSchema,
  type ColumnSchemaPB,
  type SchemaPB,
} from './proto/common_pb.ts';
import { DataType, type ColumnSchema, type TableSchema } from './schema.ts';

const KNOWN_TYPES: ReadonlyMap<number, DataType> = new Map(Object.values(DataType).map((type) => [type, type]));
const FIELD = ColumnSchemaPBSchema.field;

/** A column has a type that this client does not know: of a newer Kudu. */
export class UnknownTypeError extends RangeError {
  override readonly name = 'UnknownTypeError';
}

/**
 * Reads a schema as Kudu sends it or keeps it in its log.
 *
 * @throws {UnknownTypeError} a column has a type that this client does not know: its cells could not be read, and a row
 *   must never come out without them
 */
export function schemaFromPb(pb: SchemaPB): TableSchema {
  return { columns: pb.columns.map(columnFromPb) };
}

/**
 * Writes a schema in Kudu's form.
 *
 * @param options.withIds whether column ids go along. The catalog and the log carry them; a tablet server refuses a
 *   write or a scan whose schema has them (INVALID_SCHEMA).
 */
export function schemaToPb(schema: TableSchema, options: { readonly withIds: boolean }): SchemaPB {
  return create(SchemaPBSchema, { columns: schema.columns.map((column) => columnToPb(column, options)) });
}

/** One column of {@link schemaFromPb}. @throws {UnknownTypeError} */
function columnFromPb(pb: ColumnSchemaPB): ColumnSchema {
  const type = KNOWN_TYPES.get(pb.type);
  if (type === undefined)
    throw new UnknownTypeError(
      `column ${JSON.stringify(pb.name)} has data type ${pb.type}, which this client does not know`,
    );
  const attributes = pb.typeAttributes;
  const decimal = type === DataType.DECIMAL32 || type === DataType.DECIMAL64 || type === DataType.DECIMAL128;
  return {
    ...(isFieldSet(pb, FIELD.id) ? { id: pb.id } : {}),
    name: pb.name,
    type,
    isKey: pb.isKey,
    nullable: pb.isNullable,
    readDefault: isFieldSet(pb, FIELD.readDefaultValue) ? asBuffer(pb.readDefaultValue) : null,
    writeDefault: isFieldSet(pb, FIELD.writeDefaultValue) ? asBuffer(pb.writeDefaultValue) : null,
    ...(decimal ? { precision: attributes?.precision ?? 0, scale: attributes?.scale ?? 0 } : {}),
    ...(type === DataType.VARCHAR ? { length: attributes?.length ?? 0 } : {}),
    immutable: pb.immutable,
    autoIncrementing: pb.isAutoIncrementing,
    comment: pb.comment,
    encoding: pb.encoding,
    compression: pb.compression,
  };
}

/** One column of {@link schemaToPb}. What equals Kudu's default is left out, so that requests stay small. */
export function columnToPb(column: ColumnSchema, options: { readonly withIds: boolean }): ColumnSchemaPB {
  const pb = create(ColumnSchemaPBSchema, { name: column.name, type: column.type });
  if (options.withIds && column.id !== undefined) pb.id = column.id;
  if (column.isKey) pb.isKey = true;
  if (column.nullable) pb.isNullable = true;
  if (column.readDefault !== null) pb.readDefaultValue = column.readDefault;
  if (column.writeDefault !== null) pb.writeDefaultValue = column.writeDefault;
  if (column.encoding !== 0) pb.encoding = column.encoding;
  if (column.compression !== 0) pb.compression = column.compression;
  if (column.precision !== undefined || column.scale !== undefined || column.length !== undefined) {
    pb.typeAttributes = create(ColumnTypeAttributesPBSchema, {
      ...(column.precision === undefined ? {} : { precision: column.precision }),
      ...(column.scale === undefined ? {} : { scale: column.scale }),
      ...(column.length === undefined ? {} : { length: column.length }),
    });
  }
  if (column.comment !== '') pb.comment = column.comment;
  if (column.immutable) pb.immutable = true;
  if (column.autoIncrementing) pb.isAutoIncrementing = true;
  return pb;
}

/** A copy: a default lives as long as its schema, which may be far longer than the message it came in. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}
