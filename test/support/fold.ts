import { parseLossless, type LosslessJson } from './lossless-json.ts';

/** What a consumer is given: a Kafka record's key, value and `spoor.pos` header, or a SinkRecord as it is. */
export interface FoldRecord {
  readonly key: Buffer;
  readonly value: Buffer | null;
  readonly position: string;
}

type Json = Map<string, LosslessJson>;

interface Column {
  readonly id: bigint;
  readonly name: string;
  readonly type: string;
  readonly isKey: boolean;
  readonly immutable: boolean;
  /** Canonical; what an INSERT or UPSERT of a new row stores, and what rows from before the column show. */
  readonly writeDefault: string;
  readonly readDefault: string;
}

interface Version {
  readonly version: bigint;
  readonly table: string;
  readonly columns: readonly Column[];
}

/** Canonical values by column id; a column that was added later is not in it until it is set. */
type Row = Map<bigint, string>;

interface Lane {
  term: bigint;
  index: bigint;
  row: bigint;
  /** Key of the last record where that was a delete: a tombstone may follow. */
  deleted: string | null;
}

export interface FoldEvent {
  readonly event: string;
  readonly tablet: string;
  readonly index: bigint;
  readonly partition: LosslessJson;
}

export interface Comparison {
  /** Rows that were compared. */
  readonly rows: number;
  /** One line for each row that is missing, left over or different; empty when fold and table are the same. */
  readonly differences: readonly string[];
}

/**
 * The image of one table, made from Spoor's records by the documented rules, row by row and without keeping records:
 *
 * - `c` sets all columns; `u` that has them all is the row as it is then; another `u` sets what it names, and a row that an UPSERT makes takes the defaults of the schema in
 *   force for the others; an UPSERT_IGNORE of a row that is there leaves its immutable columns alone; `d` removes.
 * - `r`, a row of a copy, is the whole row.
 * - A row that was there before a column shows the column's read default; columns are told apart by id, so a rename
 *   moves nothing and a column dropped and added again is another one.
 *
 * Throws at the first record that breaks a promise: a position twice or out of order, a key that changes its partition,
 * an insert of a row that is there, an update or delete of one that is not, a key or source that contradicts the rest.
 *
 * Schema records: those that come in a tablet's own order (`push` of a tablet's own stream) take force there. Where
 * they are on a topic of their own, give them to `addSchema` first: a tablet then moves to a later version when a
 * record names columns that its own does not have, so default changes and swapped names are not followed exactly.
 */
export class TableFold {
  /** Row records by `kudu_op`, tombstones not counted. */
  readonly counts = new Map<string, number>();
  tombstones = 0;
  /** Rows of copies: those that are there, and those that a repair found deleted. */
  baseRows = 0;
  baseDeletes = 0;
  /** `<tablet> <time>` of each copy that rows came of. */
  readonly copies = new Set<string>();
  /** What befell tablets as a whole. */
  readonly events: FoldEvent[] = [];
  #records = 0;
  readonly #versions: Version[] = [];
  /** By partition and tablet (a consumer reads the partitions at its own pace): the place in #versions of the schema in force. */
  readonly #inForce = new Map<string, number>();
  readonly #rows = new Map<string, Row>();
  readonly #lanes = new Map<string, Lane>();
  /** Keys that were deleted keep their partition. */
  readonly #laneOfKey = new Map<string, number>();
  /** What the last record of each key was of. */
  readonly #lastOfKey = new Map<string, { readonly tablet: string; readonly index: bigint }>();
  /** Keys of copies: a row comes once in each. */
  readonly #copied = new Set<string>();

  readonly #lenient: boolean;
  readonly #hasWholeImages: boolean;
  readonly #hasOld: boolean;

  /**
   * @param options.lenient records may come again, and may speak of rows that are copied later: the last word of each
   *   key counts, as in a consumer's own table
   * @param options.hasWholeImages an `after` that is not marked as partial is the whole row
   * @param options.hasOld some are of version 0.1, which has less of a `source`
   */
  constructor(
    options: { readonly lenient?: boolean; readonly hasWholeImages?: boolean; readonly hasOld?: boolean } = {},
  ) {
    this.#lenient = options.lenient ?? false;
    this.#hasWholeImages = options.hasWholeImages ?? false;
    this.#hasOld = options.hasOld ?? false;
  }

  /** Row records so far: one for each applied row operation. */
  get records(): number {
    return this.#records;
  }

  get rowCount(): number {
    return this.#rows.size;
  }

  /** Takes the next record of a partition (`lane`), in its order; a value with `op` is a row's, another a schema's. */
  push(record: FoldRecord, lane = 0): void {
    try {
      this.#push(record, lane);
    } catch (error) {
      const value = record.value?.toString() ?? 'null';
      throw new Error(`record ${record.position} ${record.key.toString()} ${value}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** Takes a schema record from a topic of its own. */
  addSchema(value: Buffer): void {
    const json = asObject(parseLossless(value.toString()));
    if (json.has('event'))
      this.events.push({
        event: json.get('event') as string,
        tablet: json.get('tablet_id') as string,
        index: json.get('index') as bigint,
        partition: json.get('partition') ?? null,
      });
    else this.#addVersion(json);
  }

  /**
   * Takes away what events say is gone: all rows of tablets that were dropped; of a tablet that was copied again those
   * that no record tells of since the cut of that copy. Events come on a topic of their own, so when all is folded.
   */
  sweep(): void {
    for (const { event, tablet, index } of this.events) {
      if (event === 'rewound' || event === 'skipped') continue; // nothing is gone
      for (const [key, last] of this.#lastOfKey)
        if (last.tablet === tablet && (event !== 'recopied' || last.index < index)) this.#rows.delete(key);
    }
  }

  /** Holds the image against a dump: a JSON object a row, values as in Spoor's records. Stops at `maxDifferences`. */
  compare(dump: Iterable<string>, maxDifferences = 20): Comparison {
    const last = this.#versions.at(-1);
    if (!last) throw new Error('no schema record came');
    const differences: string[] = [];
    const seen = new Set<string>();
    for (const line of dump) {
      const expected = asObject(parseLossless(line));
      const key = keyOf(last, expected);
      seen.add(key);
      const row = this.#rows.get(key);
      if (!row) differences.push(`missing: ${line}`);
      else {
        for (const column of last.columns) {
          const want = canonical(column.type, expected.get(column.name));
          const have = row.get(column.id) ?? column.readDefault;
          if (want !== have) differences.push(`different: ${key} ${column.name} is ${have}, the table has ${want}`);
        }
      }
      if (differences.length >= maxDifferences) return { rows: seen.size, differences };
    }
    for (const key of this.#rows.keys()) {
      if (differences.length >= maxDifferences) break;
      if (!seen.has(key)) differences.push(`left over: ${key}`);
    }
    return { rows: seen.size, differences };
  }

  #push(record: FoldRecord, lane: number): void {
    const ofCopy = /^([^/]+)\/base\.(\d+)$/.exec(record.position);
    if (ofCopy) {
      this.#pushCopied(record, ofCopy[1]!, BigInt(ofCopy[2]!), lane);
      return;
    }
    const position = /^([^/]+)\/(\d+)\.(\d+)\.(\d+)$/.exec(record.position);
    if (!position) throw new Error('the position is not <tablet_id>/<term>.<index>.<row>');
    const tablet = position[1]!;
    const [term, index, row] = position.slice(2).map(BigInt) as [bigint, bigint, bigint];
    const at = this.#lanes.get(`${lane} ${tablet}`) ?? { term: 0n, index: -1n, row: 0n, deleted: null };
    const key = record.key.toString();
    if (record.value === null) {
      const follows = at.deleted === key && at.term === term && at.index === index && at.row === row;
      if (!follows && !this.#lenient) throw new Error('a tombstone that does not follow its delete');
      at.deleted = null;
      this.tombstones++;
      return;
    }
    if (!this.#lenient && (index < at.index || (index === at.index && row <= at.row) || term < at.term))
      throw new Error(`comes after ${at.term}.${at.index}.${at.row}`);
    const value = asObject(parseLossless(record.value.toString()));
    const isDelete = value.get('op') === 'd';
    this.#lanes.set(`${lane} ${tablet}`, { term, index, row, deleted: isDelete ? key : null });
    if (!value.has('op')) {
      this.#addVersion(value);
      this.#inForce.set(`${lane} ${tablet}`, this.#placeOf(value.get('schema_version') as bigint));
      return;
    }
    checkPosition(value, { tablet, term, index, row });
    if (!this.#isOld(value)) checkTimes(value, { term, index, row });
    this.#apply(asObject(parseLossless(key)), value, tablet, lane);
    this.#records++;
  }

  /** A row of a copy: behind all operations up to its cut, and before all others. */
  #pushCopied({ value }: FoldRecord, tablet: string, time: bigint, lane: number): void {
    const flow = `${lane} ${tablet}`;
    if (value === null) {
      this.tombstones++;
      return;
    }
    const json = asObject(parseLossless(value.toString()));
    const source = asObject(json.get('source'));
    const isDelete = json.get('op') === 'd';
    const [term, index] = [source.get('term') as bigint, source.get('index') as bigint];
    const at = this.#lanes.get(flow) ?? { term: 0n, index: -1n, row: 0n, deleted: null };
    if (!this.#lenient && (index < at.index || term < at.term))
      throw new Error(`comes after ${at.term}.${at.index}.${at.row}`);
    this.#lanes.set(flow, { term, index, row: LAST_ROW, deleted: null });
    if (
      source.get('row') !== null ||
      source.get('kudu_op') !== null ||
      !['true', 'incremental'].includes(source.get('snapshot') as string)
    )
      throw new Error('the source of a copied row has a row number or an operation, or is no snapshot');
    if (source.get('hybrid_time') !== time.toString()) throw new Error('position and source differ');
    const image = asObject(json.get(isDelete ? 'before' : 'after'));
    const version = this.#versionFor(flow, [...image.keys()], false);
    const keyText = keyOf(version, image);
    const known = this.#laneOfKey.get(keyText);
    if (known !== undefined && known !== lane) throw new Error(`the key was in partition ${known} before`);
    this.#laneOfKey.set(keyText, lane);
    this.#lastOfKey.set(keyText, { tablet, index });
    this.copies.add(`${tablet} ${time}`);
    const once = `${time} ${keyText}`;
    if (this.#copied.has(once) && !this.#lenient) throw new Error('a row twice in one copy');
    this.#copied.add(once);
    if (isDelete) {
      this.baseDeletes++;
      this.#rows.delete(keyText);
      return;
    }
    expect(json, 'r');
    this.baseRows++;
    this.#rows.set(keyText, valuesOf(version, image));
  }

  /** Whether a record is of version 0.1, where such may come. */
  #isOld(value: Json): boolean {
    return this.#hasOld && !asObject(value.get('source')).has('kudu_table');
  }

  #apply(key: Json, value: Json, tablet: string, lane: number): void {
    const source = asObject(value.get('source'));
    const kuduOp = source.get('kudu_op') as string;
    const image = asObject(value.get(value.get('op') === 'd' ? 'before' : 'after'));
    const op = value.get('op');
    const isOld = this.#isOld(value);
    const isWhole = op === 'c' || (op === 'u' && this.#hasWholeImages && source.get('image') !== 'partial');
    const version = this.#versionFor(`${lane} ${tablet}`, [...image.keys()], isWhole);
    const name = source.get(isOld ? 'table' : 'kudu_table') as string;
    if (name !== version.table && this.#versions.every(({ table }) => table !== name))
      throw new Error(`the table was never called that: ${name}`);
    if (!isOld) checkName(source, name);
    const keyText = keyOf(version, image);
    if (keyOf(version, key) !== keyText || key.size !== version.columns.filter(({ isKey }) => isKey).length)
      throw new Error('the key is not that of the value');
    const known = this.#laneOfKey.get(keyText);
    if (known !== undefined && known !== lane) throw new Error(`the key was in partition ${known} before`);
    this.#laneOfKey.set(keyText, lane);
    this.#lastOfKey.set(keyText, { tablet, index: source.get('index') as bigint });
    this.#count(kuduOp);

    const row = this.#rows.get(keyText);
    if (!this.#lenient) checkBefore(value, version, row);
    switch (kuduOp) {
      case 'INSERT':
      case 'INSERT_IGNORE':
        expect(value, 'c');
        if (row && !this.#lenient) throw new Error('an insert of a row that is there');
        if (image.size !== version.columns.length) throw new Error('an insert without all columns');
        this.#rows.set(keyText, valuesOf(version, image));
        return;
      case 'UPDATE':
      case 'UPDATE_IGNORE':
        expect(value, 'u');
        if (!row && !this.#lenient) throw new Error('an update of a row that is not there');
        if (isWhole && (row || this.#lenient)) this.#rows.set(keyText, valuesOf(version, image));
        else if (row) setAll(row, version, image, kuduOp === 'UPDATE_IGNORE' ? 'refuse' : 'keep');
        return;
      case 'UPSERT':
      case 'UPSERT_IGNORE':
        if (value.get('op') === 'c') {
          if (row && !this.#lenient) throw new Error('an UPSERT that made a row which is there');
          if (image.size !== version.columns.length) throw new Error('a new row without all columns');
        } else expect(value, 'u');
        if (isWhole) this.#rows.set(keyText, valuesOf(version, image));
        else if (row)
          setAll(row, version, image, kuduOp === 'UPSERT_IGNORE' ? 'skip' : this.#lenient ? 'keep' : 'refuse');
        else {
          const defaults = version.columns.map(({ id, writeDefault }): [bigint, string] => [id, writeDefault]);
          this.#rows.set(keyText, new Map([...defaults, ...valuesOf(version, image)]));
        }
        return;
      case 'DELETE':
      case 'DELETE_IGNORE':
        expect(value, 'd');
        if (!row && !this.#lenient) throw new Error('a delete of a row that is not there');
        if (value.get('after') !== null) throw new Error('a delete with `after`');
        this.#rows.delete(keyText);
        return;
      default:
        throw new Error(`kudu_op ${kuduOp}`);
    }
  }

  /** The tablet's schema in force, or the next that has all these columns (and, for a whole row, no other). */
  #versionFor(flow: string, names: readonly string[], isWhole: boolean): Version {
    for (let place = this.#inForce.get(flow) ?? 0; place < this.#versions.length; place++) {
      const version = this.#versions[place]!;
      const known = new Set(version.columns.map(({ name }) => name));
      if (names.every((name) => known.has(name)) && (!isWhole || known.size === names.length)) {
        this.#inForce.set(flow, place);
        return version;
      }
    }
    throw new Error(`no schema version from there on has the columns ${names.join()}`);
  }

  #addVersion(value: Json): void {
    const after = asObject(value.get('after'));
    const version = value.get('schema_version') as bigint;
    const columns = (after.get('columns') as LosslessJson[]).map((column) => columnOf(asObject(column)));
    const known = this.#versions.find((other) => other.version === version);
    const added = { version, table: after.get('table') as string, columns };
    if (known) {
      if (canonicalVersion(known) !== canonicalVersion(added))
        throw new Error(`schema version ${version} comes in two forms`);
      return;
    }
    this.#versions.push(added);
    this.#versions.sort((a, b) => Number(a.version - b.version));
    // Places moved: only a version that comes first ever does that before rows come.
    if (this.#versions.at(-1) !== added && this.#inForce.size > 0) throw new Error('an older schema version came late');
  }

  #placeOf(version: bigint): number {
    return this.#versions.findIndex((known) => known.version === version);
  }

  #count(kuduOp: string): void {
    this.counts.set(kuduOp, (this.counts.get(kuduOp) ?? 0) + 1);
  }
}

/** Behind every row of an operation. */
const LAST_ROW = 1n << 62n;

function checkPosition(value: Json, at: { tablet: string; term: bigint; index: bigint; row: bigint }): void {
  const source = asObject(value.get('source'));
  const same =
    source.get('tablet_id') === at.tablet &&
    source.get('term') === at.term &&
    source.get('index') === at.index &&
    source.get('row') === at.row;
  if (!same) throw new Error('position and source differ');
}

function checkTimes(value: Json, { term, index, row }: { term: bigint; index: bigint; row: bigint }): void {
  const source = asObject(value.get('source'));
  const micros = BigInt(source.get('hybrid_time') as string) >> 12n;
  for (const times of [source, value])
    if (times.get('ts_us') !== micros || times.get('ts_ms') !== micros / 1000n || times.get('ts_ns') !== micros * 1000n)
      throw new Error('times differ');
  const sequence = JSON.parse(source.get('sequence') as string) as unknown;
  if (JSON.stringify(sequence) !== JSON.stringify([source.get('hybrid_time'), `${term}`, `${index}`, `${row}`]))
    throw new Error('position and sequence differ');
  if (source.get('lsn') !== BigInt(source.get('hybrid_time') as string)) throw new Error('lsn is not the hybrid time');
}

function expect(value: Json, op: string): void {
  if (value.get('op') !== op) throw new Error(`op is not ${op}`);
}

/** `before` is null, the key of a delete, or the row as the records before have made it. */
function checkBefore(value: Json, version: Version, row: Row | undefined): void {
  const before = value.get('before');
  if (before === null) return;
  const image = asObject(before);
  const isKeyOnly = value.get('op') === 'd' && image.size === version.columns.filter(({ isKey }) => isKey).length;
  if (isKeyOnly) return;
  if (!row) throw new Error('`before` of a row that is not there');
  for (const { id, name, type, readDefault } of version.columns) {
    const said = image.get(name);
    if (said !== undefined && canonical(type, said) !== (row.get(id) ?? readDefault))
      throw new Error(`\`before\` has another ${name} than the row`);
  }
}

/** `db` and `table` are the two halves of Kudu's name. */
function checkName(source: Json, name: string): void {
  const [db, table] = [source.get('db') as string, source.get('table') as string];
  const isSame =
    db === '' ? table === name.replace(/^\./, '') : [`${db}.${table}`, `impala::${db}.${table}`].includes(name);
  if (!isSame) throw new Error(`${db} and ${table} are not ${name}`);
}

function columnOf(column: Json): Column {
  const type = column.get('type') as string;
  const writeDefault = canonical(type, column.get('default'));
  const readDefault = canonical(type, column.get('read_default'));
  return {
    id: column.get('id') as bigint,
    name: column.get('name') as string,
    type,
    isKey: column.get('key') === true,
    immutable: column.get('immutable') === true,
    writeDefault,
    readDefault,
  };
}

function canonicalVersion({ table, columns }: Version): string {
  const texts = columns.map(({ id, name, type, writeDefault, readDefault, immutable }) =>
    [id, name, type, writeDefault, readDefault, immutable].join(),
  );
  return JSON.stringify([table, texts]);
}

/** A key as text that does not depend on what its columns are called. */
function keyOf(version: Version, image: Json): string {
  return version.columns
    .filter(({ isKey }) => isKey)
    .map(({ name, type }) => {
      const value = image.get(name);
      if (value === undefined || value === null) throw new Error(`the key lacks ${name}`);
      return canonical(type, value);
    })
    .join(' ');
}

function valuesOf(version: Version, image: Json): Row {
  const values: Row = new Map();
  for (const { id, name, type } of version.columns) {
    const value = image.get(name);
    if (value !== undefined) values.set(id, canonical(type, value));
  }
  return values;
}

/** @param immutable what to do with a value for a column that may not change */
function setAll(row: Row, version: Version, image: Json, immutable: 'keep' | 'skip' | 'refuse'): void {
  for (const column of version.columns) {
    const value = image.get(column.name);
    if (value === undefined || column.isKey) continue;
    if (column.immutable && immutable === 'skip') continue;
    if (column.immutable && immutable === 'refuse') throw new Error(`${column.name} may not change`);
    row.set(column.id, canonical(column.type, value));
  }
}

/** A value as text that is the same for the same value, however it was printed. */
function canonical(type: string, value: LosslessJson | undefined): string {
  if (value === undefined) throw new Error('a value is missing');
  if (value === null) return 'null';
  if (type === 'FLOAT' || type === 'DOUBLE') {
    const number = Number(value);
    return Object.is(number, -0) ? '-0' : String(number);
  }
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  throw new Error(`not a value of type ${type}`);
}

function asObject(value: LosslessJson | undefined): Json {
  if (!(value instanceof Map)) throw new Error('not an object');
  return value;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
