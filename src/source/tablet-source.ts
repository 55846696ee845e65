import type { MissingChanges, TabletEnd, TabletRef } from '../change/change.ts';
import { copyUnderWay, type TabletPosition } from '../change/position.ts';
import { SpoorError } from '../errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { Correction, Whence } from '../streams/stored-stream.ts';
import type { Logger } from '../util/logger.ts';
import type { Pace } from '../util/pace.ts';
import { pause } from '../util/pause.ts';
import type { Slots } from '../util/slots.ts';
import { CurrentWait, type Wait } from '../util/waits.ts';
import type { ChangeRead, ChangeSource } from './change-source.ts';
import {
  beginCopy,
  copyStep,
  insteadOf,
  obstacleOf,
  positionAtCut,
  repairOf,
  rewindScope,
  rewindStep,
  withoutCopy,
  type CopyRequest,
  type CopyScope,
  type CopyStep,
} from './copy-plan.ts';
import { CopyReads, readOf } from './copy-reads.ts';
import type { Filling } from './gap-filler.ts';
import type { Found } from './log-search.ts';
import { announcement, endEvent, rewoundEvent } from './source-events.ts';
import { SourceLog, type LogOptions, type OpenLog } from './source-log.ts';
import type { Cut, TableCopier } from './table-copier.ts';
import type { TabletChanges } from './tablet-changes.ts';
import { Turn } from './turn.ts';

export interface TabletSourceOptions extends CopyRequest {
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  /** Of the stream, and of its table's membership in it. */
  readonly generation: string;
  readonly from: TabletPosition;
  /** Begin with the schema in force at `from`, where the log goes on there. */
  readonly announceSchema: boolean;
  /** How often a mark says what is resolved; null for never. */
  readonly resolvedEveryMs: number | null;
  /** Rows that are to be put right; null for none. */
  readonly correction: Correction | null;
  readonly openLog: OpenLog;
  /** Where in the tablet's log something is, among the operations before `until`: see log-search.ts. */
  readonly searchLog: (whence: Whence, until: OpId, signal: AbortSignal) => Promise<Found>;
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

/** Other sidecars' logs of a dropped tablet: so often what they give may bring nothing. */
const MAX_VAIN_FILLS = 3;
/** How long one that does not answer is waited for, and how often it is asked. */
const SILENT_MS = 600_000;
const ASK_AGAIN_MS = 15_000;

/**
 * A read on its way out of a generator, which keeps what it gave last until it gives the next: an operation of tens of megabytes is
 * taken out of it.
 */
interface Passed {
  read: ChangeRead | null;
}
type Reads = AsyncGenerator<Passed, void, void>;

const GONE = { kind: 'gone' } as const;

/** A cut, and the read that ends there. */
interface AtCut {
  readonly read: ChangeRead;
  readonly cut: Cut;
}

/**
 * The changes of one tablet from a position on. Mostly that is its log. Where the position owes a copy of the tablet's
 * rows it is
 *
 *     (the log up to a cut) ──▶ the rows as they were at the cut ──▶ the log behind the cut
 *
 * so that whoever folds it has the table from the cut on at every moment: no row lost, no older value behind a newer one.
 * The log comes first where the sink has rows of before, so that those which were deleted meanwhile go from it; where
 * that log is lost a repair reads what changed in its time instead, deletes included, as far as the table's history
 * reaches back, and all rows where it does not. Which of these it is copy-plan.ts says.
 */
export class TabletSource implements ChangeSource {
  readonly #options: TabletSourceOptions;
  readonly #abort = new AbortController();
  readonly #reads: AsyncGenerator<Passed | typeof GONE, never, void>;
  readonly #wait = new CurrentWait();
  readonly #log: SourceLog;
  readonly #copy: CopyReads;
  /** How many turns among the copies it has, or waits for. */
  #turns = 0;
  /** Behind the last read. */
  #position: TabletPosition;
  #hasAnnounced = false;
  /** The tablet was dropped before its rows could be copied, or all of them. */
  #lacksCopy = false;
  /** Of the last operation that was read. */
  #time: HybridTime | null = null;
  #working: Promise<unknown> = Promise.resolve();

  constructor(options: TabletSourceOptions) {
    this.#options = options;
    this.#position = options.from;
    const { signal } = this.#abort;
    this.#log = new SourceLog(options.openLog, signal);
    this.#copy = new CopyReads({ ...options, log: this.#log, wait: this.#wait, signal });
    this.#reads = this.#read();
  }

  get committed(): OpId {
    return this.#log.committed ?? this.#position.opId;
  }

  get copyRows(): number | null {
    return this.#copy.rowCount;
  }

  get takesTurn(): boolean {
    return this.#turns > 0;
  }

  get holdsRoom(): boolean {
    return this.#log.holdsRoom;
  }

  /** What it waits for that is not the log's next operation. */
  get waits(): Wait | null {
    return this.#wait.now ?? this.#log.waits;
  }

  async next(): Promise<ChangeRead | { readonly kind: 'gone' }> {
    const working = this.#reads.next();
    this.#working = working;
    const { value: passed } = await working;
    if ('kind' in passed) return passed;
    const read = passed.read!;
    passed.read = null;
    return read;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the source was closed'));
    await this.#log.close();
    await Promise.allSettled([this.#working, this.#copy.settled()]);
    // Where it stands still between two reads it has a turn among the copies, and a scanner.
    await this.#reads.return(undefined as never).catch(() => undefined);
    await this.#log.close(); // one that was opened meanwhile
  }

  async *#read(): AsyncGenerator<Passed | typeof GONE, never, void> {
    if (!this.#position.ended) {
      const goesOn = yield* this.#owed();
      if (goesOn) yield* this.#restOfLog();
      const why = await this.#options.whyGone(this.#abort.signal);
      if (why !== null) yield this.#end(why);
    }
    for (;;) yield GONE;
  }

  /** Copies and corrections. @returns whether the log behind them is still to come */
  async *#owed(): AsyncGenerator<Passed, boolean, void> {
    try {
      // There is no table that could make up for what the log lacks.
      if (this.#options.repairs && (await this.#isDropped())) return this.#giveUpCopy();
      yield* this.#carryOutOr(copyStep(this.#position, this.#options));
      // A resync that was asked for while another copy was under way.
      yield* this.#carryOutOr(copyStep(this.#position, { ...this.#options, repairs: false }));
      yield* this.#correct();
      yield* this.#carryOutOr(rewindStep(this.#position, this.#options));
      return true;
    } catch (error) {
      // Of a tablet that is no more nothing can be copied; its held log is still there.
      const isGap = error instanceof SpoorError && error.code === 'SPOOR_WAL_GAP';
      if (this.#abort.signal.aborted || isGap || !(await this.#isDropped())) throw error;
      this.#warn(error, 'the tablet was dropped before its rows could be read');
      return this.#giveUpCopy();
    }
  }

  /** @returns whether the log goes on; what it lacks, where it does not, is lost: nobody has it */
  #giveUpCopy(): boolean {
    const isRewind = copyUnderWay(this.#position)?.onlyLog === true; // which owes no row
    this.#lacksCopy = this.#position.copy !== undefined && !isRewind;
    this.#position = withoutCopy(this.#position);
    return !this.#options.repairs;
  }

  /** The log until the tablet is gone; of one that was dropped all that any sidecar has of it. */
  async *#restOfLog(): Reads {
    for (let vain = 0, sinceMs = performance.now(); vain < MAX_VAIN_FILLS;) {
      const before = this.#position;
      const log = await this.#log.open(this.#position, { announceSchema: this.#announces(), ...this.#marks() });
      for (let next = await this.#nextOf(log); next; next = await this.#nextOf(log)) yield next;
      if (!(await this.#isDropped())) return;
      await this.#log.close();
      this.#wait.begin('what the other sidecars have of its log, since it was dropped');
      // Another replica's log may end later than ours.
      const filling = await this.#options.fillRest(this.#position.opId, this.#abort.signal);
      if (filling === 'nobody') return;
      if (this.#position !== before) [vain, sinceMs] = [0, performance.now()];
      if (filling === 'filled') vain++;
      else if (performance.now() - sinceMs > SILENT_MS) return;
      else await pause(ASK_AGAIN_MS, this.#abort.signal);
      this.#wait.end();
      this.#abort.signal.throwIfAborted();
    }
  }

  /** A step, or what takes its place where it cannot be done. */
  async *#carryOutOr(first: CopyStep | null): Reads {
    let step = first;
    while (step !== null) {
      try {
        yield* this.#carryOut(step);
        return;
      } catch (error) {
        const instead = insteadOf(step, obstacleOf(error), this.#position, this.#options);
        if (instead === null) throw error;
        this.#warn(error, instead.because);
        await this.#log.close();
        ({ step } = instead);
      }
    }
  }

  #carryOut(step: CopyStep): Reads {
    switch (step.kind) {
      case 'copy-now':
        return this.#copyNow(step.scope);
      case 'resume':
        return this.#resume(step);
      case 'copy-behind-log':
        return this.#copyBehindLog(step.scope);
      case 'rewind':
        return this.#rewind(step);
    }
  }

  async *#copyNow(scope: CopyScope): Reads {
    using turn = this.#turn(() => this.#cut());
    const cut = await turn.done;
    this.#hasAnnounced = true;
    const at = positionAtCut(this.#position, cut, scope, this.#options);
    yield this.#passed(readOf([announcement(this.#tablet(cut.tableName), cut)], at, cut.time));
    yield* this.#rowsOf(cut.schema);
  }

  async *#resume({ copy }: CopyStep & { kind: 'resume' }): Reads {
    const log = await this.#log.open(this.#position, { announceSchema: false });
    const { schema } = await log.schemaThere();
    await this.#log.close();
    using turn = this.#turn(() => Promise.resolve());
    await turn.done;
    yield* this.#rowsOf(schema, copy);
  }

  /** The cut is made as soon as it is our turn. */
  async *#copyBehindLog(scope: CopyScope): Reads {
    const { resync } = this.#options;
    using turn = this.#turn(() => this.#cut());
    const { read, cut } = yield* this.#logUpToCut(turn);
    const at = { ...read.position, copy: beginCopy(cut, scope), ...(resync !== null && { resync }) };
    yield this.#passed({ ...read, position: at, onlyMarkers: false });
    yield* this.#rowsOf(cut.schema);
  }

  /** Consumers are told before what they know comes again. */
  async *#rewind({ rewind }: CopyStep & { kind: 'rewind' }): Reads {
    const { searchLog, logger } = this.#options;
    using turn = this.#turn(() => this.#cut());
    const { read, cut } = yield* this.#logUpToCut(turn);
    const found = await searchLog(rewind.to, cut.opId, this.#abort.signal);
    const again = rewindScope(rewind, found, cut);
    const { position } = read;
    logger.info(
      { opId: formatOpId(cut.opId), by: again?.rewound.by ?? 'nothing' },
      'shipping again, as it was asked for',
    );
    if (again === null) {
      yield this.#passed({ ...read, position: { ...position, rewound: rewind.id }, onlyMarkers: false });
      return;
    }
    const { scope, rewound } = again;
    const event = rewoundEvent(this.#tablet(position.tableName), cut, rewound);
    const at = {
      ...position,
      copy: beginCopy(cut, scope),
      ...(!scope.onlyLog && { resync: repairOf(position) }),
      rewound: rewind.id,
    };
    yield this.#passed({ ...read, changes: [...read.changes, event], position: at, onlyMarkers: false });
    yield* this.#rowsOf(cut.schema);
  }

  /** What the copy that the position speaks of still owes. */
  async *#rowsOf(schema: TableSchema, copy = copyUnderWay(this.#position)): Reads {
    if (copy === null) throw new TypeError('rows of a copy that was not begun');
    for await (const read of this.#copy.rest(this.#position, copy, schema)) yield this.#passed(read);
  }

  /**
   * The log up to a cut, and there the rows that are asked for as they are at that moment: in their own place among the
   * tablet's operations, so that no older value comes behind a newer one.
   */
  async *#correct(): Reads {
    const { correction, logger } = this.#options;
    if (correction === null || this.#position.corrected === correction.id) return;
    using turn = this.#turn(() => this.#cut());
    const { read, cut } = yield* this.#logUpToCut(turn);
    const rows = await this.#copy.named(cut, correction.keys, read.position);
    const position = { ...read.position, corrected: correction.id };
    logger.info({ rows: rows.length, opId: formatOpId(cut.opId) }, 'rows put right');
    yield this.#passed({ ...read, changes: [...read.changes, ...rows], position, onlyMarkers: false });
  }

  /**
   * The log until the cut comes that is made when it is our turn. That is beside the reading: the tablet may have to wait
   * for its turn, and its changes need not. What is owed stays so until then.
   * @returns the cut, and the read that ends there, which is not given out
   */
  async *#logUpToCut(turn: Turn<Cut>): AsyncGenerator<Passed, AtCut, void> {
    const { copy } = this.#position;
    const owed = copy === undefined ? {} : { copy };
    const marks = copy === undefined ? this.#marks() : {}; // rows that are owed are not there
    const options = { announceSchema: this.#announces(), endsAtCutsOf: this.#options.generation, ...marks };
    const log = await this.#log.open(this.#position, options);
    for (;;) {
      const next = await this.#nextOrCut(log, turn, owed);
      if ('cut' in next) {
        await this.#log.close();
        return next;
      }
      yield next;
    }
  }

  async #nextOrCut(log: TabletChanges, turn: Turn<Cut>, owed: Pick<TabletPosition, 'copy'>): Promise<Passed | AtCut> {
    const read = await turn.meanwhile(log.next());
    if (read.kind === 'gone') throw new Error('the tablet has gone before its rows could be read');
    const cut = read.cut && turn.hasCome ? await turn.done : null;
    if (cut !== null && cut.time === read.cut?.time) return { read, cut };
    return this.#passed({ ...read, position: { ...read.position, ...owed } });
  }

  /** A tablet that was dropped says so behind all that it had. */
  #end(end: TabletEnd): Passed {
    const { opId, tableName, time } = this.#position;
    const hybridTime = this.#time ?? time ?? 0n;
    const change = endEvent(this.#tablet(tableName), { opId, hybridTime }, end, this.#lacksCopy);
    if (change.missing) this.#options.onMissing(change.missing);
    else
      this.#options.logger.info(
        { opId: formatOpId(opId), event: end.event },
        'the tablet was dropped, and all of it is read',
      );
    return this.#passed(readOf([change], { ...withoutCopy(this.#position), ended: true }, hybridTime));
  }

  /** Null where the log has ended. */
  async #nextOf(log: TabletChanges): Promise<Passed | null> {
    const read = await log.next();
    return read.kind === 'gone' ? null : this.#passed(read);
  }

  /** What is about to be given out. */
  #passed(read: ChangeRead): Passed {
    this.#position = read.position;
    this.#time = read.hybridTime;
    return { read };
  }

  async #isDropped(): Promise<boolean> {
    try {
      return (await this.#options.whyGone(this.#abort.signal)) !== null;
    } catch {
      return false; // what failed first is what is told
    }
  }

  /** Waits for a turn among the copies; then `begin` is done. */
  #turn<T>(begin: () => Promise<T>): Turn<T> {
    this.#turns++;
    this.#wait.begin('a turn among the tablets of the stream that are copied at a time');
    const begun = async (): Promise<T> => {
      this.#wait.end();
      return begin();
    };
    return new Turn(this.#options.copySlots, this.#abort.signal, begun, () => {
      this.#turns--;
      this.#wait.end();
    });
  }

  async #cut(): Promise<Cut> {
    const { copier, tablet, generation, logger } = this.#options;
    this.#wait.begin("the cut of its copy, which its leader is to write into the tablet's log");
    const cut = await copier.makeCut(tablet, generation, this.#abort.signal);
    this.#wait.end();
    logger.info({ opId: formatOpId(cut.opId), hybridTime: cut.time.toString() }, 'copying the rows of this moment');
    return cut;
  }

  #tablet(tableName: string): TabletRef {
    return { ...this.#options.tablet, tableName };
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

  #warn(error: unknown, what: string): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.logger.warn({ opId: formatOpId(this.#position.opId), reason }, what);
  }
}
