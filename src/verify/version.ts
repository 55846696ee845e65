import { defaultToJson } from '../formats/json-cells.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { DataType, type ColumnSchema, type DataTypeName, type TableSchema } from '../kudu/schema.ts';
import type { RawObject } from '../formats/raw-json.ts';
import { canonicalText, isOfType } from '../formats/json-values.ts';
import { arrayOf, numberOf, objectOf, scalarOf, textOf } from '../formats/json-members.ts';

/** A column in a version of its table. */
export interface VersionColumn {
  readonly id: number;
  readonly name: string;
  readonly type: DataType;
  readonly isKey: boolean;
  readonly immutable: boolean;
  /** Canonical; what an UPSERT of a new row stores that does not set the column. */
  readonly writeDefault: Buffer;
}

/** A table between two ALTERs. */
export interface Version {
  readonly version: number;
  readonly columns: readonly VersionColumn[];
  readonly byName: ReadonlyMap<string, VersionColumn>;
  /** In the form that the key encoder takes. */
  readonly keys: readonly ColumnSchema[];
  /** It is known to have been in force in some tablet by then, and may have been long before; null where it is not known. */
  readonly since: HybridTime | null;
  /** When an ALTER made it, in some tablet; null where no such moment is known. */
  readonly alteredAt: HybridTime | null;
}

/** What is known of a version beside its columns. */
export type VersionTimes = Pick<Version, 'version' | 'since' | 'alteredAt'>;

/** From a table as the schema topic has it. @throws {SyntaxError} */
export function versionOfJson(times: VersionTimes, table: RawObject): Version {
  return versionOf(
    times,
    arrayOf(table.get('columns')).map((json) => columnOfJson(objectOf(json))),
  );
}

/** From a table as Kudu has it. */
export function versionOfSchema(times: VersionTimes, { columns }: TableSchema): Version {
  return versionOf(
    times,
    columns.map((column): VersionColumn => {
      const { id = -1, name, type, isKey, immutable, writeDefault } = column;
      const raw = writeDefault === null ? 'null' : defaultToJson(column, writeDefault).toString();
      return { id, name, type, isKey, immutable, writeDefault: Buffer.from(canonicalText(type, raw)) };
    }),
  );
}

/** Whether a record means the same under both. */
export function hasSameColumns(a: Version, b: Version): boolean {
  return (
    a.columns.length === b.columns.length &&
    a.columns.every((column, place) => {
      const { id, name, type, isKey, immutable, writeDefault } = b.columns[place]!;
      return (
        column.id === id &&
        column.name === name &&
        column.type === type &&
        column.isKey === isKey &&
        column.immutable === immutable &&
        column.writeDefault.equals(writeDefault)
      );
    })
  );
}

/** Whether each value of a row can be one of its column. A column that the version has not is no matter here. */
export function takesValues({ byName }: Version, image: RawObject): boolean {
  for (const [name, raw] of image) {
    const column = byName.get(name);
    if (column && !(typeof raw === 'string' && isOfType(column.type, raw))) return false;
  }
  return true;
}

function versionOf(times: VersionTimes, columns: readonly VersionColumn[]): Version {
  return {
    ...times,
    columns,
    byName: new Map(columns.map((column) => [column.name, column])),
    keys: columns.filter(({ isKey }) => isKey).map(({ name, type }) => keyColumn(name, type)),
  };
}

function columnOfJson(json: RawObject): VersionColumn {
  const type = DataType[textOf(json.get('type')) as DataTypeName] as DataType | undefined;
  if (type === undefined) throw new SyntaxError('a column has a type that Kudu has not');
  return {
    id: numberOf(json.get('id')),
    name: textOf(json.get('name')),
    type,
    isKey: json.get('key') === 'true',
    immutable: json.get('immutable') === 'true',
    writeDefault: Buffer.from(canonicalText(type, scalarOf(json.get('default')))),
  };
}

/** What the key encoder looks at, and the rest as it may be. */
function keyColumn(name: string, type: DataType): ColumnSchema {
  return {
    name,
    type,
    isKey: true,
    nullable: false,
    readDefault: null,
    writeDefault: null,
    immutable: false,
    autoIncrementing: false,
    comment: '',
    encoding: 0,
    compression: 0,
  };
}
