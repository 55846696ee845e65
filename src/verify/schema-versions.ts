import type { HybridTime } from '../kudu/hybrid-time.ts';
import { DataType, type ColumnSchema, type DataTypeName } from '../kudu/schema.ts';
import { decodeRawString, parseRawJson, type RawJson, type RawObject } from '../util/raw-json.ts';
import { canonicalText } from './canonical.ts';

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
  /** The first time at which it is known to have been in force in some tablet. */
  readonly since: HybridTime;
}

/** All rows of a tablet were copied again at a cut: what the sink has from before, and the copy has not, is gone. */
export interface Recopied {
  readonly tabletId: string;
  readonly index: number;
  readonly time: HybridTime;
}

/** What the schema topic says of the tables that are verified. */
export class SchemaVersions {
  readonly recopied: Recopied[] = [];
  readonly #tables = new Map<string, TableVersions>();

  constructor(tableIds: Iterable<string>) {
    for (const tableId of tableIds) this.#tables.set(tableId, new TableVersions());
  }

  of(tableId: string): TableVersions | undefined {
    return this.#tables.get(tableId);
  }

  /** Takes a record of the schema topic; of other tables, or of no form that we know, nothing. @throws {SyntaxError} */
  add(value: Buffer | null): void {
    if (value === null) return;
    const json = objectOf(parseRawJson(value.toString()));
    const table = this.#tables.get(textOf(json.get('table_id')));
    if (!table) return;
    const tabletId = textOf(json.get('tablet_id'));
    const index = numberOf(json.get('index'));
    const time = BigInt(textOf(json.get('hybrid_time')));
    if (!json.has('event')) table.add(json, { tabletId, index, time });
    else if (textOf(json.get('event')) === 'recopied') this.recopied.push({ tabletId, index, time });
  }
}

interface Announcement {
  readonly index: number;
  readonly version: number;
  /** It is the operation that made the version; else the version was in force there. */
  readonly isAlter: boolean;
}

/** How long before and after a version is first seen another tablet may take it. */
const WINDOW: HybridTime = 60_000_000n << 12n;

/**
 * The versions of one table, and which of them an operation was written under.
 *
 * Each tablet takes an ALTER at its own moment, and only some of these moments are in the schema topic. For the others
 * there are bounds: what is announced of the tablet, the names that its records have, and the time. Where they leave more
 * than one version, all of them are answered.
 */
export class TableVersions {
  /** Every name that the table had, in no order. */
  readonly names = new Set<string>();
  /** Rising. */
  readonly versions: Version[] = [];
  readonly #announced = new Map<string, Announcement[]>();
  /** By tablet: from an index on its operations have at least a version, as the names in its records have shown. */
  readonly #learned = new Map<string, { readonly index: number; readonly version: number }[]>();
  /** Versions that have all columns of a list of names, and (for whole rows) no others; by these names. */
  readonly #fits = new Map<string, readonly Version[]>();
  readonly #sets = new Map<string, readonly Version[]>();

  add(json: RawObject, at: { readonly tabletId: string; readonly index: number; readonly time: HybridTime }): void {
    const version = numberOf(json.get('schema_version'));
    const before = json.get('before');
    for (const table of [before, json.get('after')])
      if (table instanceof Map) this.names.add(textOf((table as RawObject).get('table')));
    const announcement = { index: at.index, version, isAlter: before instanceof Map };
    const announced = this.#announced.get(at.tabletId);
    if (announced) announced.push(announcement);
    else this.#announced.set(at.tabletId, [announcement]);
    const place = this.versions.findIndex((known) => known.version === version);
    const known = this.versions[place];
    if (known) {
      if (at.time < known.since) this.versions[place] = { ...known, since: at.time };
    } else {
      this.versions.push(versionOf(version, objectOf(json.get('after')), at.time));
      this.versions.sort((a, b) => a.version - b.version);
    }
    this.#fits.clear();
    this.#sets.clear();
  }

  /** The key columns whose names are these, as some version calls them. */
  keysNamed(names: readonly string[]): readonly ColumnSchema[] | null {
    const found = this.versions.findLast(
      ({ keys }) => keys.length === names.length && keys.every(({ name }) => names.includes(name)),
    );
    return found?.keys ?? null;
  }

  /**
   * The versions under which a record with these columns may have been written, rising; none where no version has them.
   * The same list comes back for the same answer.
   */
  candidates(record: {
    readonly tabletId: string;
    readonly index: number;
    readonly time: HybridTime;
    readonly columns: readonly string[];
    /** It has all columns of its version. */
    readonly isWhole: boolean;
  }): readonly Version[] {
    const { tabletId, index, time } = record;
    const fits = this.#fitsOf(record.columns, record.isWhole);
    if (fits.length === 0 || this.versions.length === 1) return fits;
    const { lower, upper } = this.#bounds(tabletId, index);
    const within = fits.filter(({ version }) => version >= lower && version <= upper);
    if (within.length === 0) return fits;
    if (within[0]!.version > lower) this.#learn(tabletId, index, within[0]!.version);
    if (within.length === 1) return this.#sharedSet(within);
    const surely = this.versions.findLast(({ version, since }) => version <= upper && since + WINDOW < time);
    const timely = within.filter(
      ({ version, since }) => (!surely || version >= surely.version) && since - WINDOW <= time,
    );
    return this.#sharedSet(timely.length > 0 ? timely : within);
  }

  #fitsOf(columns: readonly string[], isWhole: boolean): readonly Version[] {
    const key = `${isWhole}\n${columns.join('\n')}`;
    let fits = this.#fits.get(key);
    if (!fits) {
      fits = this.versions.filter(
        (version) =>
          columns.every((name) => version.byName.has(name)) && (!isWhole || version.columns.length === columns.length),
      );
      this.#fits.set(key, fits);
    }
    return fits;
  }

  #bounds(tabletId: string, at: number): { lower: number; upper: number } {
    let lower = -1;
    let upper = Number.MAX_SAFE_INTEGER;
    for (const { index, version, isAlter } of this.#announced.get(tabletId) ?? []) {
      if (isAlter ? at > index : at >= index) lower = Math.max(lower, version);
      if (at <= index) upper = Math.min(upper, isAlter ? version - 1 : version);
    }
    const learned = this.#learned.get(tabletId)?.findLast(({ index }) => index <= at);
    return { lower: Math.max(lower, learned?.version ?? -1), upper };
  }

  #learn(tabletId: string, index: number, version: number): void {
    const known = this.#learned.get(tabletId) ?? [];
    const place = known.findLastIndex((step) => step.index <= index) + 1;
    const behind = known.slice(place).filter((step) => step.version > version);
    this.#learned.set(tabletId, [...known.slice(0, place), { index, version }, ...behind]);
  }

  #sharedSet(versions: readonly Version[]): readonly Version[] {
    const key = versions.map(({ version }) => version).join();
    const known = this.#sets.get(key);
    if (known) return known;
    this.#sets.set(key, versions);
    return versions;
  }
}

function versionOf(version: number, table: RawObject, since: HybridTime): Version {
  const columns = arrayOf(table.get('columns')).map((json) => columnOf(objectOf(json)));
  return {
    version,
    columns,
    byName: new Map(columns.map((column) => [column.name, column])),
    keys: columns.filter(({ isKey }) => isKey).map(({ name, type }) => keyColumn(name, type)),
    since,
  };
}

function columnOf(json: RawObject): VersionColumn {
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

/*
 * What stands in a record at a place. All throw SyntaxError where something else stands there.
 */

export function objectOf(json: RawJson | undefined): RawObject {
  if (!(json instanceof Map)) throw new SyntaxError('an object is missing');
  return json as RawObject;
}

function arrayOf(json: RawJson | undefined): readonly RawJson[] {
  if (!Array.isArray(json)) throw new SyntaxError('a list is missing');
  return json as readonly RawJson[];
}

export function scalarOf(json: RawJson | undefined): string {
  if (typeof json !== 'string') throw new SyntaxError('a value is missing');
  return json;
}

export function textOf(json: RawJson | undefined): string {
  const raw = scalarOf(json);
  if (!raw.startsWith('"')) throw new SyntaxError('a text is missing');
  return decodeRawString(raw);
}

export function numberOf(json: RawJson | undefined): number {
  const number = Number(scalarOf(json));
  if (!Number.isSafeInteger(number)) throw new SyntaxError('a whole number is missing');
  return number;
}
