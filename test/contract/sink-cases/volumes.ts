import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { TabletPosition } from '../../../src/change/position.ts';
import { RecordBatch } from '../../../src/change/record-batch.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { form } from '../../support/forms.ts';
import type { SinkCase, SinkKit } from '../sink-kit.ts';
import { never, positionAt, recordAt, tabletOf } from '../sink-records.ts';

const ROWS = form(30_000, 300_000);
const ROWS_A_BATCH = 2_000;
const MIB = 1 << 20;
const BULK_BYTES = form(96 * MIB, 200 * MIB);
const WIDE_ROW_BYTES = 256 << 10;
const WIDE_ROWS_A_BATCH = 8;
/** Of what passes: a sink keeps what is on its way, not what came before. */
const MAX_KEPT_BYTES = 48 * MIB;

/** How much passes through, and how much of it stays. */
export const VOLUME_CASES: readonly SinkCase[] = [
  {
    name: 'takes slices as it sends them, so that an operation of any size fits',
    run: async (kit) => {
      const stream = kit.freshStream();
      await using writer = await kit.open(stream).openTablet(tabletOf(stream), never);
      await writer.write(slicesOf(0), positionAt(1), never);
      await assertAllRows(kit, stream);
    },
  },
  {
    name: 'goes on within an operation that was cut off, at the row that its position says',
    run: async (kit) => {
      const stream = kit.freshStream();
      const sink = kit.open(stream);
      const before = await sink.openTablet(tabletOf(stream), never);
      await before.write([], positionAt(0), never);
      function* cutOff(): Generator<RecordBatch> {
        let batches = 0;
        for (const batch of slicesOf(0)) {
          if (++batches * ROWS_A_BATCH > ROWS / 2) throw new Error('the log is gone');
          yield batch;
        }
      }
      await assert.rejects(before.write(cutOff(), positionAt(1), never));
      await before[Symbol.asyncDispose]();
      await using after = await kit.open(stream).openTablet(tabletOf(stream), never);
      const { opId, upTo } = after.position ?? positionAt(0);
      assert.equal(opId.index, 0n, 'what is cut off is not written');
      await after.write(slicesOf(upTo?.index === 1n ? upTo.row + 1 : 0), positionAt(1), never);
      await assertAllRows(kit, stream);
    },
  },
  {
    name: 'keeps no more memory than what is on its way, in one write and in many',
    unless: ({ keepsInMemory }) => (keepsInMemory ? 'the store is in this process' : null),
    run: async (kit) => {
      const stream = kit.freshStream();
      await using writer = await kit.open(stream).openTablet(tabletOf(stream), never);
      await writer.write([], positionAt(1), never);
      const memory = new KeptMemory();
      let position: TabletPosition = positionAt(2);
      await writer.write(wideBatches(2, BULK_BYTES / 2, memory), position, never);
      for (let index = 3; index <= 3 + 7; index++) {
        position = positionAt(index);
        await writer.write(wideBatches(index, BULK_BYTES / 16, memory), position, never);
      }
      memory.look();
      assert.ok(memory.mostBytes < MAX_KEPT_BYTES, `${Math.round(memory.mostBytes / MIB)} MiB are kept`);
    },
  },
];

/** Rows of one operation, in batches that are made when they are taken. */
function* slicesOf(fromRow: number): Generator<RecordBatch> {
  for (let at = fromRow; at < ROWS; at += ROWS_A_BATCH)
    yield RecordBatch.of(
      Array.from({ length: Math.min(ROWS_A_BATCH, ROWS - at) }, (_, i) =>
        recordAt(1, at + i, { position: `${tabletOf('').tabletId}/3.1.${at + i}` }),
      ),
    );
}

async function assertAllRows(kit: SinkKit, stream: string): Promise<void> {
  const seen = await kit.sut.read(stream, ROWS);
  if (kit.promises.exactlyOnce) assert.equal(seen.length, ROWS);
  assert.equal(new Set(seen.map(({ position }) => position)).size, ROWS);
  if (!kit.promises.exactlyOnce) return;
  const rowOf = new Map(seen.map(({ key, position }) => [key, position.slice(position.lastIndexOf('.') + 1)]));
  for (const [key, row] of rowOf) assert.equal(key, `{"id":${row}}`);
}

function* wideBatches(index: number, bytes: number, memory: KeptMemory): Generator<RecordBatch> {
  const value = Buffer.alloc(WIDE_ROW_BYTES, 'x');
  value[0] = value[value.length - 1] = 0x22;
  for (let at = 0, row = 0; at < bytes; at += WIDE_ROWS_A_BATCH * WIDE_ROW_BYTES) {
    memory.passed(WIDE_ROWS_A_BATCH * WIDE_ROW_BYTES);
    yield RecordBatch.of(
      Array.from({ length: WIDE_ROWS_A_BATCH }, (): SinkRecord => {
        const position = `${tabletOf('').tabletId}/3.${index}.${row++}`;
        return recordAt(index, row, { value, position });
      }),
    );
  }
}

/** What of this process's memory is in use, garbage left out, above what was at the beginning. */
class KeptMemory {
  mostBytes = 0;
  readonly #collect: () => void;
  readonly #atFirst: number;
  #passed = 0;

  constructor() {
    setFlagsFromString('--expose-gc');
    this.#collect = runInNewContext('gc') as () => void;
    this.#atFirst = this.#used();
  }

  passed(bytes: number): void {
    this.#passed += bytes;
    if (this.#passed % (16 * MIB) < bytes) this.look();
  }

  look(): void {
    this.mostBytes = Math.max(this.mostBytes, this.#used() - this.#atFirst);
  }

  #used(): number {
    this.#collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  }
}
