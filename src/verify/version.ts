import { canonicalDefault } from '../formats/canonical.ts';
import type { RecordCells, VersionColumn } from '../formats/decoder.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { ColumnSchema, TableSchema } from '../kudu/schema.ts';

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

/** From a table as a schema record has it. */
export function versionOf(times: VersionTimes, columns: readonly VersionColumn[]): Version {
  return {
    ...times,
    columns,
    byName: new Map(columns.map((column) => [column.name, column])),
    keys: columns.filter(({ isKey }) => isKey).map(keyColumn),
  };
}

/** From a table as Kudu has it. */
export function versionOfSchema(times: VersionTimes, { columns }: TableSchema): Version {
  return versionOf(
    times,
    columns.map((column): VersionColumn => {
      const { id = -1, name, type, scale, isKey, immutable } = column;
      const ofDecimal = scale === undefined ? {} : { scale };
      return {
        id,
        name,
        type,
        ...ofDecimal,
        isKey,
        immutable,
        writeDefault: canonicalDefault(column, column.writeDefault),
      };
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
export function takesValues({ byName }: Version, cells: RecordCells): boolean {
  for (const name of cells.names) {
    const column = byName.get(name);
    if (column && !cells.fits(name, column.type)) return false;
  }
  return true;
}

/** What the key encoder looks at, and the rest as it may be. */
function keyColumn({ name, type, scale }: VersionColumn): ColumnSchema {
  return {
    name,
    type,
    ...(scale !== undefined && { scale }),
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
