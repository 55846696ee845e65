import type { ColumnSchema, TableSchema } from '../../kudu/schema.ts';
import { adjustName, adjustNamespace, type NameAdjustment } from './avro-names.ts';
import { refuseLossyKey } from '../lossy-keys.ts';
import { avroType, type AvroType, type TypeOptions } from './avro-types.ts';

export interface AvroSchemaOptions extends TypeOptions {
  readonly names: NameAdjustment;
}

/** The schemas of the records of a table in one version of it: JSON texts, the same for the same input. */
export interface AvroSchemas {
  readonly key: string;
  readonly value: string;
  /** Full names of the two. */
  readonly keyName: string;
  readonly valueName: string;
}

/** What the decoder finds the column by, where a field's name is not the column's. */
export const COLUMN_PROPERTY = 'spoor.column';

/** Debezium's enum; where a consumer leaves it out it is no snapshot. */
const SNAPSHOT = {
  type: 'string',
  'connect.version': 1,
  'connect.parameters': {
    allowed: 'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental',
  },
  'connect.default': 'false',
  'connect.name': 'io.debezium.data.Enum',
};
/**
 * `source`, in the order in which it is written: what Debezium's sources have, then Kudu's own, and at the end what
 * differs from row to row.
 */
const SOURCE_FIELDS = [
  { name: 'version', type: 'string' },
  { name: 'connector', type: 'string' },
  { name: 'name', type: 'string' },
  { name: 'ts_ms', type: 'long' },
  { name: 'snapshot', type: [SNAPSHOT, 'null'], default: 'false' },
  { name: 'db', type: 'string' },
  optional('sequence', 'string'),
  optional('ts_us', 'long'),
  optional('ts_ns', 'long'),
  { name: 'table', type: 'string' },
  { name: 'kudu_table', type: 'string' },
  { name: 'table_id', type: 'string' },
  { name: 'tablet_id', type: 'string' },
  { name: 'term', type: 'long' },
  { name: 'index', type: 'long' },
  { name: 'hybrid_time', type: 'string' },
  { name: 'lsn', type: 'long' },
  optional('row', 'int'),
  optional('kudu_op', 'string'),
];
const SOURCE = record('io.debezium.connector.kudu', 'Source', SOURCE_FIELDS, 1);
const TRANSACTION = record(
  'event',
  'block',
  [
    { name: 'id', type: 'string' },
    { name: 'total_order', type: 'long' },
    { name: 'data_collection_order', type: 'long' },
  ],
  1,
);

/**
 * Debezium's envelope as its Avro converter registers it: `<topic>.Key` and `<topic>.Envelope`, `before` and `after` of one
 * type. Every column but those of the key is optional, without any default of Kudu's: so that versions are compatible
 * both ways, and a delete may have the key alone.
 * @throws {RangeError} two columns would have one name, a column is of a type that has no rule, or two rows would have one key
 */
export function avroSchemas({ columns }: TableSchema, topic: string, options: AvroSchemaOptions): AvroSchemas {
  const namespace = adjustNamespace(topic, options.names);
  const fields = columns.map((column) => columnField(column, options));
  refuseClashes(columns, fields);
  const keyFields = fields.filter((_, place) => columns[place]!.isKey);
  const row = record(namespace, 'Value', fields);
  const envelope = record(
    namespace,
    'Envelope',
    [
      optional('before', row),
      optional('after', 'Value'),
      { name: 'source', type: SOURCE },
      { name: 'op', type: 'string' },
      optional('ts_ms', 'long'),
      optional('ts_us', 'long'),
      optional('ts_ns', 'long'),
      optional('transaction', TRANSACTION),
    ],
    2,
  );
  return {
    key: JSON.stringify(record(namespace, 'Key', keyFields)),
    value: JSON.stringify(envelope),
    keyName: `${namespace}.Key`,
    valueName: `${namespace}.Envelope`,
  };
}

interface Field {
  readonly name: string;
  readonly type: AvroType | readonly AvroType[];
  readonly default?: null | string;
}

function columnField(column: ColumnSchema, options: AvroSchemaOptions): Field {
  refuseLossyKey(column, options);
  const name = adjustName(column.name, options.names);
  const type = avroType(column, options);
  const original = name === column.name ? {} : { [COLUMN_PROPERTY]: column.name };
  return column.isKey ? { name, type, ...original } : { ...optional(name, type), ...original };
}

function optional(name: string, type: AvroType): Field {
  return { name, type: ['null', type], default: null };
}

function record(
  namespace: string,
  name: string,
  fields: readonly Field[],
  version?: number,
): Readonly<Record<string, unknown>> {
  return {
    type: 'record',
    name,
    namespace,
    fields,
    ...(version !== undefined && { 'connect.version': version }),
    'connect.name': `${namespace}.${name}`,
  };
}

function refuseClashes(columns: readonly ColumnSchema[], fields: readonly Field[]): void {
  const byName = new Map<string, string>();
  for (const [place, { name }] of fields.entries()) {
    const column = columns[place]!.name;
    const other = byName.get(name);
    if (other !== undefined)
      throw new RangeError(
        `columns ${JSON.stringify(other)} and ${JSON.stringify(column)} would both be the field ${name}: set names of the format to "avro_unicode"`,
      );
    byName.set(name, column);
  }
}
