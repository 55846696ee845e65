import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CopyOp, RowOp, type Change, type MissingChanges } from '../../../src/change/change.ts';
import type { SinkPosition } from '../../../src/change/position.ts';
import { SpoorError } from '../../../src/errors.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { encodeKey } from '../../../src/kudu/key-encoder.ts';
import { MIN_OPID } from '../../../src/kudu/opid.ts';
import { RowBlock } from '../../../src/kudu/row-block.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { encodeMarker } from '../../../src/replication/apply-marker.ts';
import type { CopyScan, Cut, TableCopier } from '../../../src/replication/table-copier.ts';
import { TabletChanges } from '../../../src/replication/tablet-changes.ts';
import type { ChangeRead } from '../../../src/replication/tablet-replicator.ts';
import { TabletSource, type TabletSourceOptions } from '../../../src/replication/tablet-source.ts';
import { Pace } from '../../../src/util/pace.ts';
import { Slots } from '../../../src/util/slots.ts';
import type { LogEntry } from '../../../src/wal/entry.ts';
import type { LogChunk } from '../../../src/wal/log-reader.ts';
import { eventually } from '../../support/eventually.ts';
import { commit, commitWrite, opId, timeOf, write, writeExtension } from '../../support/log-entries.ts';
import { keepingLogger } from '../../support/loggers.ts';
import { column, int32, int64 } from '../../support/row-bytes.ts';

const SCHEMA: TableSchema = {
  columns: [
    column('k', DataType.INT64, { isKey: true, id: 10 }),
    column('a', DataType.INT32, { nullable: false, id: 11 }),
  ],
};
const GENERATION = 'g';
const START: SinkPosition = { opId: MIN_OPID, tableName: 't', schemaVersion: 0 };
const keyOf = (k: number): Buffer => encodeKey([SCHEMA.columns[0]!], { k: BigInt(k) });

const insert = (index: number): LogEntry[] => [
  write(opId(1, index), SCHEMA, [{ op: RowOp.INSERT, cells: [int64(BigInt(index)), int32(0)] }]),
  commitWrite(opId(1, index), ['applied']),
];
const marker = (index: number): LogEntry[] => [
  writeExtension(opId(1, index), SCHEMA, encodeMarker({ sidecar: 's', streams: [], cut: GENERATION })),
  commit(opId(1, index), { opType: 3, result: { ops: [] } }),
];

/** A table of rows `k`, each with a = 7, cut where it is told. */
class MemoryCopier implements TableCopier {
  readonly rows: readonly number[];
  readonly cutAt: number;
  /** Index behind which what is stamped behind the cut begins. */
  readonly replayAfter: number | null;
  closed = 0;

  constructor(rows: readonly number[], cutAt: number, replayAfter: number | null = null) {
    this.rows = rows;
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

  async *scan(_: unknown, { first }: CopyScan) {
    try {
      const from = first ? this.rows.filter((k) => Buffer.compare(keyOf(k), first) >= 0).slice(0, 1) : this.rows;
      for (const k of from) {
        await Promise.resolve();
        const block = new RowBlock(SCHEMA, 1, Buffer.concat([int64(BigInt(k)), int32(7)]), Buffer.alloc(0));
        yield { block, places: Int32Array.of(0, 1) };
      }
    } finally {
      this.closed++;
    }
  }

  count(): Promise<number> {
    return Promise.resolve(this.rows.length);
  }
}

function open(log: readonly (LogEntry[] | Error)[], options: Partial<TabletSourceOptions>): TabletSource {
  const openLog: TabletSourceOptions['openLog'] = (after, more) => {
    const segment = {
      kind: 'segment',
      header: { tabletId: 't', sequenceNumber: 1n, schema: SCHEMA, schemaVersion: 0, codec: 'none', batchVersion: 2 },
      restarted: false,
    } as unknown as LogChunk;
    const chunks: (LogChunk | Error)[] = [
      segment,
      ...log.map((part) => (part instanceof Error ? part : { kind: 'entries' as const, entries: part, bytes: 1 })),
    ];
    const next = async (): Promise<LogChunk> => {
      const chunk = chunks.shift();
      await new Promise((resolve) => setImmediate(resolve)); // a cut is made meanwhile
      if (chunk instanceof Error) throw chunk;
      return chunk ?? { kind: 'gone' };
    };
    return new TabletChanges({
      ...more,
      log: { next, [Symbol.asyncDispose]: () => Promise.resolve() },
      tablet: { tableId: 'table', tabletId: 'tablet' },
      after,
    });
  };
  return new TabletSource({
    tablet: { tableId: 'table', tabletId: 'tablet' },
    generation: GENERATION,
    from: START,
    announceSchema: false,
    repairs: false,
    resync: null,
    correction: null,
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

async function readAll(source: TabletSource): Promise<ChangeRead[]> {
  const reads: ChangeRead[] = [];
  for (;;) {
    const read = await source.next();
    if (read.kind === 'gone') return reads;
    reads.push(read);
  }
}

/** `2 INSERT 2`, `5 ROW 3` or `5 DELETED 4`: index, what, key. */
function seen(reads: readonly ChangeRead[]): string[] {
  const json = compileJson({ streamName: 's', version: '0', tombstones: false });
  const names = new Map<number, string>([
    [RowOp.INSERT, 'INSERT'],
    [CopyOp.ROW, 'ROW'],
    [CopyOp.DELETED, 'DELETED'],
  ]);
  const rowsOf = (change: Change): string[] =>
    change.kind === 'rows'
      ? json.encode(change).map(({ key }, row) => {
          const op = names.get(change.ops[row]!)!;
          return `${change.opId.index} ${op} ${(JSON.parse(key.toString()) as { k: number }).k}`;
        })
      : [`${change.opId.index} ${change.kind === 'event' ? change.event : change.kind}`];
  return reads.flatMap(({ changes }) => changes.flatMap(rowsOf));
}

describe('the source of a tablet', () => {
  it('gives its turn among the copies back when it is closed between two reads', async () => {
    const copySlots = new Slots(1);
    const copier = new MemoryCopier([1, 2, 3], 1);
    const source = open([], { copySlots, copier, from: { ...START, copy: 'wanted' } });
    await source.next(); // the schema
    await source.next(); // a row: its scan goes on
    await source[Symbol.asyncDispose]();
    assert.equal(copier.closed, 1, 'the scanner was closed');
    let isFree = false;
    void copySlots.acquire(AbortSignal.timeout(1000)).then(() => (isFree = true));
    await eventually('the next tablet may be copied', () => isFree);
  });

  it('puts rows right at a cut, in their own place among the operations', async () => {
    const correction = { id: 'c1', keys: [keyOf(2), keyOf(9)] };
    const log = [insert(1), insert(2), marker(3), insert(4)];
    const reads = await readAll(open(log, { correction, copier: new MemoryCopier([1, 2, 4], 3) }));
    assert.deepEqual(seen(reads), ['1 INSERT 1', '2 INSERT 2', '3 ROW 2', '3 DELETED 9', '4 INSERT 4']);
    assert.deepEqual(reads.map(({ position }) => [position.opId.index, position.corrected]).slice(-2), [
      [3n, 'c1'],
      [4n, 'c1'],
    ]);
    const again = open(log, { correction, from: { ...START, corrected: 'c1' } });
    assert.deepEqual(seen(await readAll(again)), ['1 INSERT 1', '2 INSERT 2', '4 INSERT 4'], 'it is done once');
  });

  it('ships again, behind a copy, what is stamped behind its cut and what follows that (COMMIT_WAIT, trap 44)', async () => {
    const log = [insert(1), insert(2), insert(3), marker(4), insert(5)];
    // Operation 2 waited for its time: it is before the cut in the log, and the rows as they were then lack it.
    const copier = new MemoryCopier([1, 3], 4, 1);
    const reads = await readAll(open(log, { copier, from: { ...START, copy: 'wanted' } }));
    const rows = ['4 schema', '4 ROW 1', '4 ROW 3', '2 INSERT 2', '3 INSERT 3', '5 INSERT 5'];
    assert.deepEqual(seen(reads), rows);
    const done = reads.findIndex(({ completes }) => completes !== undefined);
    assert.deepEqual(seen([reads[done]!]), ['2 INSERT 2', '3 INSERT 3'], 'the copy is whole when they are in the sink');
    assert.equal(reads[done]!.position.opId.index, 4n);

    // A crash before that begins the replay again, whatever of the rows is in the sink.
    const from = reads[done - 1]!.position;
    const again = await readAll(open(log, { copier: new MemoryCopier([1, 3], 4, 1), from }));
    assert.deepEqual(seen(again).slice(-3), ['2 INSERT 2', '3 INSERT 3', '5 INSERT 5']);
  });

  it('copies all rows when that was asked for, although the log cannot be read up to there', async () => {
    const fault = new SpoorError('SPOOR_WAL_CORRUPT', 'wal-000000001 byte 7: bad');
    const source = open([insert(1), fault], { resync: 'r1', copier: new MemoryCopier([1, 2], 5) });
    const reads: ChangeRead[] = [];
    while (reads.at(-1)?.completes === undefined) reads.push((await source.next()) as ChangeRead);
    assert.deepEqual(seen(reads), ['1 INSERT 1', '5 schema', '5 ROW 1', '5 ROW 2', '5 recopied']);
    await source[Symbol.asyncDispose]();

    const unasked = open([insert(1), fault], {});
    await unasked.next();
    await assert.rejects(unasked.next(), fault);
  });

  describe('of a tablet that was dropped', () => {
    const DROPPED = { event: 'range-dropped' as const, partition: null, lastIndex: 1n };
    const dropped = { whyGone: () => Promise.resolve(DROPPED) };
    const upTo = (lastIndex: bigint) => ({ whyGone: () => Promise.resolve({ ...DROPPED, lastIndex }) });
    /** What its end says, and what was told once of it. */
    async function missingOf(log: Parameters<typeof open>[0], options: Parameters<typeof open>[1]) {
      const told: MissingChanges[] = [];
      const reads = await readAll(open(log, { ...options, onMissing: (missing) => told.push(missing) }));
      const [end] = reads.at(-1)!.changes;
      assert.ok(end?.kind === 'event' && reads.at(-1)!.position.ended);
      assert.deepEqual(told, end.missing === null ? [] : [end.missing]);
      return { seen: seen(reads), missing: end.missing };
    }

    it('gives all of its log and then its end, although the copy that it owes cannot be had any more', async () => {
      const copier = new MemoryCopier([], 9);
      copier.makeCut = () => Promise.reject(new Error('no such tablet'));
      const owing: SinkPosition = { ...START, copy: 'wanted' };
      const reads = await readAll(open([insert(1), insert(2)], { ...dropped, copier, from: owing }));
      assert.deepEqual(seen(reads), ['1 INSERT 1', '2 INSERT 2', '2 range-dropped']);
      assert.equal(reads.at(-1)!.position.ended, true);
    });

    it('takes no fault of the log for its end', async () => {
      const source = open([insert(1), new Error('EIO')], dropped);
      assert.deepEqual(seen([(await source.next()) as ChangeRead]), ['1 INSERT 1']);
      await assert.rejects(source.next(), /EIO/);
    });

    it('gives what only another sidecar has of its log before its end', async () => {
      const log = [insert(1)];
      const asked: bigint[] = [];
      const fillRest: TabletSourceOptions['fillRest'] = ({ index }) => {
        asked.push(index);
        if (index === 1n) log.push(insert(2));
        return Promise.resolve(index === 1n ? 'filled' : 'nobody');
      };
      const reads = await readAll(open(log, { ...dropped, fillRest }));
      assert.deepEqual(seen(reads), ['1 INSERT 1', '2 INSERT 2', '2 range-dropped']);
      assert.deepEqual(asked, [1n, 2n]);
    });

    it('says in its end what is missing, where its log ends before what was known to be in it', async () => {
      assert.deepEqual(await missingOf([insert(1), insert(2)], upTo(2n)), {
        seen: ['1 INSERT 1', '2 INSERT 2', '2 range-dropped'],
        missing: null,
      });
      assert.deepEqual(await missingOf([insert(1)], upTo(7n)), {
        seen: ['1 INSERT 1', '1 range-dropped'],
        missing: { operations: { fromIndex: 2n, toIndex: 7n }, copy: false },
      });
    });

    it('ends at a gap that nobody fills, without a try to copy what is not there', async () => {
      const copier = new MemoryCopier([], 9);
      copier.makeCut = () => new Promise(() => undefined);
      const from: SinkPosition = { ...START, opId: opId(1, 4) };
      assert.deepEqual(await missingOf([insert(9)], { ...upTo(9n), copier, from, repairs: true }), {
        seen: ['4 range-dropped'],
        missing: { operations: { fromIndex: 5n, toIndex: 9n }, copy: false },
      });
    });

    it('says that rows are missing whose copy was not whole', async () => {
      const copier = new MemoryCopier([], 9);
      copier.makeCut = () => Promise.reject(new Error('no such tablet'));
      const from: SinkPosition = { ...START, copy: 'wanted' };
      assert.deepEqual((await missingOf([insert(1)], { ...upTo(1n), copier, from })).missing, {
        operations: null,
        copy: true,
      });
    });

    it('does not ask for ever where what is given brings nothing', async () => {
      const reads = await readAll(open([insert(1)], { ...dropped, fillRest: () => Promise.resolve('filled') }));
      assert.deepEqual(seen(reads), ['1 INSERT 1', '1 range-dropped']);
    });
  });
});
