import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { SpoorError } from '../../../src/errors.ts';
import { formatOpId, parseOpId } from '../../../src/kudu/opid.ts';
import { LogSegmentFooterPBSchema } from '../../../src/kudu/proto/log_pb.ts';
import { decodeLog, encodeLog, LogTransferError, type HeldIncarnation } from '../../../src/wal/log-transfer.ts';
import { encryptedSegment, goldenWal, goldenWalNames } from '../../support/golden-wal.ts';
import { readWholeSegment } from '../../support/memory-segment.ts';
import { batchBytes, batchPayload, headerBytes, segmentBytes } from '../../support/segment-bytes.ts';

const dir = mkdtempSync(join(tmpdir(), 'spoor-transfer-'));
after(() => {
  rmSync(dir, { recursive: true });
});
let folders = 0;

/** Writes segments into a folder of their own, numbered from 1. */
function generation(...segments: readonly Buffer[]): HeldIncarnation {
  const folder = join(dir, String(folders++));
  mkdirSync(folder);
  return {
    segments: segments.map((bytes, i) => {
      const path = join(folder, `wal-00000000${i + 1}`);
      writeFileSync(path, bytes);
      return { sequenceNumber: i + 1, path };
    }),
  };
}

/** Segments are written while this file is loaded, long before the last test where files share a process. */
const LOADED_MS = Date.now();

async function encode(generations: readonly HeldIncarnation[], after = '0.0'): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeLog(generations, parseOpId(after))) chunks.push(chunk);
  return Buffer.concat(chunks);
}

interface Received {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Adds each segment to `received` once it is whole. */
async function decode(chunks: Iterable<Uint8Array>, received: Received[] = []): Promise<Received[]> {
  async function* given(): AsyncGenerator<Uint8Array> {
    yield* chunks;
    await Promise.resolve();
  }
  const generations: string[] = [];
  for await (const segment of decodeLog(given())) {
    const { sequenceNumber, bytes, minIndex, content } = segment;
    if (generations.at(-1) !== segment.generation) generations.push(segment.generation);
    const pieces: Uint8Array[] = [];
    for await (const piece of content) pieces.push(piece);
    const whole = Buffer.concat(pieces);
    assert.equal(whole.length, bytes);
    const { entries } = await readWholeSegment(whole);
    const proposed = entries.filter(({ kind }) => kind === 'replicate').map(({ opId }) => opId.index);
    assert.equal(minIndex, proposed.toSorted((a, b) => Number(a - b))[0] ?? null);
    assert.ok(segment.lastAppendMs >= LOADED_MS - 60_000 && segment.lastAppendMs <= Date.now() + 1);
    received.push({ name: `${generations.length - 1}/${sequenceNumber}`, bytes: whole });
  }
  return received;
}

/** Cuts bytes at the given places, which may be the same one several times. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

function closedFooter(entries: number, maxReplicateIndex: bigint): Buffer {
  const pb = create(LogSegmentFooterPBSchema, {
    numEntries: BigInt(entries),
    minReplicateIndex: 1n,
    maxReplicateIndex,
  });
  const body = toBinary(LogSegmentFooterPBSchema, pb);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([body, Buffer.from('closedls'), length]);
}

const namesOf = async (generations: readonly HeldIncarnation[], from: string): Promise<string[]> =>
  (await decode([await encode(generations, from)])).map(({ name }) => name);

describe('a log on its way', () => {
  for (const name of goldenWalNames())
    it(`brings ${name} as far as it is written`, async () => {
      const { bytes } = goldenWal(name);
      const [received, ...more] = await decode([await encode([generation(bytes)])]);
      assert.deepEqual([received!.name, more.length], ['0/1', 0]);
      assert.deepEqual(received!.bytes, bytes.subarray(0, received!.bytes.length));
      const [there, here] = [await readWholeSegment(bytes), await readWholeSegment(received!.bytes)];
      assert.deepEqual(
        here.entries.map(({ kind, opId }) => kind + formatOpId(opId)),
        there.entries.map(({ kind, opId }) => kind + formatOpId(opId)),
      );
      if (there.end.kind === 'closed') assert.equal(received!.bytes.length, bytes.length);
      else assert.equal(received!.bytes.length, there.end.kind === 'tail' ? there.end.offset : -1);
    });

  it('is the same in any chunks', async () => {
    const generations = goldenWalNames().map((name) => generation(goldenWal(name).bytes));
    const encoded = await encode(generations);
    const whole = await decode([encoded]);
    assert.equal(whole.length, goldenWalNames().length);
    const places = fc.array(fc.nat(encoded.length), { maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(places, async (at) => {
        assert.deepEqual(await decode(cut(encoded, at)), whole);
      }),
      { numRuns: 100 },
    );
    const each = Array.from({ length: 4096 }, (_, i) => i);
    assert.deepEqual(await decode(cut(encoded, each)), whole);
  });

  it('cut at any byte is an error, and no half segment is taken for whole', async () => {
    const encoded = await encode([
      generation(goldenWal('closed').bytes, segmentBytes(['R1.2 C1.2'], { sequenceNumber: 2 })),
      generation(segmentBytes(['R2.3', 'C2.3'])),
    ]);
    const whole = await decode([encoded]);
    assert.equal(whole.length, 3);
    for (let length = 0; length < encoded.length; length++) {
      const received: Received[] = [];
      await assert.rejects(decode([encoded.subarray(0, length)], received), LogTransferError, `cut at ${length}`);
      assert.deepEqual(received, whole.slice(0, received.length));
    }
  });

  it('that is followed by anything, or is something else, is an error', async () => {
    const encoded = await encode([generation(segmentBytes(['R1.1']))]);
    for (const [bytes, says] of [
      [Buffer.concat([encoded, Buffer.alloc(1)]), /bytes follow the end/],
      [Buffer.from('<html>not a log</html>'), /a header claims \d+ bytes/],
      [Buffer.alloc(100), /a header claims 0 bytes/],
      [Buffer.from('\x0d\0\0\0{"end":false}'), /this is no header: "\{/],
      [Buffer.from('\x08\0\0\0{"bytes"'), /this is no header/],
      [Buffer.from('\x30\0\0\0{"sequenceNumber":1,"bytes":-5,"generation":0}  '), /this is no header/],
    ] as const)
      await assert.rejects(decode([bytes]), (error) => error instanceof LogTransferError && says.test(error.message));
  });

  it('passes over what its taker leaves of a segment', async () => {
    const generations = [
      generation(goldenWal('closed').bytes, segmentBytes(['R1.2'])),
      generation(segmentBytes(['R2.3'])),
    ];
    const encoded = await encode(generations);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield* cut(encoded, [3, 50, 51, 700]);
      await Promise.resolve();
    }
    const names: string[] = [];
    for await (const { sequenceNumber, content } of decodeLog(chunks())) {
      names.push(String(sequenceNumber));
      if (names.length === 1) for await (const piece of content) if (piece.length > 0) break;
    }
    assert.deepEqual(names, ['1', '2', '1']);
  });
});

describe('what is sent', () => {
  const LOG = [['R1.1', 'R1.2 C1.1'], ['C1.2'], ['R1.3', 'C1.3 R1.4'], ['C1.4'], ['R2.4 R2.5']];
  const log = generation(
    ...LOG.map((scripts, i) => segmentBytes(scripts, { sequenceNumber: i + 1, closed: i < LOG.length - 1 })),
  );

  for (const [from, kept] of [
    ['0.0', ['1', '2', '3', '4', '5']],
    ['1.1', ['1', '2', '3', '4', '5']],
    ['1.2', ['3', '4', '5']],
    ['1.3', ['3', '4', '5']],
    ['1.4', ['5']],
    ['2.5', []],
    ['9.99', []],
  ] as const)
    it(`after ${from} begins with the segment that has the next operation`, async () => {
      assert.deepEqual(
        await namesOf([log], from),
        kept.map((number) => `0/${number}`),
      );
    });

  it('has the front of each generation left out for itself', async () => {
    const rewritten = generation(segmentBytes(['R1.2 C1.2'], { closed: true }), segmentBytes(['R1.3 R1.4', 'C1.3']));
    assert.deepEqual(await namesOf([log, rewritten], '1.2'), ['0/3', '0/4', '0/5', '1/2']);
  });

  it('keeps every proposal that comes after, whatever was overwritten', async () => {
    const word = fc.tuple(fc.constantFrom('R', 'C'), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 12 }));
    const segment = fc.array(
      word.map(([kind, term, index]) => `${kind}${term}.${index}`),
      { maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { maxLength: 6 }), fc.nat(13), async (scripts, index) => {
        const closed = (i: number): boolean => i < scripts.length - 1;
        const held = generation(...scripts.map((script, i) => segmentBytes(script, { closed: closed(i) })));
        const received = await decode([await encode([held], `4.${index}`)]);
        const first = scripts.findIndex((script) =>
          script.some((w) => w.startsWith('R') && parseOpId(w.slice(1)).index > BigInt(index)),
        );
        const expected = first < 0 ? [] : scripts.map((_, i) => `0/${i + 1}`).slice(first);
        assert.deepEqual(
          received.map(({ name }) => name),
          expected,
        );
      }),
      { numRuns: 200 },
    );
  });

  it('is told by the footer where another segment follows, and by nothing else', async () => {
    const open = (more: Buffer): Buffer => Buffer.concat([headerBytes(), batchBytes(batchPayload('R1.7')), more]);
    const lying = open(closedFooter(1, 3n));
    assert.deepEqual(
      await namesOf([generation(lying, segmentBytes(['R1.8']))], '1.3'),
      ['0/2'],
      'the footer is believed',
    );
    assert.deepEqual(await namesOf([generation(lying)], '1.3'), ['0/1'], 'the newest is read');
    const uncounted = open(closedFooter(1, -1n));
    assert.deepEqual(await namesOf([generation(uncounted, segmentBytes(['R1.8']))], '1.3'), ['0/1', '0/2']);
  });

  it('ends with the last whole batch of a segment that is being written', async () => {
    const whole = Buffer.concat([headerBytes(), batchBytes(batchPayload('R1.1'))]);
    const torn = batchBytes(batchPayload('R1.2 C1.1'));
    for (let length = 0; length < torn.length; length++)
      for (const zeros of [0, 200]) {
        const bytes = Buffer.concat([whole, torn.subarray(0, length), Buffer.alloc(zeros)]);
        const [received] = await decode([await encode([generation(bytes)])]);
        assert.deepEqual(received!.bytes, whole, `${length} bytes of a batch`);
      }
  });

  it('leaves out a newest segment that is just being born', async () => {
    const born = segmentBytes(['R1.1'], { closed: true });
    for (const unborn of [Buffer.alloc(0), Buffer.alloc(5000), headerBytes().subarray(0, 30), Buffer.from('kudu')])
      assert.deepEqual(await namesOf([generation(born, unborn)], '0.0'), ['0/1']);
    const broken = generation(Buffer.from('this is no segment'), born);
    await assert.rejects(
      encode([broken]),
      (error) => error instanceof SpoorError && error.code === 'SPOOR_WAL_CORRUPT',
    );
    const encrypted = generation(born, encryptedSegment());
    await assert.rejects(encode([encrypted]), (error) => error instanceof SpoorError);
  });

  it('may lack what was let go of at its front meanwhile, and nothing behind that', async () => {
    const gone = { sequenceNumber: 1, path: join(dir, 'gone') };
    const [first, second] = generation(segmentBytes(['R1.2'], { closed: true }), segmentBytes(['R1.3'])).segments;
    assert.deepEqual(await namesOf([{ segments: [gone, first!, second!] }], '0.0'), ['0/1', '0/2']);
    const received: Uint8Array[] = [];
    await assert.rejects(async () => {
      for await (const chunk of encodeLog([{ segments: [first!, gone, second!] }], parseOpId('0.0')))
        received.push(chunk);
    }, /ENOENT/);
    await assert.rejects(decode(received), /broke off/);
  });

  it('of nothing is an end and no more', async () => {
    assert.deepEqual(await decode([await encode([])]), []);
  });

  it('closes its file wherever its taker stops', async () => {
    const held = generation(segmentBytes(['R1.1'], { zeros: 0 }));
    const isOpen = (): boolean =>
      readdirSync('/proc/self/fd').some((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === held.segments[0]!.path;
        } catch {
          return false; // the descriptor of the listing itself
        }
      });
    for await (const chunk of encodeLog([held], parseOpId('0.0'))) {
      assert.ok(chunk.length > 0 && isOpen());
      break;
    }
    assert.ok(!isOpen());
  });
});
