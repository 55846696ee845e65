import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowOp, type Change } from '../../../src/change/change.ts';
import { SpoorError, type ErrorCode } from '../../../src/errors.ts';
import { formatOpId, MIN_OPID } from '../../../src/kudu/opid.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { positionJson, positionToJson } from '../../../src/change/position.ts';
import { encodeMarker } from '../../../src/change/apply-marker.ts';
import type { SchemaVersion } from '../../../src/source/schema-history.ts';
import { TabletChanges, type TabletChangesOptions } from '../../../src/source/tablet-changes.ts';
import type { ChangeRead } from '../../../src/source/change-source.ts';
import { OpType, type LogEntry } from '../../../src/wal/entry.ts';
import type { LogChunk } from '../../../src/wal/log-reader.ts';
import {
  alter,
  commit,
  commitAlter,
  commitWrite,
  opId,
  replicate,
  timeOf,
  write,
  writeExtension,
} from '../../support/log-entries.ts';
import { column, int32, int64 } from '../../support/row-bytes.ts';

const KEY = column('k', DataType.INT64, { isKey: true, id: 10 });
const A = column('a', DataType.INT32, { nullable: true, id: 11 });
const V0: TableSchema = { columns: [KEY, A] };
const V1: TableSchema = { columns: [KEY, A, column('b', DataType.INT32, { id: 12, writeDefault: int32(7) })] };
const V2: TableSchema = { columns: [KEY, { ...A, name: 'renamed' }, V1.columns[2]!] };

const segment = (schema = V0, schemaVersion = 0, restarted = false): LogChunk => ({
  kind: 'segment',
  header: { tabletId: 'tablet1', sequenceNumber: 1n, schema, schemaVersion, codec: 'none', batchVersion: 2 } as never,
  restarted,
});
const entries = (...list: LogEntry[]): LogChunk => ({ kind: 'entries', entries: list, bytes: 1 });
const insert = (term: number, index: number, schema = V0): LogEntry[] => [
  write(opId(term, index), schema, [{ op: RowOp.INSERT, cells: [int64(BigInt(index))] }]),
  commitWrite(opId(term, index), ['applied']),
];
const noOp = (term: number, index: number): LogEntry[] => [replicate(opId(term, index)), commit(opId(term, index))];
const altered = (index: number, schema: TableSchema, version: number, name?: string): LogEntry[] => [
  alter(opId(1, index), schema, version, name),
  commitAlter(opId(1, index)),
];

function open(chunks: readonly LogChunk[], more: Partial<TabletChangesOptions> = {}): TabletChanges {
  const left = [...chunks, { kind: 'idle' } as const, { kind: 'gone' } as const];
  return new TabletChanges({
    log: {
      next: () => Promise.resolve(left.shift() ?? { kind: 'gone' }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    tablet: { tableId: 'table1', tabletId: 'tablet1' },
    after: { opId: MIN_OPID, tableName: 'shop.orders', schemaVersion: 0 },
    announceSchema: false,
    ...more,
  });
}

async function readAll(changes: TabletChanges): Promise<ChangeRead[]> {
  const reads: ChangeRead[] = [];
  for (;;) {
    const read = await changes.next();
    if (read.kind === 'gone') return reads;
    reads.push(read);
  }
}

/** `1.3 rows k,a 1` or `1.4 schema v1 shop.orders`, one a change. */
function describeChange(change: Change): string {
  if (change.kind === 'schema')
    return `${formatOpId(change.opId)} schema v${change.version} ${change.before?.tableName ?? '-'} > ${change.after.tableName}`;
  if (change.kind === 'resolved') return `${formatOpId(change.opId)} resolved ${change.hybridTime}`;
  if (change.kind === 'event') return `${formatOpId(change.opId)} ${change.event}`;
  const columns = change.schema.columns.map(({ name }) => name).join();
  return `${formatOpId(change.opId)} rows ${columns} ${change.rowCount} ${change.tablet.tableName}`;
}
const seen = (reads: readonly ChangeRead[]): string[] => reads.flatMap((read) => read.changes.map(describeChange));
const fails = async (code: ErrorCode, promise: Promise<unknown>): Promise<void> =>
  assert.rejects(promise, (error) => error instanceof SpoorError && error.code === code);

describe('TabletChanges', () => {
  it('gives the changes of committed operations, and moves on over those that change nothing', async () => {
    const log = [segment(), entries(...noOp(1, 1), ...insert(1, 2)), entries(...noOp(2, 3))];
    const [first, second, ...rest] = await readAll(open(log));
    assert.deepEqual(seen([first!]), ['1.2 rows k,a 1 shop.orders']);
    assert.deepEqual(
      { ...first, changes: [], bytes: 0 },
      {
        kind: 'changes',
        changes: [],
        position: { opId: opId(1, 2), tableName: 'shop.orders', schemaVersion: 0, time: timeOf(opId(1, 2)) },
        hybridTime: timeOf(opId(1, 2)),
        firstHybridTime: timeOf(opId(1, 1)),
        rejectedRows: 0,
        onlyMarkers: false,
        bytes: 0,
      },
    );
    assert.deepEqual([second!.changes, formatOpId(second!.position.opId)], [[], '2.3']);
    assert.equal(rest.length, 0);
  });

  it('leaves rejected and ignored rows out and counts them; a write of such rows alone makes no change (trap 17)', async () => {
    const row = (k: bigint): { op: number; cells: Buffer[] } => ({ op: RowOp.INSERT, cells: [int64(k)] });
    const log = [
      segment(),
      entries(
        write(opId(1, 1), V0, [row(1n), row(2n), row(3n)]),
        commitWrite(opId(1, 1), ['rejected', 'applied', 'ignored']),
        write(opId(1, 2), V0, [row(1n)]),
        commitWrite(opId(1, 2), ['ignored']),
      ),
    ];
    const [read] = await readAll(open(log));
    assert.equal(read!.rejectedRows, 3);
    assert.equal(read!.changes.length, 1);
    assert.deepEqual([...(read!.changes[0] as { rowIndexes: Int32Array }).rowIndexes], [1]);
  });

  it('marks what is resolved at the first operation of each interval of the log, wherever reading begins', async () => {
    // An operation a microsecond apart (timeOf): every third of them begins an interval of three, as the log has it.
    const log = [segment(), entries(...Array.from({ length: 8 }, (_, i) => insert(1, i + 1)).flat())];
    const marks = async (more: Partial<TabletChangesOptions>): Promise<string[]> =>
      seen(await readAll(open(log, { resolvedEveryMs: 0.003, ...more }))).filter((text) => text.includes('resolved'));
    const all = await marks({});
    for (const mark of all) {
      const [index, resolved] = [BigInt(mark.split(/[. ]/)[1]!), BigInt(mark.split(' ')[2]!)];
      assert.ok(timeOf(opId(1, Number(index))) > resolved, 'it stands before what is later');
      assert.ok(index === 1n || timeOf(opId(1, Number(index) - 1)) <= resolved, 'and behind what is not');
    }
    assert.equal(all.length, 4);
    const after = opId(1, 4);
    const position = { opId: after, tableName: 'shop.orders', schemaVersion: 0, time: timeOf(after) };
    assert.deepEqual(
      await marks({ after: position }),
      all.filter((mark) => BigInt(mark.split(/[. ]/)[1]!) > 4n),
    );
  });

  it('orders by OpId and not by time where a write waited for its time (COMMIT_WAIT, trap 44)', async () => {
    const row = { op: RowOp.UPSERT, cells: [int64(1n)] };
    const ahead = 5_000_000n << 12n;
    const waits = [write(opId(1, 2), V0, [row], { commitWaitAhead: ahead }), commitWrite(opId(1, 2), ['applied'])];
    const list = [...insert(1, 1), ...waits, ...insert(1, 3)];
    const reads = await readAll(open([segment(), entries(...list)], { resolvedEveryMs: 0.001 }));
    const rows = reads.flatMap(({ changes }) => changes).filter(({ kind }) => kind === 'rows');
    assert.deepEqual(
      rows.map((change) => formatOpId(change.opId)),
      ['1.1', '1.2', '1.3'],
    );
    assert.equal(
      (rows[1] as { hybridTime: bigint }).hybridTime,
      timeOf(opId(1, 2)) + ahead,
      'its time is told as it is',
    );
    // What is resolved goes by those that are stamped in order: the third would else be behind a mark of its future.
    assert.equal(reads.at(-1)!.position.time, timeOf(opId(1, 3)));
    const marks = reads.flatMap(({ changes }) => changes).filter((change) => change.kind === 'resolved');
    assert.deepEqual(
      marks.map((mark) => [formatOpId(mark.opId), mark.hybridTime < timeOf(mark.opId)]),
      [
        ['1.1', true],
        ['1.3', true],
      ],
    );
  });

  it('takes the same rows written twice for two changes: what Kudu committed twice happened twice (trap 43)', async () => {
    const row = { op: RowOp.UPSERT, cells: [int64(1n), int32(5)] };
    const twice = [1, 2].flatMap((index) => [
      write(opId(1, index), V0, [row], { requestSequence: 7n }),
      commitWrite(opId(1, index), ['applied']),
    ]);
    assert.deepEqual(seen(await readAll(open([segment(), entries(...twice)]))), [
      '1.1 rows k,a 1 shop.orders',
      '1.2 rows k,a 1 shop.orders',
    ]);
  });

  it('passes over a write without rows: a marker', async () => {
    const marker = [write(opId(1, 1), V0, []), commitWrite(opId(1, 1), [])];
    const [read] = await readAll(open([segment(), entries(...marker)]));
    assert.deepEqual([read!.changes, formatOpId(read!.position.opId)], [[], '1.1']);
  });

  it('passes over an extension among rows, whatever schema its request has, and one that never committed', async () => {
    const stale: TableSchema = { columns: [{ ...KEY, name: 'former' }, column('dropped', DataType.DECIMAL64)] };
    const log = [
      segment(),
      entries(
        ...insert(1, 1),
        writeExtension(opId(1, 2), stale, Buffer.from('not a marker of ours')),
        commitWrite(opId(1, 2), []),
        writeExtension(opId(1, 3), V0, encodeMarker({ sidecar: 'here', streams: [] })), // overwritten by the next term
        ...noOp(2, 3),
        ...insert(2, 4),
      ),
    ];
    const reads = await readAll(open(log));
    assert.deepEqual(seen(reads), ['1.1 rows k,a 1 shop.orders', '2.4 rows k,a 1 shop.orders']);
    assert.equal(
      reads.reduce((sum, { rejectedRows }) => sum + rejectedRows, 0),
      0,
    );
  });

  it('reads each row with the schema in force at its own operation (traps 15, 21, 22)', async () => {
    const log = [
      segment(),
      entries(...insert(1, 1), ...altered(2, V1, 1), ...insert(1, 3), ...altered(4, V2, 2, 'shop.new')),
      segment(V2, 2),
      entries(...insert(1, 5, { columns: [KEY] })),
    ];
    const reads = await readAll(open(log));
    assert.deepEqual(seen(reads), [
      '1.1 rows k,a 1 shop.orders',
      '1.2 schema v1 shop.orders > shop.orders',
      '1.3 rows k,a,b 1 shop.orders',
      '1.4 schema v2 shop.orders > shop.new',
      '1.5 rows k,renamed,b 1 shop.new',
    ]);
    const { tableName, schemaVersion } = reads.at(-1)!.position;
    assert.deepEqual([tableName, schemaVersion], ['shop.new', 2]);
  });

  describe('go by the name of their own moment, or the one that their table joined by', () => {
    // Made as `orders_new`, altered, renamed to `orders`, by which it joined; then renamed once more.
    const swap = [
      segment(),
      entries(
        ...insert(1, 1),
        ...altered(2, V1, 1, 'orders_new'),
        ...insert(1, 3, V1),
        ...altered(4, V1, 2, 'orders'),
        ...insert(1, 5, V1),
        ...altered(6, V2, 3, 'orders_old'),
        ...insert(1, 7, V2),
      ),
    ];
    const joined = { opId: MIN_OPID, tableName: 'orders', schemaVersion: 0 };
    const namesOf = (reads: readonly ChangeRead[]): string[] =>
      reads.flatMap(({ changes }) =>
        changes.map((change) =>
          change.kind === 'schema' ? describeChange(change) : `${formatOpId(change.opId)} ${change.tablet.tableName}`,
        ),
      );
    const WHOLE = [
      '1.1 orders',
      '1.2 schema v1 orders > orders',
      '1.3 orders',
      '1.4 schema v2 orders > orders',
      '1.5 orders',
      '1.6 schema v3 orders > orders_old',
      '1.7 orders_old',
    ];

    it('names of before it joined are history, later ones are followed', async () => {
      for (const now of [
        { tableName: 'orders', schemaVersion: 2 },
        { tableName: 'orders_old', schemaVersion: 3 }, // renamed between joining and being read
      ]) {
        const changes = open(swap, { after: joined, lookUpName: () => Promise.resolve(now) });
        assert.deepEqual(namesOf(await readAll(changes)), WHOLE);
      }
    });

    it('whoever goes on from a position, once or often, goes by the same names and asks no more', async () => {
      const first = open(swap, {
        after: joined,
        lookUpName: () => Promise.resolve({ tableName: 'orders', schemaVersion: 2 }),
      });
      const [{ position: end } = { position: joined }] = await readAll(first);
      assert.deepEqual(end, { opId: opId(1, 7), tableName: 'orders_old', schemaVersion: 3, time: timeOf(opId(1, 7)) });
      for (let stop = 1; stop < 7; stop++) {
        const part = open([segment(), entries(...logUpTo(stop))], {
          after: joined,
          lookUpName: () => Promise.resolve({ tableName: 'orders', schemaVersion: 2 }),
        });
        const [read] = await readAll(part);
        const stored = positionJson.parse(JSON.parse(JSON.stringify(positionToJson(read!.position))));
        assert.equal(stored.named, stop < 4 ? 2 : undefined);
        const rest = open(swap, {
          after: stored,
          lookUpName: () => assert.fail('the position knows'),
        });
        assert.deepEqual([...namesOf([read!]), ...namesOf(await readAll(rest))], WHOLE, `stopped at ${stop}`);
      }
    });

    it('what was born after a rename never had the other name', async () => {
      const changes = open([segment(V2, 3), entries(...insert(1, 1, V2))], {
        after: joined,
        lookUpName: () => Promise.resolve({ tableName: 'orders_old', schemaVersion: 3 }),
      });
      assert.deepEqual(namesOf(await readAll(changes)), ['1.1 orders_old']);
    });

    it('a rename is followed at its own operation, whatever ALTERs come behind it', async () => {
      const more = [...swap, entries(...altered(8, V2, 4, 'orders_old'), ...altered(9, V2, 5, 'orders_older'))];
      const changes = open(more, {
        after: joined,
        lookUpName: () => Promise.resolve({ tableName: 'orders_older', schemaVersion: 5 }),
      });
      const told = namesOf(await readAll(changes));
      assert.deepEqual(told.slice(0, 7), WHOLE);
      assert.deepEqual(told.slice(7), [
        '1.8 schema v4 orders_old > orders_old',
        '1.9 schema v5 orders_old > orders_older',
      ]);
    });

    it('what was dropped before it was read goes by its last name', async () => {
      const after = { ...joined, tableName: 'orders_old' };
      const reads = await readAll(open(swap, { after, lookUpName: () => Promise.resolve(null) }));
      assert.deepEqual(
        [...new Set(reads.flatMap(({ changes }) => changes.map(({ tablet }) => tablet.tableName)))],
        ['orders_old'],
      );
    });

    it('and so do the announced schema and marks', async () => {
      const changes = open(swap, {
        after: joined,
        announceSchema: true,
        resolvedEveryMs: 0.001,
        lookUpName: () => Promise.resolve({ tableName: 'orders', schemaVersion: 2 }),
      });
      const [read] = await readAll(changes);
      const marks = read!.changes.filter(({ kind }) => kind === 'resolved');
      assert.deepEqual(
        marks.map(({ tablet }) => tablet.tableName),
        [...Array<string>(6).fill('orders'), 'orders_old'],
      );
      assert.equal(describeChange(read!.changes.find(({ kind }) => kind === 'schema')!), '0.0 schema v0 - > orders');
    });

    function logUpTo(last: number): LogEntry[] {
      const all = (swap[1] as { entries: readonly LogEntry[] }).entries;
      return all.slice(0, last * 2);
    }
  });

  it('leaves out an operation that somebody has named, says so in its place, and cannot lose an ALTER by it', async () => {
    const unknown = [replicate(opId(1, 3), { opType: 99 }), commit(opId(1, 3), { opType: 99 })];
    const log = [
      segment(),
      entries(...insert(1, 1), ...insert(1, 2), ...unknown, ...altered(4, V1, 1), ...insert(1, 5, V1)),
    ];
    await assert.rejects(readAll(open(log)), /operation type 99 is not known/);
    const reads = await readAll(open(log, { skips: [opId(1, 2), opId(1, 3), opId(1, 4), opId(2, 5)] }));
    assert.deepEqual(
      reads.flatMap(({ changes }) => changes.map(describeChange)),
      [
        '1.1 rows k,a 1 shop.orders',
        '1.2 skipped',
        '1.3 skipped',
        '1.4 schema v1 shop.orders > shop.orders',
        '1.5 rows k,a,b 1 shop.orders',
      ],
    );
  });

  it('takes only ALTERs that succeeded and whose version rises (kudu-facts 5.3)', async () => {
    const log = [
      segment(),
      entries(
        ...altered(1, V1, 1),
        alter(opId(1, 2), V2, 1, 'shop.wrong'),
        commitAlter(opId(1, 2), false),
        ...altered(3, V2, 1, 'shop.wrong'),
        ...insert(1, 4),
      ),
    ];
    assert.deepEqual(seen(await readAll(open(log))), [
      '1.1 schema v1 shop.orders > shop.orders',
      '1.4 rows k,a,b 1 shop.orders',
    ]);
  });

  it('begins after a position with the schema in force there, out of ALTERs before it', async () => {
    const log = [
      segment(),
      entries(...insert(1, 1), ...altered(2, V1, 1, 'shop.mid'), ...insert(1, 3)),
      segment(V0, 0), // older than the ALTER just before it
      entries(...insert(1, 4)),
    ];
    const after = { opId: opId(1, 3), tableName: 'shop.kept', schemaVersion: 1 };
    assert.deepEqual(seen(await readAll(open(log, { after }))), ['1.4 rows k,a,b 1 shop.kept']);
  });

  it('announces the schema that a stream begins with, once', async () => {
    const log = [segment(), entries(...altered(1, V1, 1), ...insert(1, 2)), entries(...insert(1, 3))];
    const after = { opId: opId(1, 1), tableName: 'shop.orders', schemaVersion: 0 };
    const reads = await readAll(open(log, { after, announceSchema: true }));
    assert.deepEqual(seen(reads), [
      '1.1 schema v1 - > shop.orders',
      '1.2 rows k,a,b 1 shop.orders',
      '1.3 rows k,a,b 1 shop.orders',
    ]);
  });

  it('asks a server for a schema that the log no longer tells, and gives up when that does not know it either', async () => {
    const log = [segment(V0, 0), entries(...insert(1, 9))];
    const after = { opId: opId(1, 8), tableName: 'shop.orders', schemaVersion: 1 };
    const lookUpSchema = (version: number, schema: TableSchema) => (): Promise<SchemaVersion> =>
      Promise.resolve({ version, schema });
    const reads = await readAll(open(log, { after, lookUpSchema: lookUpSchema(1, V1) }));
    assert.deepEqual(seen(reads), ['1.9 rows k,a,b 1 shop.orders']);
    await fails('SPOOR_WAL_GAP', open(log, { after, lookUpSchema: lookUpSchema(2, V2) }).next());
    await fails('SPOOR_WAL_GAP', open(log, { after }).next());
    const away = new Error('no answer');
    const unreachable = open(log, { after, lookUpSchema: () => Promise.reject(away) });
    await assert.rejects(unreachable.next(), away, 'this may heal: it is not said to be the log');
  });

  it('goes on over a restart of the tablet server without repeating or losing anything (traps 7, 8)', async () => {
    const [first, firstCommit] = insert(1, 1) as [LogEntry, LogEntry];
    const [second, secondCommit] = insert(1, 2) as [LogEntry, LogEntry];
    const log = [
      segment(V0, 0, true),
      entries(first, second, secondCommit),
      segment(V0, 0, true),
      entries(first, second, firstCommit, ...insert(1, 3), secondCommit),
    ];
    const reads = await readAll(open(log));
    assert.deepEqual(
      reads.flatMap((read) => read.changes.map((c) => formatOpId(c.opId))),
      ['1.1', '1.2', '1.3'],
    );
  });

  it('gives back the memory of what was large when all of it is done with, and not before', async () => {
    const said: string[] = [];
    const chunks: LogChunk[] = [
      segment(),
      { kind: 'entries', entries: insert(1, 1).slice(0, 1), bytes: 1, lentBytes: 10 },
      { kind: 'entries', entries: insert(1, 2).slice(0, 1), bytes: 1, lentBytes: 20 },
      entries(...insert(1, 1).slice(1)),
      entries(...insert(1, 2).slice(1)),
      entries(...insert(1, 3)),
    ];
    const log = {
      next: () => {
        said.push(`chunk ${6 - chunks.length}`);
        return Promise.resolve(chunks.shift() ?? ({ kind: 'gone' } as const));
      },
      giveBack: (bytes: number) => void said.push(`${bytes} given back`),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const changes = open([], { log });
    for (let read = await changes.next(); read.kind !== 'gone'; read = await changes.next())
      said.push(`read ${formatOpId(read.position.opId)}`);
    const first = ['chunk 0', 'chunk 1', 'chunk 2', 'chunk 3', 'read 1.1', '10 given back', 'chunk 4', 'read 1.2'];
    assert.deepEqual(said, [...first, '20 given back', 'chunk 5', 'read 1.3', 'chunk 6']);
  });

  it('gives it back where the log begins anew, or something is missing, before what was lent is committed', async () => {
    const large = (index: number): LogChunk => {
      return { kind: 'entries', entries: insert(1, index).slice(0, 1), bytes: 1, lentBytes: 10 };
    };
    const anew = { kind: 'missing', from: 2, until: 2 } as const;
    for (const next of [segment(V0, 0, true), anew]) {
      let givenBack = 0;
      const chunks: LogChunk[] = [segment(), large(1), next];
      const log = {
        next: () => Promise.resolve(chunks.shift() ?? ({ kind: 'gone' } as const)),
        giveBack: (bytes: number) => void (givenBack += bytes),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      };
      await readAll(open([], { log }));
      assert.equal(givenBack, 10, next.kind);
    }
  });

  it('finds a gap when a segment is missing, unless all in it is done with', async () => {
    const log = [segment(), entries(...insert(1, 1)), { kind: 'missing', from: 2, until: 3 } as const];
    const later = [segment(V1, 1), entries(...insert(1, 8))];
    await fails('SPOOR_WAL_GAP', readAll(open([...log, ...later])));
    const after = { opId: opId(1, 7), tableName: 'shop.orders', schemaVersion: 1 };
    assert.deepEqual(seen(await readAll(open([...log, ...later], { after }))), ['1.8 rows k,a,b 1 shop.orders']);
  });

  it('says of a gap behind a damaged segment what the damage is', async () => {
    const damage = new SpoorError('SPOOR_WAL_CORRUPT', 'wal-000000002 byte 7: the checksum of a batch is wrong');
    const log = [segment(), entries(...insert(1, 1)), { kind: 'missing', from: 2, until: 2, damage } as const];
    const changes = open([...log, segment(V1, 1), entries(...insert(1, 8))]);
    await changes.next();
    await assert.rejects(changes.next(), {
      code: 'SPOOR_WAL_GAP',
      message: /index 2 is wanted.*wal-000000002 byte 7: the checksum/,
    });
  });

  it('blocks at a multi-row transaction after all before it is delivered, and stays so (trap 26)', async () => {
    const txn = [
      write(opId(1, 2), V0, [{ op: RowOp.INSERT, cells: [int64(2n)] }], { txnId: 5n }),
      commitWrite(opId(1, 2), ['applied']),
    ];
    const begin = [
      replicate(opId(1, 2), {
        opType: OpType.PARTICIPANT,
        participantRequest: { tabletId: Buffer.from('t'), op: { type: 1, txnId: 5n } },
      }),
      commit(opId(1, 2)),
    ];
    for (const op of [txn, begin]) {
      const changes = open([segment(), entries(...insert(1, 1), ...op, ...insert(1, 3))]);
      assert.deepEqual(seen([(await changes.next()) as ChangeRead]), ['1.1 rows k,a 1 shop.orders']);
      await fails('SPOOR_TRANSACTION_UNSUPPORTED', changes.next());
      await fails('SPOOR_TRANSACTION_UNSUPPORTED', changes.next());
    }
    const over = open([segment(), entries(...insert(1, 1), ...begin, ...insert(1, 3))], {
      after: { opId: opId(1, 2), tableName: 'shop.orders', schemaVersion: 0 },
    });
    assert.deepEqual(
      seen(await readAll(over)),
      ['1.3 rows k,a 1 shop.orders'],
      'one that is done with does not matter',
    );
  });

  it('blocks at the end of a transaction that was open where it begins, and ships nothing of it (trap 27)', async () => {
    const participant = (index: number, type: number): LogEntry[] => [
      replicate(opId(1, index), {
        opType: OpType.PARTICIPANT,
        participantRequest: { tabletId: Buffer.from('t'), op: { type, txnId: 5n } },
      }),
      commit(opId(1, index), { opType: OpType.PARTICIPANT }),
    ];
    const inside = (index: number): LogEntry[] => [
      write(opId(1, index), V0, [{ op: RowOp.INSERT, cells: [int64(2n)] }], { txnId: 5n }),
      commitWrite(opId(1, index), ['applied']),
    ];
    const [BEGIN_TXN, BEGIN_COMMIT, FINALIZE_COMMIT, ABORT_TXN] = [1, 2, 3, 4];
    const commits = [...participant(5, BEGIN_COMMIT), ...participant(6, FINALIZE_COMMIT)];
    for (const end of [commits, participant(5, ABORT_TXN)])
      for (const start of [2, 3, 4]) {
        const log = [...insert(1, 1), ...participant(2, BEGIN_TXN), ...inside(3), ...inside(4), ...end];
        const changes = open([segment(), entries(...log, ...insert(1, 7))], {
          after: { opId: opId(1, start), tableName: 'shop.orders', schemaVersion: 0 },
        });
        await fails('SPOOR_TRANSACTION_UNSUPPORTED', changes.next());
      }
  });

  it('delivers what came before a gap or another history, and then stays at it', async () => {
    const jump = [...insert(1, 1), ...insert(1, 2), replicate(opId(1, 4))];
    const fork = [...insert(2, 1), ...insert(2, 2), ...insert(1, 3)];
    for (const [code, log] of [
      ['SPOOR_WAL_GAP', jump],
      ['SPOOR_WAL_DIVERGED', fork],
    ] as const) {
      const changes = open([segment(), entries(...log), entries(...insert(1, 5))]);
      const [first] = [(await changes.next()) as ChangeRead];
      assert.equal(first.position.opId.index, 2n);
      await fails(code, changes.next());
      await fails(code, changes.next());
    }
  });

  it('stops at what it does not know instead of passing over it (trap 13)', async () => {
    const unknown = [replicate(opId(1, 1), { opType: 7 }), commit(opId(1, 1), { opType: 7 })];
    await fails('SPOOR_WAL_UNSUPPORTED', open([segment(), entries(...unknown)]).next());
    const oddType = { columns: [KEY, column('x', 21 as never, { nullable: true })] };
    await fails('SPOOR_WAL_UNSUPPORTED', open([segment(), entries(...insert(1, 1, oddType))]).next());
    const oddOp = [write(opId(1, 1), V0, [{ op: 4, cells: [] }]), commitWrite(opId(1, 1), ['applied'])];
    await fails('SPOOR_WAL_UNSUPPORTED', open([segment(), entries(...oddOp)]).next());
  });

  it('calls a write corrupt that does not fit its results or its schema', async () => {
    const short = [write(opId(1, 1), V0, [{ op: RowOp.INSERT, cells: [int64(1n)] }]), commitWrite(opId(1, 1), [])];
    await fails('SPOOR_WAL_CORRUPT', open([segment(), entries(...short)]).next());
    await fails('SPOOR_WAL_CORRUPT', open([segment(), entries(...insert(1, 1, V1))]).next());
  });

  it('cuts what became ready at once into reads of bounded size', async () => {
    const text = column('t', DataType.STRING, { nullable: true });
    const wide = { columns: [KEY, text] };
    const rows = [{ op: RowOp.INSERT, cells: [int64(1n), Buffer.alloc(50_000)] }];
    const writes = Array.from({ length: 10 }, (_, i) => write(opId(1, i + 2), wide, rows));
    const commits = writes.map(({ opId: id }) => commitWrite(id, ['applied']));
    const [first, firstCommit] = noOp(1, 1) as [LogEntry, LogEntry];
    const log = [segment(wide), entries(first, ...writes), entries(...commits), entries(firstCommit)];
    const reads = await readAll(open(log));
    assert.deepEqual(
      reads.map((read) => read.changes.length),
      [3, 3, 3, 1],
    );
    assert.ok(reads.every((read) => read.bytes < 165_000));
  });

  it('says what is committed before it is given out', async () => {
    const [first, firstCommit] = insert(1, 1) as [LogEntry, LogEntry];
    const [second, secondCommit] = insert(1, 2) as [LogEntry, LogEntry];
    const changes = open([segment(), entries(first, second, secondCommit), entries(firstCommit)]);
    assert.equal(formatOpId(changes.committed), '0.0');
    await changes.next();
    assert.equal(formatOpId(changes.committed), '1.2');
  });
});
