import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecordBatch } from '../../../../../src/change/record-batch.ts';
import type { Share } from '../../../../../src/sinks/kafka/lanes/lane-events.ts';
import type { TransactionEnd } from '../../../../../src/sinks/kafka/lanes/lane-transaction.ts';
import { PendingWrites } from '../../../../../src/sinks/kafka/lanes/pending-writes.ts';
import type { LanePosition } from '../../../../../src/sinks/kafka/lanes/positions-view.ts';
import type { RecordsOfWrite, WriteCursor } from '../../../../../src/sinks/kafka/lanes/write-cursor.ts';
import { SinkError } from '../../../../../src/sinks/sink.ts';
import { positionAt } from '../../../../contract/sink.ts';

const TABLET = 'a'.repeat(32);
const FAILED: TransactionEnd = { kind: 'not-committed', culprits: 'none', cause: 'an answer was lost' };

/** Each with one record, of the operation of that index. */
function slices(...indexes: number[]): RecordBatch[] {
  return indexes.map((index) => {
    const position = `${TABLET}/1.${index}.0`;
    const [key, value] = [Buffer.from('k'), Buffer.from('v')];
    return RecordBatch.of([{ kind: 'row', table: 't', key, value, position, timestampMs: 0 }]);
  });
}

function shareOf(write: number | null, from: LanePosition | null = null): Share {
  const position: LanePosition = { generation: 'g', at: positionAt(9) };
  return { tablet: TABLET, claim: { lane: 'lane', offset: 0n }, write, position, from, isReleased: false };
}

function committed(cursors: ReadonlyMap<string, WriteCursor> = new Map()): TransactionEnd {
  return { kind: 'committed', leftOut: new Map(), parts: new Map(), cursors };
}

/** The cursor of the only write that a transaction has. */
function openOnly(writes: PendingWrites, share: Share): WriteCursor {
  const filled = writes.fill([share]);
  assert.ok(!('kind' in filled));
  return filled[0]!.open!();
}

function indexesOf(cursor: WriteCursor): string[] {
  const indexes: string[] = [];
  while (!cursor.isDone) for (const { position } of cursor.take()) indexes.push(position.split('.')[1]!);
  return indexes;
}

describe('the writes of a lane', () => {
  it('begin anew after a transaction that failed, and go on where one that was committed has left them', () => {
    const writes = new PendingWrites();
    const { write } = writes.add(TABLET, slices(1, 2, 3));
    openOnly(writes, shareOf(write)).take();
    writes.ended([shareOf(write)], FAILED);
    const cursor = openOnly(writes, shareOf(write));
    cursor.take();
    writes.ended([shareOf(write)], committed(new Map([[TABLET, cursor]])));
    assert.deepEqual(indexesOf(openOnly(writes, shareOf(write))), ['2', '3']);
  });

  it('begin behind what an earlier life has written of them, unless that was another reading of the log', () => {
    const writes = new PendingWrites();
    const { write } = writes.add(TABLET, slices(1, 2, 3));
    const from = { generation: 'g', at: positionAt(0), upTo: { index: 2n, row: 0 } };
    assert.deepEqual(indexesOf(openOnly(writes, shareOf(write, from))), ['3']);
    writes.ended([shareOf(write, from)], FAILED);
    const copied = { ...from, generation: 'of before' };
    assert.deepEqual(indexesOf(openOnly(writes, shareOf(write, copied))), ['1', '2', '3']);
  });

  it('are not taken for empty where their records can be had but once', () => {
    function* once(): Generator<RecordBatch> {
      yield* slices(1, 2);
    }
    const writes = new PendingWrites();
    const records: RecordsOfWrite = once();
    const { write } = writes.add(TABLET, records);
    assert.deepEqual(indexesOf(openOnly(writes, shareOf(write))), ['1', '2']);
    writes.ended([shareOf(write)], FAILED);
    assert.throws(
      () => openOnly(writes, shareOf(write)),
      (error: unknown) => error instanceof SinkError && error.kind === 'unavailable',
    );
  });

  it('have no records in a transaction where only the position moves, and fail it where they are no more', () => {
    const writes = new PendingWrites();
    const { write } = writes.add(TABLET, null);
    assert.deepEqual(writes.fill([shareOf(write), shareOf(null)]), [
      { share: shareOf(write), open: null },
      { share: shareOf(null), open: null },
    ]);
    writes.forget(write);
    const filled = writes.fill([shareOf(write)]);
    assert.ok('kind' in filled && filled.culprits instanceof Map);
    assert.deepEqual([...filled.culprits.keys()], [TABLET]);
  });

  it('settle as they are told to, each once', async () => {
    const writes = new PendingWrites();
    const [one, two, other] = [writes.add(TABLET, null), writes.add(TABLET, null), writes.add('other', null)];
    writes.written(one.write);
    assert.deepEqual(writes.allFailedOf(TABLET, new Error('lost')), [one.write, two.write]);
    writes.allFailed(new Error('begun anew'));
    await one.done;
    await assert.rejects(two.done, /lost/);
    await assert.rejects(other.done, /begun anew/);
  });
});
