import { DataType, type DataTypeName } from '../kudu/schema.ts';
import type { RecordedTable, SchemaRecord, TabletEventRecord, VersionColumn } from './decoder.ts';
import { arrayOf, numberOf, objectOf, scalarOf, textOf } from './json-members.ts';
import { canonicalText } from './json-values.ts';
import { parseRawJson, type RawObject } from './raw-json.ts';

/** Reads what json-schema.ts writes. @throws {SyntaxError} it is no such record */
export function decodeJsonSchema(value: Buffer): SchemaRecord | TabletEventRecord {
  const json = objectOf(parseRawJson(value.toString()));
  const place = {
    tableId: textOf(json.get('table_id')),
    tabletId: textOf(json.get('tablet_id')),
    index: numberOf(json.get('index')),
    time: BigInt(textOf(json.get('hybrid_time'))),
  };
  if (json.has('event')) {
    const rewound = json.get('rewound');
    const from = rewound === undefined ? null : objectOf(rewound).get('from_index');
    const more = from === null || from === undefined ? {} : { rewoundFrom: numberOf(from) };
    return { kind: 'event', ...place, event: textOf(json.get('event')), ...more };
  }
  const before = json.get('before');
  return {
    kind: 'schema',
    ...place,
    version: numberOf(json.get('schema_version')),
    before: before instanceof Map ? tableOf(before as RawObject) : null,
    after: tableOf(objectOf(json.get('after'))),
  };
}

function tableOf(json: RawObject): RecordedTable {
  return {
    name: textOf(json.get('table')),
    columns: arrayOf(json.get('columns')).map((column) => columnOf(objectOf(column))),
  };
}

function columnOf(json: RawObject): VersionColumn {
  const type = DataType[textOf(json.get('type')) as DataTypeName] as DataType | undefined;
  if (type === undefined) throw new SyntaxError('a column has a type that Kudu has not');
  return {
    id: numberOf(json.get('id')),
    name: textOf(json.get('name')),
    type,
    ...(json.has('scale') && json.get('scale') !== 'null' && { scale: numberOf(json.get('scale')) }),
    isKey: json.get('key') === 'true',
    immutable: json.get('immutable') === 'true',
    writeDefault: Buffer.from(canonicalText(type, scalarOf(json.get('default')))),
  };
}
