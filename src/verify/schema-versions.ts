import type { RecordCells, SchemaRecord, TabletEventRecord } from '../formats/decoder.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { ColumnSchema, TableSchema } from '../kudu/schema.ts';
import { hasSameColumns, takesValues, versionOf, versionOfSchema, type Version, type VersionTimes } from './version.ts';

/** All rows of a tablet were copied again at a cut: what the sink has from before, and the copy has not, is gone. */
export interface Recopied {
  readonly tabletId: string;
  readonly index: number;
  readonly time: HybridTime;
}

/** Operations of a tablet came again, as somebody asked for, up to where this was told. */
export interface Rewound {
  readonly tabletId: string;
  /** Null: rows were copied in their place. */
  readonly fromIndex: number | null;
  readonly index: number;
  readonly time: HybridTime;
}

/** What the records of schema changes say of the tables that are verified, and what else is known of their schemas. */
export class SchemaVersions {
  readonly recopied: Recopied[] = [];
  readonly rewound: Rewound[] = [];
  readonly #tables = new Map<string, TableVersions>();

  constructor(tableIds: Iterable<string>) {
    for (const tableId of tableIds) this.#tables.set(tableId, new TableVersions());
  }

  of(tableId: string): TableVersions | undefined {
    return this.#tables.get(tableId);
  }

  /** Takes a record; of other tables nothing. */
  add(record: SchemaRecord | TabletEventRecord): void {
    const table = this.#tables.get(record.tableId);
    if (!table) return;
    const { tabletId, index, time } = record;
    if (record.kind === 'schema') table.add(record);
    else if (record.event === 'recopied') this.recopied.push({ tabletId, index, time });
    else if (record.event === 'rewound')
      this.rewound.push({ tabletId, fromIndex: record.rewoundFrom ?? null, index, time });
  }

  /** Once all are read: takes what a table is now, in case they do not say it. See {@link TableVersions.complete}. */
  complete(tableId: string, present: PresentSchema): void {
    this.#tables.get(tableId)?.complete(present);
  }
}

/** A table's schema as Kudu has it. */
export interface PresentSchema {
  readonly schemaVersion: number;
  readonly schema: TableSchema;
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
 * Each tablet takes an ALTER at its own moment, and only some of these moments are in the sink. For the others there are
 * bounds: what is announced of the tablet, the names that its records have, and the time. Where they leave more than one
 * version, all of them are answered.
 *
 * The sink may lack versions: a stream can be told to put them elsewhere while it goes on, and a retention or a hand can
 * take records away. A row that has all columns of a version that is known, by name and kind of value, is read as one.
 */
export class TableVersions {
  /** Every name that the table had, in no order. */
  readonly names = new Set<string>();
  /** Rising. */
  readonly versions: Version[] = [];
  readonly #announced = new Map<string, Announcement[]>();
  /** What ALTERs found, by the numbers before theirs. */
  readonly #found = new Map<number, Version>();
  /** By tablet: from an index on its operations have at least a version, as the names in its records have shown. */
  readonly #learned = new Map<string, { readonly index: number; readonly version: number }[]>();
  /** Versions that have all columns of a list of names, and (for whole rows) no others; by these names. */
  readonly #fits = new Map<string, readonly Version[]>();
  readonly #sets = new Map<string, readonly Version[]>();

  add({ tabletId, index, time, version, before, after }: SchemaRecord): void {
    const isAlter = before !== null;
    const times = { version, since: time, alteredAt: isAlter ? time : null };
    if (!this.#note(times)) this.#put(versionOf(times, after.columns));
    this.names.add(after.name);
    if (isAlter) {
      const found = { version: version - 1, since: time, alteredAt: null };
      if (!this.#found.has(found.version)) this.#found.set(found.version, versionOf(found, before.columns));
      this.names.add(before.name);
    }
    const announcement = { index, version, isAlter };
    const announced = this.#announced.get(tabletId);
    if (announced) announced.push(announcement);
    else this.#announced.set(tabletId, [announcement]);
  }

  /**
   * Once all records are added: what they tell in passing, the schemas that ALTERs found, and the one of now. Their own
   * word on a version comes first. The number before an ALTER's may be no version's own, but none lies in between.
   */
  complete({ schemaVersion, schema }: PresentSchema): void {
    const found = [...this.#found.values()].sort((a, b) => a.version - b.version);
    const present = versionOfSchema({ version: schemaVersion, since: null, alteredAt: null }, schema);
    for (const version of [...found, present]) {
      const known = this.versions.findLast((each) => each.version <= version.version);
      if (known?.version !== version.version && !(known && hasSameColumns(known, version))) this.#put(version);
    }
  }

  /** The key columns whose names are these, as some version calls them. */
  keysNamed(names: readonly string[]): readonly ColumnSchema[] | null {
    const found = this.versions.findLast(
      ({ keys }) => keys.length === names.length && keys.every(({ name }) => names.includes(name)),
    );
    return found?.keys ?? null;
  }

  /**
   * The versions under which a record of this row may have been written, rising; none where no version has its columns
   * and such values in them. A whole row may lack columns where it can be of a version that is not known: they were added
   * since. The same list comes back for the same answer.
   */
  candidates(record: {
    readonly tabletId: string;
    /** -1 where it is not known. */
    readonly index: number;
    readonly time: HybridTime;
    readonly cells: RecordCells;
    /** It has all columns of its version. */
    readonly isWhole: boolean;
  }): readonly Version[] {
    const { tabletId, index, time, cells, isWhole } = record;
    const columns = cells.names;
    const { lower, upper } = this.#bounds(tabletId, index);
    const fits = this.#taking(cells, this.#fitsOf(columns, isWhole));
    if (fits.length === 0 && isWhole && this.#lacksOne(lower, upper))
      return this.#taking(cells, this.#fitsOf(columns, false));
    if (fits.length === 0 || this.versions.length === 1) return fits;
    const within = fits.filter(({ version }) => version >= lower && version <= upper);
    if (within.length === 0) return fits;
    // Not of the version below, nor of any before it; of one in between that nobody knows it may be.
    const below = this.versions.findLast(({ version }) => version < within[0]!.version)?.version ?? -1;
    if (below >= lower && index >= 0) this.#learn(tabletId, index, below + 1);
    if (within.length === 1) return this.#sharedSet(within);
    const surely = this.versions.findLast(
      ({ version, since }) => version <= upper && since !== null && since + WINDOW < time,
    );
    const timely = within.filter(
      ({ version, alteredAt }) =>
        (!surely || version >= surely.version) && (alteredAt === null || alteredAt - WINDOW <= time),
    );
    return this.#sharedSet(timely.length > 0 ? timely : within);
  }

  /** The newest version whose key columns a row has, as a list of one: for a row that has no candidates. */
  keyed(cells: RecordCells): readonly Version[] {
    const found = this.versions.findLast(({ keys }) => keys.length > 0 && keys.every(({ name }) => cells.has(name)));
    return found ? this.#sharedSet([found]) : [];
  }

  /** @returns false: it is not known yet */
  #note({ version, since, alteredAt }: VersionTimes): boolean {
    const place = this.versions.findIndex((known) => known.version === version);
    const known = this.versions[place];
    if (!known) return false;
    const times = { since: earlier(known.since, since), alteredAt: earlier(known.alteredAt, alteredAt) };
    this.versions[place] = { ...known, ...times };
    this.#forgetLists();
    return true;
  }

  #put(version: Version): void {
    this.versions.push(version);
    this.versions.sort((a, b) => a.version - b.version);
    this.#forgetLists();
  }

  #forgetLists(): void {
    this.#fits.clear();
    this.#sets.clear();
  }

  #taking(cells: RecordCells, versions: readonly Version[]): readonly Version[] {
    if (versions.every((version) => takesValues(version, cells))) return versions;
    return this.#sharedSet(versions.filter((version) => takesValues(version, cells)));
  }

  /** Whether a version within these bounds is not known. */
  #lacksOne(lower: number, upper: number): boolean {
    const [from, to] = [Math.max(lower, 0), Math.min(upper, this.versions.at(-1)?.version ?? -1)];
    const known = this.versions.filter(({ version }) => version >= from && version <= to);
    return known.length < to - from + 1;
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
    if (at < 0) return { lower, upper };
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

function earlier(a: HybridTime | null, b: HybridTime | null): HybridTime | null {
  if (a === null || b === null) return a ?? b;
  return a < b ? a : b;
}
