import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compressSync } from 'snappy';
import fc from 'fast-check';
import { crc32c } from '../../../../../src/util/crc32c.ts';
import type { SinkRecord } from '../../../../../src/change/record.ts';
import type { AbortedTransaction } from '../../../../../src/sinks/kafka/wire/fetch.ts';
import { readCommittedBatches } from '../../../../../src/sinks/kafka/wire/record-batch-reader.ts';
import { batchOf, markerOf, rawBatch, recompressed, sealed } from '../../../../support/kafka-batches.ts';

const record = fc
  .record({
    key: fc.uint8Array({ minLength: 1, maxLength: 200 }),
    value: fc.option(fc.uint8Array({ maxLength: 20_000 })),
    position: fc.stringMatching(/^[0-9a-f]{32}\/\d{1,19}\.\d{1,19}\.\d{1,6}$/),
    timestampMs: fc.integer({ min: 0, max: 2 ** 43 }),
  })
  .map(({ key, value, position, timestampMs }) =>
    recordOf({
      kind: value ? 'row' : 'tombstone',
      key: Buffer.from(key),
      value: value && Buffer.from(value),
      position,
      timestampMs,
    }),
  );

function recordOf(changes: Partial<SinkRecord> = {}): SinkRecord {
  const key = Buffer.from('k');
  return { kind: 'row', table: 't', key, value: Buffer.from('v'), position: 'p/1.1.0', timestampMs: 5, ...changes };
}

function read(bytes: Buffer, aborted: readonly AbortedTransaction[] = []) {
  return [...readCommittedBatches(bytes, aborted)];
}

function offsets(bytes: Buffer, aborted: readonly AbortedTransaction[] = []): number[] {
  return read(bytes, aborted).flatMap(({ records }) => records.map(({ offset }) => Number(offset)));
}

describe('readCommittedBatches', () => {
  it('reads what the sink writes, whatever the records and whichever the codec', () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 20 }),
        fc.bigInt({ min: 0n, max: 2n ** 62n }),
        fc.constantFrom(0, 1, 2, 3),
        (records, base, codec) => {
          const batch = batchOf(base, records);
          assert.deepEqual(read(codec === 0 ? batch : recompressed(batch, codec)), [
            {
              nextOffset: base + BigInt(records.length),
              records: records.map(({ key, value, position, timestampMs }, i) => ({
                offset: base + BigInt(i),
                key,
                value,
                position,
                timestampMs,
              })),
            },
          ]);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('has no time of a record where the topic keeps that of the broker', () => {
    const batch = batchOf(0n, [recordOf(), recordOf({ timestampMs: 2 ** 41 })]);
    const times = (): unknown[] => read(batch)[0]!.records.map(({ timestampMs }) => timestampMs);
    assert.deepEqual(times(), [5, 2 ** 41]);
    batch.writeInt16BE(batch.readInt16BE(21) | 8, 21);
    batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
    assert.deepEqual(times(), [null, null]);
  });

  it('reads what others write: nulls, other headers, none', () => {
    const records = [
      { delta: 0, key: null, value: null },
      { delta: 1, key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [['other', 'x']] as const },
      { delta: 2, key: null, value: Buffer.from('v'), headers: [['spoor.pos', null]] as const },
      {
        delta: 3,
        key: Buffer.from('k'),
        value: null,
        headers: [
          ['spoor.pos', 'old'],
          ['spoor.posx', 'x'],
          ['spoor.pos', 'new'],
        ] as const,
      },
    ];
    assert.deepEqual(read(rawBatch({ offset: 7n, lastDelta: 3, records }))[0]!.records, [
      { offset: 7n, key: null, value: null, position: null, timestampMs: 0 },
      { offset: 8n, key: Buffer.alloc(0), value: Buffer.alloc(0), position: null, timestampMs: 0 },
      { offset: 9n, key: null, value: Buffer.from('v'), position: null, timestampMs: 0 },
      { offset: 10n, key: Buffer.from('k'), value: null, position: 'new', timestampMs: 0 },
    ]);
  });

  it('goes on behind what compaction took, be it the last record or all of them', () => {
    const kept = { key: Buffer.from('k'), value: null };
    const bytes = Buffer.concat([
      rawBatch({ offset: 3n, lastDelta: 9, records: [2, 5].map((delta) => ({ delta, ...kept })) }),
      rawBatch({ offset: 20n, lastDelta: 4, records: [] }),
      rawBatch({ offset: 40n, lastDelta: 0, records: [{ delta: 0, ...kept }] }),
    ]);
    assert.deepEqual(
      read(bytes).map(({ nextOffset, records }) => [nextOffset, records.map(({ offset }) => offset)]),
      [
        [13n, [5n, 8n]],
        [25n, []],
        [41n, [40n]],
      ],
    );
  });

  it('gives records memory of their own', () => {
    const bytes = batchOf(0n, [recordOf()]);
    const [batch] = read(bytes);
    bytes.fill(0);
    assert.deepEqual([batch!.records[0]!.key, batch!.records[0]!.value], [Buffer.from('k'), Buffer.from('v')]);
  });

  it('leaves out the beginning of a batch, wherever it is cut', () => {
    const [first, second] = [batchOf(0n, [recordOf()]), batchOf(1n, [recordOf(), recordOf()])];
    for (let cut = 0; cut < second.length; cut++)
      assert.deepEqual(offsets(Buffer.concat([first, second.subarray(0, cut)])), [0], `${cut} bytes`);
    assert.deepEqual(offsets(Buffer.concat([first, second])), [0, 1, 2]);
  });

  it('finds every flipped bit behind the length, and never reads on for one in the length', () => {
    const batch = batchOf(1n, [recordOf(), recordOf()]);
    for (let at = 8; at < batch.length; at++)
      for (let bit = 0; bit < 8; bit++) {
        if (at >= 12 && at < 16) continue; // the leader's epoch, which the broker sets and we do not look at
        const flipped = Buffer.from(batch);
        flipped[at]! ^= 1 << bit;
        const got = (): number[] => offsets(flipped);
        if (at < 12 && flipped.readInt32BE(8) > batch.length - 12) assert.deepEqual(got(), [], 'like one that is cut');
        else assert.throws(got, RangeError, `byte ${at}, bit ${bit}`);
      }
  });

  it('takes no batch that is not behind the one before', () => {
    const two = [recordOf(), recordOf()];
    assert.throws(() => read(Buffer.concat([batchOf(4n, two), batchOf(5n, two)])), /not behind offset 5/);
  });

  it('says that records are older than Kafka 0.11', () => {
    const old = Buffer.alloc(40);
    old.writeInt32BE(28, 8);
    old[16] = 1;
    assert.throws(() => read(old), /message format 1/);
  });

  it('takes records for what their batch says, checksum or not', () => {
    const wrongCount = (count: number): Buffer => {
      const batch = batchOf(0n, [recordOf(), recordOf()]);
      batch.writeInt32BE(count, 57);
      return sealed(batch);
    };
    assert.throws(() => read(wrongCount(1)), /more bytes than records/);
    assert.throws(() => read(wrongCount(3)), /runs over the end/);
    const wrongLength = batchOf(0n, [recordOf()]);
    wrongLength[61]! -= 2;
    assert.throws(() => read(sealed(wrongLength)), /not as long as it says/);
  });
});

describe('compressed batches', () => {
  const batch = batchOf(
    0n,
    Array.from({ length: 50 }, () => recordOf({ value: Buffer.alloc(3000, 'x') })),
  );
  const all = Array.from({ length: 50 }, (_, i) => i);

  for (const [codec, name] of [
    [1, 'gzip'],
    [2, 'snappy in blocks'],
    [3, 'lz4'],
  ] as const)
    it(`are read: ${name}`, () => {
      const smaller = recompressed(batch, codec);
      assert.ok(smaller.length < batch.length / 4);
      assert.deepEqual(offsets(smaller), all);
    });

  it('are read: snappy as a bare block, as other clients than Java write it', () => {
    assert.deepEqual(offsets(recompressed(batch, 2, (_, raw) => compressSync(raw))), all);
  });

  it('are refused by name where Node cannot read them, and only when it comes to them', () => {
    const bytes = Buffer.concat([batchOf(0n, [recordOf()]), recompressed(batchOf(1n, [recordOf()]), 4)]);
    const batches = readCommittedBatches(bytes, []);
    assert.equal(batches.next().value?.records.length, 1);
    assert.throws(() => batches.next(), /compressed with zstd/);
    assert.throws(() => read(recompressed(batchOf(0n, [recordOf()]), 7)), /codec 7/);
  });

  it('that are not what they say are an error', () => {
    for (const codec of [1, 2, 3])
      assert.throws(() => read(recompressed(batch, codec, (_, raw) => raw.subarray(0, 500))), Error, `codec ${codec}`);
    const shorter = recompressed(batch, 2).subarray(0, 61 + 16 + 4 + 3);
    shorter.writeInt32BE(shorter.length - 12, 8);
    assert.throws(() => read(sealed(Buffer.from(shorter))), /block runs over the end/);
  });

  it('end before they fill the memory', () => {
    const bomb = recompressed(batch, 1, (codec, raw) =>
      recompressed(Buffer.concat([raw.subarray(0, 61), Buffer.alloc(300 * 1024 * 1024)]), codec).subarray(61),
    );
    assert.throws(() => read(bomb), /larger than/);
  });
});

interface Log {
  readonly batches: readonly { readonly bytes: Buffer; readonly first: bigint; readonly last: bigint }[];
  readonly aborted: readonly (AbortedTransaction & { readonly marker: bigint })[];
  /** Offsets that a `read_committed` consumer sees. */
  readonly committed: readonly number[];
}

const PRODUCERS = 4;

/** Lets producers begin, write, commit and abort in any order, and with gaps; what is open at the end is aborted. */
function logOf(steps: readonly { producer: number; act: 'write' | 'plain' | 'commit' | 'abort'; size: number }[]): Log {
  const batches: { bytes: Buffer; first: bigint; last: bigint }[] = [];
  const aborted: (AbortedTransaction & { marker: bigint })[] = [];
  const committed: number[] = [];
  const open = new Map<number, bigint[]>();
  let next = 0n;
  const append = (bytes: Buffer, count: number): void => {
    batches.push({ bytes, first: next, last: next + BigInt(count - 1) });
    next += BigInt(count);
  };
  const end = (producer: number, how: 'commit' | 'abort'): void => {
    const written = open.get(producer);
    if (written === undefined) return;
    open.delete(producer);
    const producerId = BigInt(producer);
    if (how === 'commit') committed.push(...written.map(Number));
    else aborted.push({ producerId, firstOffset: written[0]!, marker: next });
    append(markerOf(next, producerId, how), 1);
  };
  for (const { producer, act, size } of steps) {
    if (act === 'commit' || act === 'abort') {
      end(producer, act);
      continue;
    }
    const of = Array.from({ length: size }, (_, i) => next + BigInt(i));
    if (act === 'plain') committed.push(...of.map(Number));
    else open.set(producer, [...(open.get(producer) ?? []), ...of]);
    const settings = { producerId: act === 'plain' ? 99n : BigInt(producer), transactional: act === 'write' };
    const records = of.map(() => recordOf());
    append(batchOf(next, records, settings), size);
    next += BigInt(size % 3); // compaction took some that came behind
  }
  for (const producer of [...open.keys()]) end(producer, 'abort');
  return { batches, aborted, committed: committed.sort((a, b) => a - b) };
}

describe('aborted transactions', () => {
  const one = (offset: bigint, producerId: bigint): Buffer =>
    batchOf(offset, [recordOf()], { producerId, transactional: true });

  it('that lie side by side are left out, in whatever order the broker names them', () => {
    // 1 begins first and is aborted last; 2 is aborted, then commits; 3 commits in their midst.
    const log = [
      one(0n, 1n),
      one(1n, 2n),
      one(2n, 3n),
      markerOf(3n, 2n, 'abort'),
      one(4n, 2n),
      markerOf(5n, 3n, 'commit'),
      one(6n, 1n),
      markerOf(7n, 2n, 'commit'),
      markerOf(8n, 1n, 'abort'),
      one(9n, 1n),
      markerOf(10n, 1n, 'commit'),
    ];
    const [first, second] = [
      { producerId: 1n, firstOffset: 0n },
      { producerId: 2n, firstOffset: 1n },
    ];
    for (const aborted of [
      [first, second],
      [second, first],
    ])
      assert.deepEqual(offsets(Buffer.concat(log), aborted), [2, 4, 9]);
  });

  it('of one producer follow each other, with a committed one between them', () => {
    const log = [
      one(0n, 1n),
      markerOf(1n, 1n, 'abort'),
      one(2n, 1n),
      markerOf(3n, 1n, 'commit'),
      one(4n, 1n),
      markerOf(5n, 1n, 'abort'),
      one(6n, 1n),
      markerOf(7n, 1n, 'commit'),
    ];
    const aborted = [4n, 0n].map((firstOffset) => ({ producerId: 1n, firstOffset }));
    assert.deepEqual(offsets(Buffer.concat(log), aborted), [2, 6]);
  });

  it('do not touch what the same producer writes outside of a transaction', () => {
    const log = [one(0n, 1n), batchOf(1n, [recordOf()], { producerId: 1n }), markerOf(2n, 1n, 'abort')];
    assert.deepEqual(offsets(Buffer.concat(log), [{ producerId: 1n, firstOffset: 0n }]), [1]);
  });

  it('end at their marker, whatever other control records there are', () => {
    const other = rawBatch({
      offset: 1n,
      lastDelta: 0,
      producerId: 1n,
      control: true,
      records: [{ delta: 0, key: Buffer.from([0, 0, 0, 2]), value: null }],
    });
    const log = [one(0n, 1n), other, markerOf(2n, 1n, 'abort', true), one(3n, 1n), markerOf(4n, 1n, 'abort')];
    const aborted = [{ producerId: 1n, firstOffset: 0n }];
    assert.deepEqual(offsets(Buffer.concat([...log, one(5n, 1n)]), aborted), [5]);
  });

  it('are those of the model, for any interleaving, from any offset on, in any portion', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            producer: fc.nat(PRODUCERS - 1),
            act: fc.constantFrom('write', 'write', 'plain', 'commit', 'abort'),
            size: fc.integer({ min: 1, max: 4 }),
          }),
          { maxLength: 40 },
        ),
        fc.nat(30),
        fc.integer({ min: 1, max: 10 }),
        fc.infiniteStream(fc.nat(1000)),
        (steps, from, portion, order) => {
          const { batches, aborted, committed } = logOf(steps);
          const seen: number[] = [];
          const rest = batches.filter(({ last }) => last >= from);
          for (let at = 0; at < rest.length; at += portion) {
            const part = rest.slice(at, at + portion);
            // What a broker names for this part, in an order that is nobody's.
            const named = aborted
              .filter(({ firstOffset, marker }) => marker >= part[0]!.first && firstOffset <= part.at(-1)!.last)
              .map((transaction) => ({ transaction, rank: order.next().value as number }))
              .sort((a, b) => a.rank - b.rank)
              .map(({ transaction }) => transaction);
            seen.push(...offsets(Buffer.concat(part.map(({ bytes }) => bytes)), named));
          }
          const first = Number(rest[0]?.first ?? 0n);
          assert.deepEqual(
            seen,
            committed.filter((offset) => offset >= first && rest.length > 0),
          );
        },
      ),
      { numRuns: 500 },
    );
  });
});
