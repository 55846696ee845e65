import { RowOp } from '../../src/change/change.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import { encodeKey } from '../../src/kudu/key-encoder.ts';
import { MIN_OPID } from '../../src/kudu/opid.ts';
import { RowBlock } from '../../src/kudu/row-block.ts';
import { DataType, type TableSchema } from '../../src/kudu/schema.ts';
import { encodeMarker } from '../../src/change/apply-marker.ts';
import type { CopyBlock, CopyScan, Cut, TableCopier } from '../../src/source/table-copier.ts';
import { searchLog } from '../../src/source/log-search.ts';
import { TabletChanges } from '../../src/source/tablet-changes.ts';
import { TabletSource, type TabletSourceOptions } from '../../src/source/tablet-source.ts';
import { Pace } from '../../src/util/pace.ts';
import { Slots } from '../../src/util/slots.ts';
import type { LogEntry } from '../../src/wal/entry.ts';
import type { LogChunk, LogFeed } from '../../src/wal/log-reader.ts';
import { commit, commitWrite, opId, timeOf, write, writeExtension } from './log-entries.ts';
import { keepingLogger } from './loggers.ts';
import { column, int32, int64 } from './row-bytes.ts';

/** `k`, the key, and `a`. */
const SCHEMA: TableSchema = {
  columns: [
    column('k', DataType.INT64, { isKey: true, id: 10 }),
    column('a', DataType.INT32, { nullable: false, id: 11 }),
  ],
};
const GENERATION = 'g';
export const START: TabletPosition = { opId: MIN_OPID, tableName: 't', schemaVersion: 0 };
export const keyOf = (k: number): Buffer => encodeKey([SCHEMA.columns[0]!], { k: BigInt(k) });

/** The INSERT of row `index` with a = 0. */
export const insert = (index: number): LogEntry[] => [
  write(opId(1, index), SCHEMA, [{ op: RowOp.INSERT, cells: [int64(BigInt(index)), int32(0)] }]),
  commitWrite(opId(1, index), ['applied']),
];
/** A marker that may be the cut of a copy. */
export const marker = (index: number): LogEntry[] => [
  writeExtension(opId(1, index), SCHEMA, encodeMarker({ sidecar: 's', streams: [], cut: GENERATION })),
  commit(opId(1, index), { opType: 3, result: { ops: [] } }),
];

function blockOf(k: number): CopyBlock {
  const block = new RowBlock(SCHEMA, 1, Buffer.concat([int64(BigInt(k)), int32(7)]), Buffer.alloc(0));
  return { block, places: Int32Array.of(0, 1) };
}

/** A table of rows `k`, each with a = 7, cut where it is told. */
export class MemoryCopier implements TableCopier {
  readonly keys: readonly number[];
  readonly cutAt: number;
  /** Index behind which what is stamped behind the cut begins. */
  readonly replayAfter: number | null;
  closed = 0;

  constructor(keys: readonly number[], cutAt: number, replayAfter: number | null = null) {
    this.keys = keys;
    this.cutAt = cutAt;
    this.replayAfter = replayAfter;
  }

  makeCut(): Promise<Cut> {
    const at = opId(1, this.cutAt);
    return Promise.resolve({
      opId: at,
      time: timeOf(at),
      tableName: 't',
      schemaVersion: 0,
      schema: SCHEMA,
      replayAfter: this.replayAfter === null ? null : opId(1, this.replayAfter),
    });
  }

  async *scan(_: unknown, { after }: Pick<CopyScan, 'after'>) {
    try {
      for (const k of this.keys.filter((each) => after === undefined || Buffer.compare(keyOf(each), after) > 0)) {
        await Promise.resolve();
        yield blockOf(k);
      }
    } finally {
      this.closed++;
    }
  }

  async *rows(_: unknown, __: unknown, keys: readonly Buffer[]) {
    for (const key of keys) {
      await Promise.resolve();
      const k = this.keys.find((each) => keyOf(each).equals(key));
      yield { key, found: k === undefined ? null : { ...blockOf(k), row: 0 } };
    }
  }

  count(): Promise<number> {
    return Promise.resolve(this.keys.length);
  }
}

/** A source over a log of these parts, and then of no more: the tablet is gone, or `waits`. */
export function openCopied(
  log: readonly (LogEntry[] | Error)[],
  options: Partial<TabletSourceOptions>,
  end: 'gone' | 'waits' = 'gone',
): TabletSource {
  const feed = (signal: AbortSignal): LogFeed => {
    const segment = {
      kind: 'segment',
      header: { tabletId: 't', sequenceNumber: 1n, schema: SCHEMA, schemaVersion: 0, codec: 'none', batchVersion: 2 },
      restarted: false,
    } as unknown as LogChunk;
    const chunks: (LogChunk | Error)[] = [
      segment,
      ...log.map((part) => (part instanceof Error ? part : { kind: 'entries' as const, entries: part, bytes: 1 })),
    ];
    let isIdle = false;
    const next = async (): Promise<LogChunk> => {
      const chunk = chunks.shift();
      await new Promise((resolve) => setImmediate(resolve)); // a cut is made meanwhile
      if (chunk instanceof Error) throw chunk;
      if (chunk) return chunk;
      if (end === 'waits' && !isIdle) {
        isIdle = true;
        return { kind: 'idle' };
      }
      if (end === 'waits')
        await new Promise<never>((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
        });
      return { kind: 'gone' };
    };
    return { next, [Symbol.asyncDispose]: () => Promise.resolve() };
  };
  const openLog: TabletSourceOptions['openLog'] = (after, more, signal) =>
    new TabletChanges({ ...more, log: feed(signal), tablet: { tableId: 'table', tabletId: 'tablet' }, after });
  return new TabletSource({
    tablet: { tableId: 'table', tabletId: 'tablet' },
    generation: GENERATION,
    joinsAgain: false,
    from: START,
    announceSchema: false,
    repairs: false,
    resync: null,
    correction: null,
    rewind: null,
    searchLog: (whence, until, signal) => searchLog(feed(signal), whence, until),
    resolvedEveryMs: null,
    openLog,
    copier: new MemoryCopier([], 1),
    whyGone: () => Promise.resolve(null),
    onMissing: () => undefined,
    fillRest: () => Promise.resolve('nobody' as const),
    copySlots: new Slots(1),
    pace: new Pace(() => 0),
    logger: keepingLogger(),
    ...options,
  });
}
