import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SpoorError } from '../../src/errors.ts';
import { formatOpId } from '../../src/kudu/opid.ts';
import { Codec } from '../../src/wal/compression.ts';
import { OpType, type LogEntry } from '../../src/wal/entry.ts';
import { readSegmentStart } from '../../src/wal/segment-format.ts';
import { encryptedSegment, goldenWal, goldenWalNames } from '../support/golden-wal.ts';
import { digest, type DumpedEntry } from '../support/kudu-wal-dump.ts';
import { readWholeSegment } from '../support/memory-segment.ts';

const OP_NAMES = new Map<number, string>([
  [OpType.NO_OP, 'NO_OP'],
  [OpType.WRITE, 'WRITE_OP'],
  [OpType.ALTER_SCHEMA, 'ALTER_SCHEMA_OP'],
  [OpType.CHANGE_CONFIG, 'CHANGE_CONFIG_OP'],
  [OpType.PARTICIPANT, 'PARTICIPANT_OP'],
]);

/** An entry as Kudu's dump shows it. */
function asDumped(entry: LogEntry): DumpedEntry {
  const common = { opId: formatOpId(entry.opId), op: OP_NAMES.get(entry.opType)! };
  if (entry.kind === 'commit')
    return {
      kind: 'commit',
      ...common,
      ...(entry.hasResult ? { results: [...entry.readRowResults()].join('') } : {}),
    };
  const replicate = { kind: 'replicate' as const, ...common, hybridTime: String(entry.hybridTime) };
  if (entry.opType === OpType.WRITE) {
    const { rows, indirect, txnId } = entry.readWrite();
    return {
      ...replicate,
      rows: digest(rows),
      indirect: digest(indirect),
      ...(txnId === null ? {} : { txnId: String(txnId) }),
    };
  }
  if (entry.opType === OpType.ALTER_SCHEMA) {
    const { schema, schemaVersion, newTableName } = entry.readAlter();
    const columns = schema.columns.map(({ id, name }) => `${id} ${name}`);
    return { ...replicate, schemaVersion, tableName: newTableName!, columns };
  }
  return replicate;
}

/** Entry for entry what it is made of, so that two readings can be compared. */
function bodyOf(entry: LogEntry): string {
  return `${entry.kind} ${formatOpId(entry.opId)} ${entry.kind === 'replicate' ? entry.body.toString('base64') : [...entry.readRowResults()].join('')}`;
}

const ENDS: Readonly<Record<string, string>> = { closed: 'closed' };
const CODECS: Readonly<Record<string, Codec>> = {
  'rewritten-snappy': Codec.SNAPPY,
  'rewritten-zlib-flushed': Codec.ZLIB,
  'rewritten-uncompressed': Codec.NONE,
  'crashed-before-commit': Codec.NONE,
};

describe('captured segments', () => {
  for (const name of goldenWalNames())
    it(`reads ${name} as Kudu's own dump does`, async () => {
      const { bytes, expected } = goldenWal(name);
      const start = readSegmentStart(bytes);
      assert.equal(start.kind === 'header' && start.header.codec, CODECS[name] ?? Codec.LZ4);
      const { entries, end } = await readWholeSegment(bytes);
      assert.ok(expected.length > 5);
      assert.deepEqual(entries.map(asDumped), expected);
      assert.equal(end.kind === 'tail' ? end.reason : end.kind, ENDS[name] ?? 'zeros');
    });

  it('reads many operations out of one batch (trap 14)', async () => {
    const { entries } = await readWholeSegment(goldenWal('follower-batches').bytes);
    const offsets = entries.map((entry) => entry.location.offset);
    assert.ok(Math.max(...offsets.map((offset) => offsets.filter((other) => other === offset).length)) > 10);
  });

  it('reads the same operations whatever the codec, and from a log that a restart rewrote (trap 7)', async () => {
    const [first, ...rewritten] = await Promise.all(
      ['leader-lz4', 'rewritten-snappy', 'rewritten-zlib-flushed', 'rewritten-uncompressed'].map(async (name) =>
        (await readWholeSegment(goldenWal(name).bytes)).entries,
      ),
    );
    const proposals = (entries: readonly LogEntry[]): string[] =>
      entries.filter((entry) => entry.kind === 'replicate').map(bodyOf);
    const commits = (entries: readonly LogEntry[]): string[] =>
      entries
        .filter((entry) => entry.kind === 'commit')
        .map(bodyOf)
        .sort();
    for (const entries of rewritten) {
      // A restart adds the first operation of its own term, and never takes one away.
      assert.deepEqual(proposals(entries).slice(0, proposals(first!).length), proposals(first!));
      for (const commit of commits(first!)) assert.ok(commits(entries).includes(commit), commit);
    }
  });

  it('recognises an encrypted segment', () => {
    const start = readSegmentStart(encryptedSegment());
    assert.equal(start.kind === 'fault' && start.fault.kind, 'encrypted');
  });
});

describe('damaged segments', () => {
  /** Reads what can be read; an error must be one that names file and byte. */
  async function readDamaged(bytes: Buffer): Promise<string[]> {
    const entries: LogEntry[] = [];
    try {
      await readWholeSegment(bytes, entries);
    } catch (error) {
      assert.ok(error instanceof SpoorError, String(error));
      assert.match(error.message, /^wal-000000001 byte \d+: ./);
    }
    return entries.map(bodyOf);
  }
  const assertPrefix = (read: readonly string[], whole: readonly string[], what: string): void => {
    assert.deepEqual(read, whole.slice(0, read.length), what);
  };

  it('invents nothing and does not crash, whichever byte is another', async () => {
    const { bytes } = goldenWal('closed');
    const whole = await readDamaged(bytes);
    assert.equal(whole.length, 14);
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 1 << (at % 8);
      assertPrefix(await readDamaged(damaged), whole, `byte ${at}`);
    }
  });

  it('ends early and never throws, wherever the file is cut, with zeros behind or not (trap 5)', async () => {
    const { bytes } = goldenWal('closed');
    const whole = (await readWholeSegment(bytes)).entries.map(bodyOf);
    for (let length = 0; length < bytes.length; length++)
      for (const zeros of [0, 600]) {
        const start = readSegmentStart(bytes.subarray(0, length));
        const cut = Buffer.concat([bytes.subarray(0, length), Buffer.alloc(zeros)]);
        const { entries, end } = await readWholeSegment(cut);
        assertPrefix(entries.map(bodyOf), whole, `cut at ${length}`);
        // A header has no checksum: cut and filled up with zeros it is not known for a part of one.
        const mayBeFault = start.kind !== 'header' && zeros > 0;
        assert.ok(end.kind === 'tail' || (mayBeFault && end.kind === 'fault'), `${end.kind} when cut at ${length}`);
      }
  });

  it('invents nothing in any captured segment under any mix of flips, cuts and repeats', async () => {
    const golden = await Promise.all(
      goldenWalNames().map(async (name) => {
        const { bytes } = goldenWal(name);
        return { bytes, whole: await readDamaged(bytes) };
      }),
    );
    const damage = fc.oneof(
      fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), bits: fc.integer({ min: 1, max: 255 }) }),
      fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), bits: fc.nat(255) }),
      fc.record({ kind: fc.constant('zero' as const), at: fc.nat(), bits: fc.nat(255) }),
      fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(), bits: fc.nat(255) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(golden.length - 1), fc.array(damage, { minLength: 1, maxLength: 4 }), async (which, all) => {
        const { bytes, whole } = golden[which]!;
        let damaged: Buffer = Buffer.from(bytes);
        for (const { kind, at, bits } of all) {
          const place = at % Math.max(1, damaged.length);
          if (kind === 'flip' && damaged.length > 0) damaged[place]! ^= bits;
          else if (kind === 'cut') damaged = damaged.subarray(0, place);
          else if (kind === 'zero') damaged.fill(0, place, Math.min(place + bits, damaged.length));
          else damaged = Buffer.concat([damaged.subarray(0, place), damaged.subarray(Math.max(0, place - bits))]);
        }
        assertPrefix(await readDamaged(damaged), whole, JSON.stringify(all));
      }),
      { numRuns: 500 },
    );
  });
});
