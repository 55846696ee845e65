import type { Change, MissingChanges, TabletRef, TabletEnd } from '../change/change.ts';
import { copiedRows, deletedRow, encodedKey } from '../change/copied-rows.ts';
import { rowsWithKeys } from '../change/row-key.ts';
import { sliceRows } from '../change/slice-rows.ts';
import { SpoorError, type ErrorCode } from '../errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { CopyProgress, TabletPosition } from '../change/position.ts';
import type { Logger } from '../util/logger.ts';
import type { Pace } from '../util/pace.ts';
import { pause } from '../util/pause.ts';
import type { Slots } from '../util/slots.ts';
import { steadyNow } from '../util/steady-clock.ts';
import type { Filling } from './gap-filler.ts';
import type { Correction } from '../streams/stored-stream.ts';
import type { Cut, TableCopier } from './table-copier.ts';
import type { TabletChanges, TabletChangesOptions } from './tablet-changes.ts';
import type { Wait } from '../util/waits.ts';
import type { ChangeRead, ChangeSource } from './change-source.ts';

type LogOptions = Pick<TabletChangesOptions, 'announceSchema' | 'endsAtCutsOf' | 'resolvedEveryMs'>;

export interface TabletSourceOptions {
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  /** Of the stream, and of its table's membership in it. */
  readonly generation: string;
  /** The sink may have rows of an earlier membership: what the first copy has not is gone from it. */
  readonly joinsAgain: boolean;
  readonly from: TabletPosition;
  /** Begin with the schema in force at `from`, where the log goes on there. */
  readonly announceSchema: boolean;
  /** The log does not go on at `from`: what it lacks is read from the table. */
  readonly repairs: boolean;
  /** A copy of all rows that was asked for, by its id; null for none. */
  readonly resync: string | null;
  /** How often a mark says what is resolved; null for never. */
  readonly resolvedEveryMs: number | null;
  /** Rows that are to be put right; null for none. */
  readonly correction: Correction | null;
  readonly openLog: (after: TabletPosition, options: LogOptions, signal: AbortSignal) => TabletChanges;
  readonly copier: TableCopier;
  /** Why the tablet's log has ended here; null where the tablet lives on elsewhere. */
  readonly whyGone: (signal: AbortSignal) => Promise<TabletEnd | null>;
  /** Of a tablet that was dropped this will never come. */
  readonly onMissing: (missing: MissingChanges) => void;
  /** Takes in what other sidecars have of the tablet's log after an operation. */
  readonly fillRest: (after: OpId, signal: AbortSignal) => Promise<Filling>;
  /** Bounds how many tablets of the stream are copied at a time. */
  readonly copySlots: Slots;
  /** Rows a second. */
  readonly pace: Pace;
  readonly logger: Logger;
}

/** Longer keys do not fit where positions are kept: rows behind the last one that does are read again and passed over. */
const MAX_KEPT_KEY_BYTES = 1024;
/** Other sidecars' logs of a dropped tablet: so often what they give may bring nothing. */
const MAX_VAIN_FILLS = 3;
/** How long one that does not answer is waited for, and how often it is asked. */
const SILENT_MS = 600_000;
const ASK_AGAIN_MS = 15_000;
/** Rows of a copy that are one read at most: a batch of the sink holds some of them. */
const MAX_ROWS_PER_READ = 4096;

/**
 * The changes of one tablet from a position on. Mostly that is its log. Where the position owes a copy of the tablet's
 * rows it is
 *
 *     (the log up to a cut) ──▶ the rows as they were at the cut ──▶ the log behind the cut
 *
 * so that whoever folds it has the table from the cut on at every moment: no row lost, no older value behind a newer one.
 * The log comes first where the sink has rows of before, so that those which were deleted meanwhile go from it; where
 * that log is lost a repair reads what changed in its time instead, deletes included, as far as the table's history
 * reaches back, and all rows where it does not.
 */
export class TabletSource implements ChangeSource {
  copyRows: number | null = null;
  /** What it waits for that is not the log. */
  waits: Wait | null = null;
  readonly #options: TabletSourceOptions;
  readonly #abort = new AbortController();
  readonly #reads: AsyncGenerator<ChangeRead | { readonly kind: 'gone' }, never, void>;
  #log: TabletChanges | null = null;
  /** How many turns among the copies it has, or waits for. */
  #turns = 0;
  #position: TabletPosition;
  #hasAnnounced = false;
  /** The tablet was dropped before its rows could be copied, or all of them. */
  #lacksCopy = false;
  /** Of the last operation that was read. */
  #time: HybridTime | null = null;
  #working: Promise<unknown> = Promise.resolve();
  /** Counting and cutting, beside the reading. */
  readonly #beside = new Set<Promise<unknown>>();

  constructor(options: TabletSourceOptions) {
    this.#options = options;
    this.#position = options.from;
    this.#reads = this.#read();
  }

  get committed(): OpId {
    return this.#log?.committed ?? this.#position.opId;
  }

  get takesTurn(): boolean {
    return this.#turns > 0;
  }

  async next(): Promise<ChangeRead | { readonly kind: 'gone' }> {
    const working = this.#reads.next();
    this.#working = working;
    const { value } = await working;
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the source was closed'));
    await this.#log?.[Symbol.asyncDispose]();
    await Promise.allSettled([this.#working, ...this.#beside]);
    // Where it stands still between two reads it has a turn among the copies, and a scanner.
    await this.#reads.return(undefined as never).catch(() => undefined);
    await this.#closeLog(); // one that was opened meanwhile
  }

  async *#read(): AsyncGenerator<ChangeRead | { readonly kind: 'gone' }, never, void> {
    const { from } = this.#options;
    if (!from.ended) {
      const isOwed = yield* this.#owed(from);
      if (isOwed) yield* this.#restOfLog();
      const why = await this.#options.whyGone(this.#abort.signal);
      if (why !== null) yield this.#end(why);
    }
    for (;;) yield { kind: 'gone' };
  }

  /** Copies and corrections. @returns whether the log behind them is still to come */
  async *#owed(from: TabletPosition): AsyncGenerator<ChangeRead, boolean, void> {
    const { repairs } = this.#options;
    try {
      // There is no table that could make up for what the log lacks.
      if (repairs && (await this.#isDropped())) return this.#giveUpCopy();
      yield* this.#copies(from);
      yield* this.#correct();
      return true;
    } catch (error) {
      // Of a tablet that is no more nothing can be copied; its held log is still there.
      const isGap = error instanceof SpoorError && error.code === 'SPOOR_WAL_GAP';
      if (this.#abort.signal.aborted || isGap || !(await this.#isDropped())) throw error;
      this.#warn(this.#position, error, 'the tablet was dropped before its rows could be read');
      return this.#giveUpCopy();
    }
  }

  /** @returns whether the log goes on; what it lacks, where it does not, is lost: nobody has it */
  #giveUpCopy(): boolean {
    this.#lacksCopy = this.#position.copy !== undefined;
    this.#position = withoutCopy(this.#position);
    return !this.#options.repairs;
  }

  /** The log until the tablet is gone; of one that was dropped all that any sidecar has of it. */
  async *#restOfLog(): AsyncGenerator<ChangeRead, void, void> {
    for (let vain = 0, sinceMs = performance.now(); vain < MAX_VAIN_FILLS;) {
      const before = this.#position;
      const log = await this.#openLog(this.#position, { announceSchema: this.#announces(), ...this.#marks() });
      for (let read = await log.next(); read.kind !== 'gone'; read = await log.next()) {
        this.#position = read.position;
        this.#time = read.hybridTime;
        yield read;
      }
      if (!(await this.#isDropped())) return;
      await this.#closeLog();
      this.#waitsFor('what the other sidecars have of its log, since it was dropped');
      // Another replica's log may end later than ours.
      const filling = await this.#options.fillRest(this.#position.opId, this.#abort.signal);
      if (filling === 'nobody') return;
      if (this.#position !== before) [vain, sinceMs] = [0, performance.now()];
      if (filling === 'filled') vain++;
      else if (performance.now() - sinceMs > SILENT_MS) return;
      else await pause(ASK_AGAIN_MS, this.#abort.signal);
      this.waits = null;
      this.#abort.signal.throwIfAborted();
    }
  }

  /** What the position owes before the log goes on. */
  async *#copies(from: TabletPosition): AsyncGenerator<ChangeRead, void, void> {
    const { repairs, resync, joinsAgain } = this.#options;
    const { copy } = from;
    if (repairs) yield* this.#repair(from);
    else if (copy === 'wanted') yield* this.#copyFirst(from, joinsAgain ? { replaces: true } : {});
    else if (copy?.cut === from.opId.index) yield* this.#resume(from, copy);
    else if (copy !== undefined || (resync !== null && from.resync !== resync)) yield* this.#copyAnew(from);
  }

  /**
   * The log up to a cut, and there the rows that are asked for as they are at that moment: in their own place among the
   * tablet's operations, so that no older value comes behind a newer one.
   */
  async *#correct(): AsyncGenerator<ChangeRead, void, void> {
    const { generation, correction } = this.#options;
    if (correction === null || this.#position.corrected === correction.id) return;
    const options = { announceSchema: this.#announces(), endsAtCutsOf: generation, ...this.#marks() };
    const log = await this.#openLog(this.#position, options);
    using turn = this.#turn(() => this.#cut());
    const { read, cut } = yield* this.#logUpToCut(log, turn, {});
    const rows = await this.#rowsAt(cut, correction.keys);
    // Of other rows the sink has the last value already.
    const keys = new Set(correction.keys.map((key) => key.toString('hex')));
    if (cut.replayAfter)
      for await (const { changes } of this.#replay(read.position, cut.replayAfter, cut.time))
        for (const change of changes) if (change.kind === 'rows') rows.push(...rowsWithKeys(change, keys));
    this.#position = { ...read.position, corrected: correction.id };
    this.#options.logger.info({ rows: rows.length, opId: formatOpId(cut.opId) }, 'rows put right');
    yield { ...read, changes: [...read.changes, ...rows], position: this.#position, onlyMarkers: false };
  }

  /**
   * The log until the cut comes that is made when it is our turn. That is beside the reading: the tablet may have to wait
   * for its turn, and its changes need not.
   * @param owed what stays owed until then
   * @returns the cut, and the read that ends there, which is not given out
   */
  async *#logUpToCut(
    log: TabletChanges,
    turn: Turn<Cut>,
    owed: Pick<TabletPosition, 'copy'>,
  ): AsyncGenerator<ChangeRead, { readonly read: ChangeRead; readonly cut: Cut }, void> {
    for (;;) {
      const read = await turn.meanwhile(log.next());
      if (read.kind === 'gone') throw new Error('the tablet has gone before its rows could be read');
      this.#time = read.hybridTime;
      const cut = read.cut && turn.hasCome ? await turn.done : null;
      if (cut !== null && cut.time === read.cut?.time) {
        await this.#closeLog();
        return { read, cut };
      }
      this.#position = { ...read.position, ...owed };
      yield { ...read, position: this.#position };
    }
  }

  /** The rows with these keys as they are at the cut; of one that is not there, its delete. */
  async #rowsAt(cut: Cut, keys: readonly Buffer[]): Promise<Change[]> {
    const { copier, tablet } = this.#options;
    const { opId, time, schema, schemaVersion, tableName } = cut;
    const ref: TabletRef = { ...tablet, tableName };
    const changes: Change[] = [];
    const scan = { at: time, schema, schemaVersion };
    const common = { tablet: ref, opId, hybridTime: time, schema };
    for await (const { key, row } of copier.rows(tablet, scan, keys, this.#abort.signal))
      changes.push(row === null ? deletedRow({ ...common, key }) : copiedRows({ ...common, ...row, skip: 0 }));
    return changes;
  }

  /** A tablet that was dropped says so behind all that it had. */
  #end({ event, partition, lastIndex }: TabletEnd): ChangeRead {
    const { opId, tableName, time } = this.#position;
    const tablet = { ...this.#options.tablet, tableName };
    const hybridTime = this.#time ?? time ?? 0n;
    this.#position = { ...withoutCopy(this.#position), ended: true };
    const operations = lastIndex > opId.index ? { fromIndex: opId.index + 1n, toIndex: lastIndex } : null;
    const missing = operations || this.#lacksCopy ? { operations, copy: this.#lacksCopy } : null;
    if (missing) this.#options.onMissing(missing);
    else this.#options.logger.info({ opId: formatOpId(opId), event }, 'the tablet was dropped, and all of it is read');
    const change: Change = { kind: 'event', event, tablet, opId, hybridTime, partition, missing };
    return readOf([change], this.#position, hybridTime);
  }

  async #isDropped(): Promise<boolean> {
    try {
      return (await this.#options.whyGone(this.#abort.signal)) !== null;
    } catch {
      return false; // what failed first is what is told
    }
  }

  /** What the log lacks: what changed in its time, or all rows where that cannot be known. */
  async *#repair(from: TabletPosition): AsyncGenerator<ChangeRead, void, void> {
    const isWhole = from.copy === undefined;
    if (isWhole && from.time !== undefined) {
      try {
        yield* this.#copyFirst(from, { since: from.time + 1n });
        return;
      } catch (error) {
        if (!isTooOld(error)) throw error;
        this.#warn(from, error, 'the table does not keep what the lost log changed, copying all of it');
      }
    }
    yield* this.#copyFirst(from, from.opId.index > 0n || this.#options.joinsAgain ? { replaces: true } : {});
  }

  /** Rows of a copy that another one began, or we before. */
  async *#resume(from: TabletPosition, copy: CopyProgress): AsyncGenerator<ChangeRead, void, void> {
    let schema: TableSchema;
    try {
      const log = await this.#openLog(from, { announceSchema: false });
      ({ schema } = await log.schemaThere());
    } catch (error) {
      if (!(error instanceof SpoorError) || error.code !== 'SPOOR_WAL_GAP') throw error;
      this.#warn(from, error, 'the copy cannot go on, beginning another one');
      yield* this.#copyFirst(from, { replaces: true });
      return;
    }
    await this.#closeLog();
    try {
      using turn = this.#turn(() => Promise.resolve());
      await turn.done;
      yield* this.#copyRows(from, copy, schema);
    } catch (error) {
      if (!isTooOld(error)) throw error;
      this.#warn(from, error, 'the copy took longer than the table keeps its history, beginning another one');
      if (copy.since === undefined) yield* this.#copyBehindLog(this.#position);
      else yield* this.#copyFirst(this.#position, { replaces: true });
    }
  }

  /** A copy that needs nothing of the log before it. */
  async *#copyFirst(
    from: TabletPosition,
    kind: Pick<CopyProgress, 'since' | 'replaces'>,
  ): AsyncGenerator<ChangeRead, void, void> {
    using turn = this.#turn(() => this.#cut());
    const cut = await turn.done;
    const { opId, tableName, schemaVersion, time } = cut;
    const copy = begin(cut, kind);
    const resync = this.#options.resync ?? from.resync ?? (from.opId.index > 0n ? REPAIR : null);
    const { corrected } = from;
    const done = { ...(resync !== null && { resync }), ...(corrected !== undefined && { corrected }) };
    this.#position = { opId, tableName, schemaVersion, time, copy, ...done };
    this.#hasAnnounced = true;
    yield readOf([this.#announcement(cut)], this.#position, time);
    yield* this.#copyRows(this.#position, copy, cut.schema);
  }

  /** A log that stays unreadable is no hindrance to a copy that somebody asked for: it takes the place of what is lost. */
  async *#copyAnew(from: TabletPosition): AsyncGenerator<ChangeRead, void, void> {
    try {
      yield* this.#copyBehindLog(from);
    } catch (error) {
      const isForGood = error instanceof SpoorError && BEHIND_A_COPY.has(error.code);
      if (this.#options.resync === null || !isForGood) throw error;
      this.#warn(this.#position, error, 'the log cannot be read up to the copy that was asked for, copying without it');
      await this.#closeLog();
      yield* this.#copyFirst(this.#position, { replaces: true });
    }
  }

  /** The log up to a cut, which is made as soon as it is our turn, and then a copy. */
  async *#copyBehindLog(from: TabletPosition): AsyncGenerator<ChangeRead, void, void> {
    const { generation, resync } = this.#options;
    const owed = from.copy === undefined ? {} : { copy: from.copy };
    // The copy that this one takes the place of was to say what is gone: so is this one.
    const replaces =
      from.copy !== undefined && (this.#options.joinsAgain || (from.copy !== 'wanted' && from.copy.replaces));
    const marks = from.copy === undefined ? this.#marks() : {}; // rows that are owed are not there
    const log = await this.#openLog(from, { announceSchema: this.#announces(), endsAtCutsOf: generation, ...marks });
    using turn = this.#turn(() => this.#cut());
    const { read, cut } = yield* this.#logUpToCut(log, turn, owed);
    const copy = begin(cut, replaces ? { replaces: true } : {});
    this.#position = { ...read.position, copy, ...(resync !== null && { resync }) };
    yield { ...read, position: this.#position, onlyMarkers: false };
    yield* this.#copyRows(this.#position, copy, cut.schema);
  }

  /** The rows that are still to come, and the end of the copy. */
  async *#copyRows(
    from: TabletPosition,
    copy: CopyProgress,
    schema: TableSchema,
  ): AsyncGenerator<ChangeRead, void, void> {
    const { tablet, copier, pace } = this.#options;
    const { signal } = this.#abort;
    const { at, since, replaces, replayAfter } = copy;
    let { rows, key } = copy;
    this.#count(copy);
    const ref: TabletRef = { ...tablet, tableName: from.tableName };
    const scan = { at, schema, schemaVersion: from.schemaVersion, ...(since !== undefined && { since }) };
    let known = rows - (key?.rows ?? 0); // behind the key, and in the sink
    for await (const { block, places } of copier.scan(tablet, { ...scan, ...(key && { after: key.after }) }, signal)) {
      const skip = Math.min(known, block.rowCount);
      known -= skip;
      const batch = copiedRows({ tablet: ref, opId: from.opId, hybridTime: at, schema, block, places, skip });
      const rowBytes = (block.rows.length + block.indirect.length) / Math.max(1, block.rowCount);
      for (let next = 0; next < batch.rowCount;) {
        const part = sliceRows(batch, next, next + Math.min(MAX_ROWS_PER_READ, pace.most));
        this.#waitsFor('copyRowsPerSecond, which bounds how fast its rows are copied');
        await pace.take(part.rowCount, signal);
        this.waits = null;
        next += part.rowCount;
        rows += part.rowCount;
        const last = encodedKey(schema, block, places, skip + next - 1);
        if (last.length <= MAX_KEPT_KEY_BYTES) key = { after: last, rows };
        this.#position = { ...from, copy: { ...copy, rows, ...(key && { key }) } };
        yield readOf([part], this.#position, at, Math.round(rowBytes * part.rowCount));
      }
    }
    let last: ChangeRead | null = null;
    for await (const read of replayAfter ? this.#replay(from, replayAfter, at) : []) {
      if (last !== null) {
        const done = { ...copy, rows, ...(key && { key }), replayAfter: last.position.opId };
        this.#position = { ...from, copy: done };
        yield readOf(last.changes, this.#position, at, last.bytes);
      }
      last = read;
    }
    const changes: Change[] = [...(last?.changes ?? [])];
    if (replaces)
      changes.push({ kind: 'event', event: 'recopied', tablet: ref, opId: from.opId, hybridTime: at, ...NOTHING });
    this.#position = withoutCopy({ ...this.#position, time: at });
    this.#options.logger.info({ rows, opId: formatOpId(from.opId), hybridTime: at.toString() }, 'copy finished');
    yield { ...readOf(changes, this.#position, at, last?.bytes), completes: copy };
  }

  /**
   * Operations before the cut that are stamped behind it are not in the copy; they are shipped behind it, and those after
   * them once more: an older value behind a newer one is followed by the newer one again. That may be all that was written
   * in ten seconds: it comes in reads like those of any log, without those that change nothing.
   */
  async *#replay(from: TabletPosition, after: OpId, cutTime: HybridTime): AsyncGenerator<ChangeRead, void, void> {
    const { generation } = this.#options;
    const { tableName, schemaVersion: named } = from;
    const position: TabletPosition = { opId: after, tableName, schemaVersion: 0, named };
    const log = await this.#openLog(position, { announceSchema: false, endsAtCutsOf: generation });
    for (;;) {
      const read = await log.next();
      if (read.kind === 'gone') throw new Error('the tablet has gone before its copy was whole');
      if (read.changes.length > 0) yield read;
      if (read.cut?.time === cutTime) break;
    }
    await this.#closeLog();
  }

  /** Waits for a turn among the copies; then `begin` is done. */
  #turn<T>(begin: () => Promise<T>): Turn<T> {
    this.#turns++;
    this.#waitsFor('a turn among the tablets of the stream that are copied at a time');
    const begun = async (): Promise<T> => {
      this.waits = null;
      return begin();
    };
    return new Turn(this.#options.copySlots, this.#abort.signal, begun, () => {
      this.#turns--;
      this.waits = null;
    });
  }

  #waitsFor(what: string): void {
    this.waits = { for: what, sinceMs: steadyNow() };
  }

  async #cut(): Promise<Cut> {
    const { copier, tablet, generation, logger } = this.#options;
    this.#waitsFor("the cut of its copy, which its leader is to write into the tablet's log");
    const cut = await copier.makeCut(tablet, generation, this.#abort.signal);
    this.waits = null;
    logger.info({ opId: formatOpId(cut.opId), hybridTime: cut.time.toString() }, 'copying the rows of this moment');
    return cut;
  }

  #announcement({ opId, time, schemaVersion, schema, tableName }: Cut): Change {
    const tablet = { ...this.#options.tablet, tableName };
    const after = { tableName, schema };
    return { kind: 'schema', tablet, opId, hybridTime: time, version: schemaVersion, before: null, after };
  }

  /** Beside the copy, which needs no number to run. */
  #count({ at, since }: CopyProgress): void {
    this.copyRows = null;
    if (since !== undefined) return;
    const { copier, tablet, logger } = this.#options;
    const counting: Promise<void> = copier
      .count(tablet, at, this.#abort.signal)
      .then(
        (rows) => void (this.copyRows = rows),
        (error: unknown) => {
          logger.debug({ err: error }, 'the rows of a copy were not counted');
        },
      )
      .finally(() => this.#beside.delete(counting));
    this.#beside.add(counting);
  }

  /** Whether the schema is still to be told; asked by whoever tells it now. */
  #announces(): boolean {
    const announces = this.#options.announceSchema && !this.#hasAnnounced;
    this.#hasAnnounced = true;
    return announces;
  }

  #marks(): Pick<LogOptions, 'resolvedEveryMs'> {
    const { resolvedEveryMs } = this.#options;
    return resolvedEveryMs === null ? {} : { resolvedEveryMs };
  }

  async #openLog(after: TabletPosition, options: LogOptions): Promise<TabletChanges> {
    await this.#closeLog();
    this.#abort.signal.throwIfAborted();
    this.#log = this.#options.openLog(after, options, this.#abort.signal);
    return this.#log;
  }

  async #closeLog(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    await log?.[Symbol.asyncDispose]();
  }

  #warn(from: TabletPosition, error: unknown, what: string): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.logger.warn({ opId: formatOpId(from.opId), reason }, what);
  }
}

/** What a log has that no trying again gets past. */
const BEHIND_A_COPY: ReadonlySet<string> = new Set([
  'SPOOR_WAL_CORRUPT',
  'SPOOR_WAL_UNSUPPORTED',
  'SPOOR_WAL_DIVERGED',
  'SPOOR_TRANSACTION_UNSUPPORTED',
] satisfies ErrorCode[]);

const NOTHING = { partition: null, missing: null };

/** What {@link TabletPosition.resync} says of copies that nobody asked for. */
const REPAIR = 'repair';

/** A place among the tablets that are copied at a time, and what is done first when it comes. */
class Turn<T> implements Disposable {
  hasCome = false;
  readonly done: Promise<T>;
  /** Why it did not come to its end. */
  #failure: Error | null = null;
  /** Of who waits for something else meanwhile. */
  #reject: (reason: unknown) => void = () => undefined;
  #giveBack: (() => void) | null = null;
  readonly #onOver: () => void;
  #isOver = false;

  constructor(slots: Slots, signal: AbortSignal, begin: () => Promise<T>, onOver: () => void) {
    this.#onOver = onOver;
    this.done = slots.acquire(signal).then((giveBack) => {
      this.#giveBack = giveBack;
      if (this.#isOver) giveBack();
      this.hasCome = true;
      return begin();
    });
    this.done.catch((reason: unknown) => {
      this.#failure = reason instanceof Error ? reason : new Error(String(reason));
      this.#reject(this.#failure);
    });
  }

  /** What comes of the work, unless the turn fails first. One at a time: a race would add to {@link done} each time. */
  async meanwhile<R>(work: Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      work.then(resolve, reject);
      if (this.#failure) reject(this.#failure);
    });
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#onOver();
    this.#giveBack?.();
  }
}

function begin({ opId, time, replayAfter }: Cut, kind: Pick<CopyProgress, 'since' | 'replaces'>): CopyProgress {
  return { cut: opId.index, at: time, rows: 0, ...kind, ...(replayAfter && { replayAfter }) };
}

function readOf(changes: readonly Change[], position: TabletPosition, hybridTime: HybridTime, bytes = 0): ChangeRead {
  return { kind: 'changes', changes, position, hybridTime, rejectedRows: 0, bytes, onlyMarkers: false };
}

function withoutCopy(position: TabletPosition): TabletPosition {
  const whole: { copy?: unknown } & TabletPosition = { ...position };
  delete whole.copy;
  return whole;
}

function isTooOld(error: unknown): boolean {
  return error instanceof SpoorError && error.code === 'SPOOR_SNAPSHOT_TOO_OLD';
}
