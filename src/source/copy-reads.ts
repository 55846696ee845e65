import type { Change, TabletRef } from '../change/change.ts';
import { copiedRows, deletedRow, encodedKey } from '../change/copied-rows.ts';
import { isResync, type CopyProgress, type TabletPosition } from '../change/position.ts';
import { rowsWithKeys } from '../change/row-key.ts';
import { sliceRows } from '../change/slice-rows.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { Logger } from '../util/logger.ts';
import type { Pace } from '../util/pace.ts';
import type { CurrentWait } from '../util/waits.ts';
import type { ChangeRead } from './change-source.ts';
import { withoutCopy } from './copy-plan.ts';
import type { SourceLog } from './source-log.ts';
import type { Cut, TableCopier } from './table-copier.ts';

export interface CopyReadsOptions {
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  readonly generation: string;
  readonly copier: TableCopier;
  /** Rows a second. */
  readonly pace: Pace;
  readonly log: SourceLog;
  readonly wait: CurrentWait;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Longer keys do not fit where positions are kept: rows behind the last one that does are read again and passed over. */
const MAX_KEPT_KEY_BYTES = 1024;
/** Rows of a copy that are one read at most: a batch of the sink holds some of them. */
const MAX_ROWS_PER_READ = 4096;

/** The rows of a tablet as they were at a cut, as reads. */
export class CopyReads {
  /** How many the copy has in all; null while that is not known. */
  rowCount: number | null = null;
  readonly #options: CopyReadsOptions;
  readonly #counting = new Set<Promise<unknown>>();

  constructor(options: CopyReadsOptions) {
    this.#options = options;
  }

  /** Resolves when nothing is counted any more; behind an aborted signal. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#counting);
  }

  /** The rows that are still to come, and the end of the copy. */
  async *rest(from: TabletPosition, copy: CopyProgress, schema: TableSchema): AsyncGenerator<ChangeRead, void, void> {
    const { tablet, copier, pace, wait, signal, logger } = this.#options;
    const { at, since, replaces, replayAfter, onlyLog = false } = copy;
    let { rows, key } = copy;
    if (!onlyLog) this.#count(copy);
    const ref: TabletRef = { ...tablet, tableName: from.tableName };
    const scan = { at, schema, schemaVersion: from.schemaVersion, ...(since !== undefined && { since }) };
    const kind = isResync(copy, from.resync) ? 'incremental' : 'base';
    const progress = (): CopyProgress => ({ ...copy, rows, ...(key && { key }) });
    let known = rows - (key?.rows ?? 0); // behind the key, and in the sink
    const blocks = onlyLog ? [] : copier.scan(tablet, { ...scan, ...(key && { after: key.after }) }, signal);
    for await (const { block, places } of blocks) {
      const skip = Math.min(known, block.rowCount);
      known -= skip;
      const batch = copiedRows({
        copy: kind,
        tablet: ref,
        opId: from.opId,
        hybridTime: at,
        schema,
        block,
        places,
        skip,
      });
      const rowBytes = (block.rows.length + block.indirect.length) / Math.max(1, block.rowCount);
      for (let next = 0; next < batch.rowCount;) {
        const part = sliceRows(batch, next, next + Math.min(MAX_ROWS_PER_READ, pace.most));
        wait.begin('copyRowsPerSecond, which bounds how fast its rows are copied');
        await pace.take(part.rowCount, signal);
        wait.end();
        next += part.rowCount;
        rows += part.rowCount;
        const last = encodedKey(schema, block, places, skip + next - 1);
        if (last.length <= MAX_KEPT_KEY_BYTES) key = { after: last, rows };
        yield readOf([part], { ...from, copy: progress() }, at, Math.round(rowBytes * part.rowCount));
      }
    }
    let last: ChangeRead | null = null;
    for await (const read of replayAfter ? this.#replay(from, replayAfter, at) : []) {
      if (last !== null) {
        const replayed = { ...progress(), replayAfter: last.position.opId };
        yield readOf(last.changes, { ...from, copy: replayed }, at, last.bytes);
      }
      last = read;
    }
    const changes: Change[] = [...(last?.changes ?? [])];
    if (replaces)
      changes.push({ kind: 'event', event: 'recopied', tablet: ref, opId: from.opId, hybridTime: at, ...NOTHING });
    const what = onlyLog ? 'what was asked for is shipped again' : 'copy finished';
    logger.info({ rows, opId: formatOpId(from.opId), hybridTime: at.toString() }, what);
    yield { ...readOf(changes, withoutCopy({ ...from, time: at }), at, last?.bytes), completes: copy };
  }

  /** The rows with these keys as they are at the cut; of one that is not there, its delete. */
  async named(cut: Cut, keys: readonly Buffer[], behind: TabletPosition): Promise<Change[]> {
    const { copier, tablet, signal } = this.#options;
    const { opId, time, schema, schemaVersion, tableName } = cut;
    const ref: TabletRef = { ...tablet, tableName };
    const changes: Change[] = [];
    const scan = { at: time, schema, schemaVersion };
    const common = { copy: 'incremental', tablet: ref, opId, hybridTime: time, schema } as const;
    for await (const { key, found } of copier.rows(tablet, scan, keys, signal)) {
      if (found === null) changes.push(deletedRow({ ...common, key }));
      else changes.push(copiedRows({ ...common, ...found, skip: found.row, take: 1 }));
    }
    if (cut.replayAfter === null) return changes;
    // Of other rows the sink has the last value already.
    const named = new Set(keys.map((key) => key.toString('hex')));
    for await (const read of this.#replay(behind, cut.replayAfter, time))
      for (const change of read.changes) if (change.kind === 'rows') changes.push(...rowsWithKeys(change, named));
    return changes;
  }

  /**
   * The log up to the cut once more: what a rewind asks for, or operations that are stamped behind the cut, which are not in the
   * copy. These are shipped behind it, and those after them once more: an older value behind a newer one is followed by the newer one again. That may be all that was written
   * in ten seconds: it comes in reads like those of any log, without those that change nothing.
   */
  async *#replay(from: TabletPosition, after: OpId, cutTime: HybridTime): AsyncGenerator<ChangeRead, void, void> {
    const { generation, log } = this.#options;
    const { tableName, schemaVersion: named } = from;
    const position: TabletPosition = { opId: after, tableName, schemaVersion: 0, named };
    const changes = await log.open(position, { announceSchema: false, endsAtCutsOf: generation });
    for (;;) {
      const read = await changes.next();
      if (read.kind === 'gone') throw new Error('the tablet has gone before its copy was whole');
      if (read.changes.length > 0) yield read;
      if (read.cut?.time === cutTime) break;
    }
    await log.close();
  }

  /** Beside the copy, which needs no number to run. */
  #count({ at, since }: CopyProgress): void {
    this.rowCount = null;
    if (since !== undefined) return;
    const { copier, tablet, signal, logger } = this.#options;
    const counting: Promise<void> = copier
      .count(tablet, at, signal)
      .then(
        (rows) => void (this.rowCount = rows),
        (error: unknown) => {
          logger.debug({ err: error }, 'the rows of a copy were not counted');
        },
      )
      .finally(() => this.#counting.delete(counting));
    this.#counting.add(counting);
  }
}

const NOTHING = { partition: null, missing: null };

/** A read that is none of the log. */
export function readOf(
  changes: readonly Change[],
  position: TabletPosition,
  hybridTime: HybridTime,
  bytes = 0,
): ChangeRead {
  return { kind: 'changes', changes, position, hybridTime, rejectedRows: 0, bytes, onlyMarkers: false };
}
