import { decodeWrite } from '../change/decode-write.ts';
import type { Change } from '../change/change.ts';
import { RowFormatError } from '../change/row-layout.ts';
import { SpoorError } from '../errors.ts';
import { microsToHybridTime, type HybridTime } from '../kudu/hybrid-time.ts';
import { compareOpIds, formatOpId, type OpId } from '../kudu/opid.ts';
import type { TabletPosition } from '../change/position.ts';
import type { Wait } from '../util/waits.ts';
import { CommitOrder, type CommittedOp } from '../wal/commit-order.ts';
import { OpType, type LogEntry } from '../wal/entry.ts';
import type { LogChunk, LogFeed } from '../wal/log-reader.ts';
import type { SegmentHeader } from '../wal/segment-format.ts';
import { decodeMarker } from '../change/apply-marker.ts';
import type { ChangeRead, ChangeSource } from './change-source.ts';
import { LentRoom } from './lent-room.ts';
import type { SchemaVersion } from './schema-history.ts';
import { skippedEvent } from './source-events.ts';
import { TableInForce, type TableInForceOptions } from './table-in-force.ts';

export interface TabletChangesOptions extends TableInForceOptions {
  readonly log: LogFeed;
  /** Begins with a {@link SchemaChange} that has no `before`: the schema in force at `after`. */
  readonly announceSchema: boolean;
  /** Generation of a stream: a read ends at each cut for its copies, whatever follows. */
  readonly endsAtCutsOf?: string;
  /** Operations whose rows are left out, as somebody asked for: an event says so in their place. */
  readonly skips?: readonly OpId[];
  /** Begins each such interval of the tablet's own time with a {@link ResolvedMark}; without it there are none. */
  readonly resolvedEveryMs?: number;
  /** What is made of a row of the log once it is read takes about so many bytes more; nothing where it is not said. */
  readonly moreBytesPerRow?: () => number;
}

/** A read holds about so many bytes of the log, or one operation: little, since each of many tablets may hold one. */
const MAX_READ_BYTES = 128 << 10;
/** Of what is made of its rows. */
const MAX_MORE_BYTES = 1 << 20;
const NEVER_SKIPPED: ReadonlySet<number> = new Set([OpType.ALTER_SCHEMA, OpType.NO_OP, OpType.CHANGE_CONFIG]);

/**
 * The committed changes of one tablet in the order of its log, from a position on: log entries paired and ordered, the
 * rows read with the schema in force at their own operation, rejected and ignored rows left out.
 *
 * Errors: what {@link CommitOrder} and the log throw; SPOOR_TRANSACTION_UNSUPPORTED at the first operation of a
 * multi-row transaction, whose rows must not be shipped before it commits (kudu-facts 6.4); SPOOR_WAL_UNSUPPORTED at
 * an operation or data type that Spoor does not know; SPOOR_WAL_CORRUPT at a write that does not fit its schema or its
 * results. What was read before the operation in question is delivered first; the error then stays.
 */
export class TabletChanges implements ChangeSource {
  readonly #options: TabletChangesOptions;
  readonly #order: CommitOrder;
  /** Committed and in order, not yet given out; from `#readyAt` on. */
  #ready: CommittedOp[] = [];
  #readyAt = 0;
  readonly #table: TableInForce;
  #announced: boolean;
  /** Whether segments are missing between the last chunk and the next. */
  #skipped = false;
  /** Damage that was passed: if something is missed, this may be why. */
  #damage: SpoorError | null = null;
  /** An entry that could not be taken. It came after all that is ready. */
  #fault: unknown = null;
  readonly #lent: LentRoom;
  /** Of what was given out last. */
  #givenUpTo = 0n;
  /** See {@link TabletPosition.time}. */
  #time: HybridTime | undefined;

  constructor(options: TabletChangesOptions) {
    this.#options = options;
    this.#order = new CommitOrder(options.after.opId);
    this.#table = new TableInForce(options);
    this.#lent = new LentRoom(options.log);
    this.#announced = !options.announceSchema;
    this.#time = options.after.time;
  }

  get committed(): OpId {
    return this.#order.committed;
  }

  get holdsRoom(): boolean {
    return this.#lent.holds;
  }

  get waits(): Wait | null {
    return this.#options.log.waits ?? null;
  }

  async next(): Promise<ChangeRead | { readonly kind: 'gone' }> {
    for (;;) {
      const read = await this.#readReady();
      if (read) return read;
      if (this.#fault !== null) throw this.#fault as Error;
      this.#lent.giveBack(this.#givenUpTo); // who asks for more is done with what he was given
      const chunk = await this.#options.log.next();
      if (chunk.kind === 'gone') return { kind: 'gone' };
      this.#take(chunk);
    }
  }

  #take(chunk: Exclude<LogChunk, { kind: 'gone' }>): void {
    switch (chunk.kind) {
      case 'segment':
        this.#beginSegment(chunk.header, chunk.restarted);
        break;
      case 'entries':
        this.#push(chunk.entries);
        if (chunk.lentBytes !== undefined) this.#lent.take(chunk.entries, chunk.lentBytes);
        break;
      case 'idle':
        break;
      case 'missing':
        // Whether anything wanted was in there shows at the next operation: its index.
        this.#restart();
        this.#skipped = true;
        this.#damage ??= chunk.damage ?? null;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.log[Symbol.asyncDispose]();
  }

  #beginSegment(header: SegmentHeader, restarted: boolean): void {
    if (restarted) this.#restart();
    this.#table.beginSegment(header, restarted || this.#skipped);
    this.#skipped = false;
  }

  /** What was only proposed is forgotten, and what was committed is there already, or comes again. */
  #restart(): void {
    this.#order.restart();
    this.#lent.giveAllBack();
  }

  #push(entries: readonly LogEntry[]): void {
    try {
      for (const entry of entries) this.#order.push(entry);
    } catch (error) {
      this.#fault = this.#damage && isGap(error) ? becauseOf(this.#damage, error) : error;
    }
  }

  /** The next operations after `after` among those that are committed, or null when there are none. */
  async #readReady(): Promise<ChangeRead | null> {
    if (this.#readyAt >= this.#ready.length) {
      this.#ready = this.#order.take();
      this.#readyAt = 0;
    }
    const changes: Change[] = [];
    let first: CommittedOp | null = null;
    let last: CommittedOp | null = null;
    let bytes = 0;
    let rejectedRows = 0;
    let onlyMarkers = true;
    let cut: ChangeRead['cut'];
    const perRow = this.#options.moreBytesPerRow?.() ?? 0;
    let moreBytes = 0;
    while (this.#readyAt < this.#ready.length && bytes < MAX_READ_BYTES && moreBytes < MAX_MORE_BYTES) {
      const op = this.#ready[this.#readyAt]!;
      const isNews = op.replicate.opId.index > this.#options.after.opId.index;
      if (isNews && !this.#table.isSettled) await this.#table.settle();
      const isSkipped = isNews && this.#isSkipped(op);
      try {
        if (isNews && !this.#announced) changes.push(this.#announcement(op));
        if (isSkipped) changes.push(skippedEvent(this.#table.tablet, op.replicate));
        else rejectedRows += this.#apply(op, isNews, changes);
      } catch (error) {
        if (last === null) throw this.#asSpoorError(error, op);
        break; // first what came before; the next read meets it again
      }
      this.#readyAt++;
      this.#givenUpTo = op.replicate.opId.index;
      if (!isNews) continue;
      first ??= op;
      last = op;
      bytes += op.replicate.byteLength;
      const change = changes.at(-1);
      if (perRow > 0 && change?.kind === 'rows') moreBytes += perRow * change.rowCount;
      if (isSkipped) {
        onlyMarkers = false;
        break; // it is in the table all the same: who makes rows whole asks that anew behind it
      }
      if (!isMarker(op)) onlyMarkers = false;
      else if (this.#isCut(op)) {
        cut = { opId: op.replicate.opId, time: op.replicate.hybridTime };
        break;
      }
    }
    if (this.#readyAt >= this.#ready.length) this.#ready.length = 0; // their log memory may go
    if (last === null) return null;
    return {
      kind: 'changes',
      changes,
      position: this.#positionAt(last.replicate.opId),
      hybridTime: last.replicate.hybridTime,
      ...(first !== last && { firstHybridTime: first!.replicate.hybridTime }),
      rejectedRows,
      bytes: bytes + changes.reduce((sum, change) => sum + cellBytes(change), 0),
      onlyMarkers,
      ...(cut && { cut }),
    };
  }

  /** The schema in force at `after`, as soon as the log was read up to there; see the errors of {@link next}. */
  async schemaThere(): Promise<SchemaVersion> {
    const { index } = this.#options.after.opId;
    for (let passed = 0n; ;) {
      if (this.#readyAt >= this.#ready.length) [this.#ready, this.#readyAt] = [this.#order.take(), 0];
      for (let op = this.#ready[this.#readyAt]; op && op.replicate.opId.index <= index;) {
        this.#apply(op, false, []);
        passed = this.#givenUpTo = op.replicate.opId.index;
        op = this.#ready[++this.#readyAt];
      }
      if (this.#readyAt < this.#ready.length) break;
      if (this.#fault !== null) throw this.#fault as Error;
      this.#lent.giveBack(this.#givenUpTo); // who asks for more is done with what he was given
      const chunk = await this.#options.log.next();
      if (chunk.kind === 'gone') throw new Error(`the log ends before index ${index}`);
      this.#take(chunk);
      if (chunk.kind === 'idle' && this.#table.hasSchema && (passed >= index || passed === 0n)) break;
    }
    await this.#table.settle();
    return this.#table.current;
  }

  #isCut({ replicate }: CommittedOp): boolean {
    const { endsAtCutsOf } = this.#options;
    const extension = endsAtCutsOf === undefined ? null : replicate.readExtension();
    return extension !== null && decodeMarker(extension)?.cut === endsAtCutsOf;
  }

  #positionAt(opId: OpId): TabletPosition {
    const { resync, corrected, rewound } = this.#options.after;
    return {
      opId,
      ...this.#table.at(),
      ...(this.#time !== undefined && { time: this.#time }),
      ...(resync !== undefined && { resync }),
      ...(corrected !== undefined && { corrected }),
      ...(rewound !== undefined && { rewound }),
    };
  }

  /** What a log is read by stays: schema changes and the elections of Raft are never left out. */
  #isSkipped({ replicate: { opId, opType } }: CommittedOp): boolean {
    if (this.#options.skips === undefined || NEVER_SKIPPED.has(opType)) return false;
    return this.#options.skips.some((each) => compareOpIds(each, opId) === 0);
  }

  /** Carries out one operation; answers how many of its rows were rejected or ignored. */
  #apply(op: CommittedOp, isNews: boolean, changes: Change[]): number {
    switch (op.replicate.opType) {
      case OpType.WRITE:
        return isNews ? this.#applyWrite(op, changes) : 0;
      case OpType.ALTER_SCHEMA:
        this.#noteTime(op, isNews ? changes : null);
        this.#applyAlter(op, isNews, changes);
        return 0;
      case OpType.PARTICIPANT:
        if (isNews) throw this.#transaction(op);
        return 0;
      case OpType.NO_OP:
        this.#noteTime(op, isNews ? changes : null);
        return 0;
      case OpType.CHANGE_CONFIG:
        return 0; // stamped in no order
      default:
        if (!isNews) return 0;
        throw new RowFormatError('unsupported', `operation type ${op.replicate.opType} is not known`);
    }
  }

  #applyWrite(op: CommittedOp, changes: Change[]): number {
    const { replicate, commit } = op;
    const write = replicate.readWrite();
    if (write.txnId !== null && write.txnId >= 0n) throw this.#transaction(op);
    if (!write.isCommitWait) this.#noteTime(op, changes); // one that waits is stamped ahead of those after it (kudu-facts 5.9)
    const results = commit.readRowResults();
    if (results.length === 0 && write.rows.length === 0) return 0; // a marker, ours or another's
    const batch = decodeWrite({
      tablet: this.#table.tablet,
      opId: replicate.opId,
      hybridTime: replicate.hybridTime,
      layout: this.#table.layoutOf(write.schema),
      rows: write.rows,
      indirect: write.indirect,
      results,
      autoIncrementCounter: write.autoIncrementCounter,
    });
    if (batch.rowCount > 0) changes.push(batch);
    return results.length - batch.rowCount;
  }

  /**
   * What is stamped in order tells that nothing behind it has its time or a lower one (kudu-facts 5.9).
   * @param changes where a mark goes that is due with it; null for none
   */
  #noteTime({ replicate }: CommittedOp, changes: Change[] | null): void {
    const { opId, hybridTime } = replicate;
    if (this.#time !== undefined && hybridTime <= this.#time) return;
    const { resolvedEveryMs } = this.#options;
    if (resolvedEveryMs !== undefined && changes !== null) {
      const interval = microsToHybridTime(BigInt(Math.round(resolvedEveryMs * 1000)));
      const begin = hybridTime - (hybridTime % interval);
      if (this.#time === undefined || this.#time < begin)
        changes.push({ kind: 'resolved', tablet: this.#table.tablet, opId, hybridTime: begin - 1n });
    }
    this.#time = hybridTime;
  }

  #applyAlter(op: CommittedOp, isNews: boolean, changes: Change[]): void {
    const change = this.#table.alter(op, isNews);
    if (change !== null) changes.push(change);
  }

  #announcement({ replicate: { hybridTime } }: CommittedOp): Change {
    this.#announced = true;
    return this.#table.announcement(hybridTime);
  }

  #transaction({ replicate }: CommittedOp): SpoorError {
    return new SpoorError(
      'SPOOR_TRANSACTION_UNSUPPORTED',
      `operation ${formatOpId(replicate.opId)} belongs to a multi-row transaction`,
      { tabletId: this.#options.tablet.tabletId, opId: formatOpId(replicate.opId) },
    );
  }

  #asSpoorError(error: unknown, { replicate }: CommittedOp): SpoorError {
    if (error instanceof SpoorError) return error;
    const message = error instanceof Error ? error.message : String(error);
    // Schema codecs throw a RangeError at a data type that they do not know.
    const unsupported = error instanceof RowFormatError ? error.kind === 'unsupported' : error instanceof RangeError;
    const { path, offset } = replicate.location;
    return new SpoorError(
      unsupported ? 'SPOOR_WAL_UNSUPPORTED' : 'SPOOR_WAL_CORRUPT',
      `${path} byte ${offset}: ${message}`,
      { tabletId: this.#options.tablet.tabletId, opId: formatOpId(replicate.opId), path, offset },
      error,
    );
  }
}

/** What a batch takes beside the log: wide tables have many cells for few bytes of an UPDATE. */
function cellBytes(change: Change): number {
  return change.kind === 'rows' ? change.cells.byteLength : 0;
}

function isGap(error: unknown): error is SpoorError {
  return error instanceof SpoorError && error.code === 'SPOOR_WAL_GAP';
}

function becauseOf(damage: SpoorError, gap: SpoorError): SpoorError {
  return new SpoorError(gap.code, `${gap.message}; the log before that is damaged: ${damage.message}`, gap.fields, gap);
}

/** A write without rows: an apply marker, of whatever deployment. */
function isMarker({ replicate, commit }: CommittedOp): boolean {
  return replicate.opType === OpType.WRITE && commit.readRowResults().length === 0;
}
