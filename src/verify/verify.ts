import type { RecordDecoder } from '../formats/decoder.ts';
import { microsToHybridTime, type HybridTime } from '../kudu/hybrid-time.ts';
import type { OpId } from '../kudu/opid.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { Selection } from '../selection/selection.ts';
import type { StreamView } from '../api/shapes.ts';
import { mayRepeat } from '../sinks/definitions.ts';
import type { SinkReader, StoredRecord } from '../sinks/reader.ts';
import { pause } from '../util/pause.ts';
import type { ComparedColumn } from './cells.ts';
import { compare, type Counts, type Difference, type RepeatedRow } from './comparison.ts';
import type { FoldCut, FoldRewind } from './record-fold.ts';
import { unknowable } from './unknowable.ts';
import { SchemaVersions, type PresentSchema } from './schema-versions.ts';
import { SortedRuns, SortFolder } from './sorted-runs.ts';
import { destinationsOf, StoredRecords, type UnreadableRecord } from './stored-records.ts';
import { StreamProgress, type StreamProgressOptions, type SelectedTables } from './stream-progress.ts';
import { batchOf, comparedColumns, RowEntries, ScanDisturbedError, type ListedTable } from './table-rows.ts';
import { VerifyError } from './verify-error.ts';

export interface VerifyOptions extends StreamProgressOptions {
  readonly sink: SinkReader;
  /** Of the format in which the stream's records are. */
  readonly decoder: RecordDecoder;
  /** What the stream wants of its tables; default: all of them. */
  readonly selection?: Pick<Selection, 'select' | 'project'>;
  /** Whether rows are to be named by their own keys, to be put right. */
  readonly namesRows?: boolean;
  /** Null: a time of now. */
  readonly at: HybridTime | null;
  /** Names of the tables that are looked at; null for all of the stream. */
  readonly tableNames: readonly string[] | null;
  readonly report: (difference: Difference) => void;
  readonly reportUnreadable: (record: UnreadableRecord) => void;
  /** Where repeats are a fault; not called where they are none. */
  readonly reportRepeated: (row: RepeatedRow) => void;
  /** Whether records may come again; null: as the stream's delivery says. */
  readonly allowsRepeats: boolean | null;
  /** Where what does not fit into memory goes. Default: the system's folder for temporary files. */
  readonly tempDir?: string;
  /** Of each of two sorts; default: 64 MiB. */
  readonly bufferBytes?: number;
  /** How long to wait before differences are looked at again; default: 2 s. */
  readonly readAgainMs?: number;
}

export interface VerifyResult extends Readonly<Counts> {
  readonly at: HybridTime;
  readonly tables: readonly string[];
  /** Records that count. */
  readonly records: number;
  /** Records of operations at the time or after it. */
  readonly later: number;
  /** Whether repeats are none of its faults. */
  readonly allowsRepeats: boolean;
  /** Kinds of differences that may be there and are no faults, since the stream leaves operations out. */
  readonly notCompared: readonly Difference['kind'][];
}

/** How often another time is chosen, where the rows are copied again just then. */
const MAX_TIMES = 3;
const MILLI = microsToHybridTime(1000n);
const DISTURBED_PAUSE_MS = 1_000;
/** A broker ends a transaction a moment after it has said so. */
const READ_AGAIN_MS = 2_000;

/**
 * Folds the records of a stream up to a time, and compares them with its tables as they are then. Memory is bounded,
 * whatever the number of rows and records; what does not fit goes to disk.
 *
 * The tables are scanned first: from then on each operation before the time is known to its tablet. The records are read
 * when the sink has these operations, up to the end that each destination has by then.
 * Errors: {@link VerifyError}; SinkError of the reader; KuduError. Nothing was reported then.
 */
export async function verify(options: VerifyOptions, signal: AbortSignal): Promise<VerifyResult> {
  for (let times = 1; ; times++) {
    await using folder = await SortFolder.create(options.tempDir);
    await using run = new VerifyRun(options, folder, signal);
    const result = await run.result();
    if (result.kind === 'done') return result.result;
    const from = `its rows were copied as of ${result.newestCopy}`;
    if (options.at !== null)
      throw new VerifyError('usage', `--at ${options.at} is too early: ${from}, from which time on it can be verified`);
    if (times === MAX_TIMES) throw new VerifyError('failed', `the stream is being copied again: ${from}`);
    options.progress(`beginning anew: ${from}`);
  }
}

type RunResult =
  | { readonly kind: 'done'; readonly result: VerifyResult }
  /** Rows were copied as they were after the time. */
  | { readonly kind: 'copied-since'; readonly newestCopy: HybridTime };

interface Scan {
  readonly present: PresentSchema;
  readonly columns: readonly ComparedColumn[];
  readonly ends: ReadonlyMap<string, OpId>;
  readonly attempt: number;
}

/** One time, and what is scanned and read of it. */
class VerifyRun implements AsyncDisposable {
  readonly #options: VerifyOptions;
  readonly #progress: StreamProgress;
  readonly #signal: AbortSignal;
  readonly #rows: SortedRuns;
  readonly #folder: SortFolder;
  readonly #tabletIds: string[] = [];

  constructor(options: VerifyOptions, folder: SortFolder, signal: AbortSignal) {
    this.#options = options;
    this.#progress = new StreamProgress(options);
    this.#signal = signal;
    this.#folder = folder;
    this.#rows = new SortedRuns(folder, options.bufferBytes);
  }

  async result(): Promise<RunResult> {
    const { reader } = this.#options;
    const found = await this.#progress.settled((tables) => this.#select(tables), this.#signal);
    const at = this.#wantedTime() ?? this.#wholeMillis(await reader.now(this.#signal));
    const scans: (Scan | null)[] = [];
    for (const [place, table] of found.tables.entries())
      scans.push(await this.#scan(place, table, at, joinedName(found.view, table)));
    await this.#progress.shipped(new Map(scans.flatMap((scan) => [...(scan?.ends ?? [])])), this.#signal);
    // What is seen first may be a transaction that the broker has not ended yet: only what stays is told.
    const first = await this.#compare(found, scans, at, false);
    if (first.kind === 'copied-since' || isSound(first.result)) return first;
    this.#options.progress('reading the records once more');
    await pause(this.#options.readAgainMs ?? READ_AGAIN_MS, this.#signal);
    this.#signal.throwIfAborted();
    return this.#compare(found, scans, at, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rows[Symbol.asyncDispose]();
  }

  #wantedTime(): HybridTime | null {
    const { at } = this.#options;
    if (at !== null && this.#wholeMillis(at) !== at)
      throw new VerifyError(
        'usage',
        `--at ${at} is no whole millisecond, and flat records have no other times: ${this.#wholeMillis(at)} is the next one`,
      );
    return at;
  }

  /** Where records have no other times, it is that of no record which lies on both sides of it. */
  #wholeMillis(time: HybridTime): HybridTime {
    if (!this.#options.decoder.hasMillisOnly) return time;
    return ((time + MILLI - 1n) / MILLI) * MILLI;
  }

  #select(tables: readonly ListedTable[]): readonly ListedTable[] {
    const { tableNames } = this.#options;
    const unknown = tableNames?.find((name) => tables.every((table) => table.name !== name));
    if (unknown !== undefined) throw new VerifyError('usage', `the stream has no table ${JSON.stringify(unknown)}`);
    if (tables.length === 0) throw new VerifyError('failed', 'the stream has no table at present');
    return tableNames === null ? tables : tables.filter(({ name }) => tableNames.includes(name));
  }

  /** Null: the table was dropped meanwhile. */
  async #scan(place: number, listed: ListedTable, at: HybridTime, name: string): Promise<Scan | null> {
    const { reader, progress, timeoutMs, selection = EVERYTHING } = this.#options;
    const start = performance.now();
    let table: ListedTable | undefined = listed;
    for (let attempt = 0; table; attempt++) {
      const numbers = new Map<string, number>();
      const entries = new RowEntries();
      let rows = 0;
      try {
        const { ends, ...present } = await reader.scan(
          table,
          at,
          async (tabletId, schema, block) => {
            const tablet = numbers.get(tabletId) ?? this.#tabletIds.push(tabletId) - 1;
            numbers.set(tabletId, tablet);
            const ref = { tableId: listed.tableId, tabletId, tableName: name };
            const wanted = selection.select(batchOf(ref, at, schema, block), name);
            if (wanted) await entries.add(this.#rows, { table: place, tablet, attempt }, wanted);
            rows += block.rowCount;
            progress(
              `scanning ${listed.name}: ${rows} rows`,
              listed.rows ? Math.min(1, rows / listed.rows) : undefined,
            );
          },
          this.#signal,
        );
        const schema = selection.project(present.schema, name);
        this.#refuseHashedKeys(listed.name, present.schema, schema);
        return { present: { ...present, schema }, columns: comparedColumns(schema), ends, attempt };
      } catch (error) {
        if (!(error instanceof ScanDisturbedError)) throw error;
        if (performance.now() - start > timeoutMs) throw new VerifyError('failed', error.message);
        progress(`scanning anew: ${error.message}`);
      }
      await pause(DISTURBED_PAUSE_MS, this.#signal);
      this.#signal.throwIfAborted();
      table = (await reader.tables(this.#signal)).find(({ tableId }) => tableId === listed.tableId);
    }
    return null;
  }

  /** Whose key is shown as a hash cannot be found again. @throws {VerifyError} */
  #refuseHashedKeys(name: string, { columns }: TableSchema, shown: TableSchema): void {
    if (this.#options.namesRows !== true) return;
    const hashed = columns.find((column) => column.isKey && !shown.columns.includes(column));
    if (hashed)
      throw new VerifyError(
        'usage',
        `rows of table ${JSON.stringify(name)} cannot be repaired one by one: the stream hashes ${JSON.stringify(hashed.name)} of their key; spoor streams resync copies the table again`,
      );
  }

  async #compare(
    { view, tables, others }: SelectedTables,
    scans: readonly (Scan | null)[],
    at: HybridTime,
    reports: boolean,
  ): Promise<RunResult> {
    const { sink, decoder, reader, report, reportUnreadable, reportRepeated, bufferBytes, progress } = this.#options;
    const allowsRepeats = this.#options.allowsRepeats ?? mayRepeat(view.sink);
    const signal = this.#signal;
    const notCompared = unknowable(view.skipOperations ?? []);
    const schemas = new SchemaVersions(tables.map(({ tableId }) => tableId));
    for await (const records of sink.read(sink.schemaDestination, signal))
      for (const record of records) addSchema(schemas, record, decoder);
    for (const [place, { tableId }] of tables.entries())
      if (scans[place]) schemas.complete(tableId, scans[place].present);
    const destinations = tables.map((table) => destinationsOf(table, schemas.of(table.tableId), sink));
    const tablets = new Map<string, number>();
    for (const [place, scan] of scans.entries())
      for (const tabletId of scan?.ends.keys() ?? []) tablets.set(tabletId, place);
    await using sorted = new SortedRuns(this.#folder, bufferBytes);
    const ignored = new Set(others.flatMap(({ tableId, tabletIds }) => [tableId, ...tabletIds]));
    // Where records are left out, or put elsewhere, those that are there do not follow from each other.
    const comparesBefore = (view.skipOperations ?? []).length === 0 && view.oversize !== 'dead-letter';
    const stored = new StoredRecords({
      sink,
      decoder,
      at,
      tables,
      tablets,
      ignored,
      schemas,
      destinations,
      sorted,
      comparesBefore,
    });
    let read = 0;
    for (const destination of new Set(destinations.flatMap((each) => [...each])))
      for await (const records of sink.read(destination, signal)) {
        await decoder.prepare?.(records, signal);
        for (const record of records) {
          const full = stored.add(record, destination);
          if (full) await full;
        }
        read += records.length;
        progress(`reading ${destination}: ${read} records`);
      }
    const newestCopy = latest([stored.newestCopy, ...schemas.rewound.map(({ time }) => time)]);
    if (newestCopy !== null && newestCopy > at) return { kind: 'copied-since', newestCopy };
    const alive = new Set((await reader.tables(signal)).flatMap(({ tabletIds }) => tabletIds));
    progress('comparing');
    const counts = await compare({
      tables: tables.map(({ name }, place) => ({
        name,
        columns: scans[place]?.columns ?? [],
        attempt: scans[place]?.attempt ?? -1,
        base: view.start === 'now' ? 'unknown' : 'absent',
      })),
      tabletIds: this.#tabletIds,
      alive,
      notCompared: new Set(notCompared),
      cuts: cutsOf(schemas, stored, at),
      rewinds: rewindsOf(schemas),
      rows: this.#rows,
      records: sorted,
      stored,
      decoder,
      report: reports ? report : () => undefined,
      reportUnreadable: reports ? reportUnreadable : () => undefined,
      reportRepeated: reports && !allowsRepeats ? reportRepeated : () => undefined,
    });
    if (reports) for (const record of stored.unreadableRecords) reportUnreadable(record);
    const { folded: records, later } = stored;
    const leftOut = counts.leftOut + stored.leftOut;
    const unreadable = counts.unreadable + stored.unreadable;
    const names = tables.map(({ name }) => name);
    const result = { ...counts, at, tables: names, records, later, leftOut, unreadable, allowsRepeats, notCompared };
    return { kind: 'done', result };
  }
}

const EVERYTHING: Pick<Selection, 'select' | 'project'> = { select: (change) => change, project: (schema) => schema };

/** The name under which the stream has a table. */
function joinedName(view: StreamView, { name, tabletIds }: ListedTable): string {
  return view.tablets.find(({ tabletId }) => tabletIds.includes(tabletId))?.joinedAs ?? name;
}

/** Whether the records are the tables, and each came once where that was promised. */
export function isSound(result: VerifyResult): boolean {
  const { missing, extra, different, before, unreadable, repeats, allowsRepeats } = result;
  return missing + extra + different + before + unreadable + (allowsRepeats ? 0 : repeats) === 0;
}

/** Among the schema changes there may be records of other streams, in forms of their own. */
function addSchema(schemas: SchemaVersions, record: StoredRecord, decoder: RecordDecoder): void {
  try {
    const decoded = decoder.decodeSchema(record);
    if (decoded) schemas.add(decoded);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}

/**
 * Another stream of the same table has copies, too, and may put its schema changes where we put ours: its rows are not
 * among ours.
 */
function cutsOf(
  schemas: SchemaVersions,
  stored: StoredRecords,
  at: HybridTime,
): ReadonlyMap<string, readonly FoldCut[]> {
  const cuts = new Map<string, FoldCut[]>();
  for (const { tabletId, index, time } of schemas.recopied) {
    if (time > at) continue;
    const cut = { index, time, isCertain: stored.hasCopy(tabletId, time) };
    const known = cuts.get(tabletId);
    if (known) known.push(cut);
    else cuts.set(tabletId, [cut]);
  }
  return cuts;
}

function rewindsOf({ rewound }: SchemaVersions): ReadonlyMap<string, readonly FoldRewind[]> {
  const rewinds = new Map<string, FoldRewind[]>();
  for (const { tabletId, fromIndex, index } of rewound) {
    if (fromIndex === null) continue;
    rewinds.set(tabletId, [...(rewinds.get(tabletId) ?? []), { fromIndex, index }]);
  }
  return rewinds;
}

function latest(times: readonly (HybridTime | null)[]): HybridTime | null {
  return times.reduce((max, time) => (time !== null && (max === null || time > max) ? time : max), null);
}
