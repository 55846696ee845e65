import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { OpIdSchema, ReplicateMsgSchema } from '../../../src/kudu/proto/consensus_pb.ts';
import { WireFormatError, WireReader } from '../../../src/util/wire-reader.ts';

describe('WireReader', () => {
  it('reads every int64 that the protobuf library writes', () => {
    const int64 = fc.oneof(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), fc.bigInt({ min: 0n, max: 300n }));
    fc.assert(
      fc.property(int64, int64, (term, index) => {
        const r = new WireReader(Buffer.from(toBinary(OpIdSchema, create(OpIdSchema, { term, index }))));
        const seen: bigint[] = [];
        while (r.next()) seen[r.field] = r.int64();
        assert.deepEqual([seen[1], seen[2]], [term, index]);
      }),
    );
  });

  it('reads numbers up to 2^53 - 1 exactly, and refuses larger ones', () => {
    for (const value of [0n, 127n, 128n, 16_383n, 16_384n, (1n << 32n) - 1n, (1n << 53n) - 1n]) {
      const r = new WireReader(Buffer.from(toBinary(OpIdSchema, create(OpIdSchema, { term: value, index: 0n }))));
      assert.ok(r.next());
      assert.equal(r.uint(), Number(value));
    }
    const r = new WireReader(Buffer.from(toBinary(OpIdSchema, create(OpIdSchema, { term: 1n << 53n, index: 0n }))));
    assert.ok(r.next());
    assert.throws(() => r.uint(), WireFormatError);
  });

  it('reads on across messages in messages, views and what is skipped', () => {
    const message = create(ReplicateMsgSchema, {
      id: { term: 3n, index: 4n },
      timestamp: 5n << 60n,
      opType: 3,
      writeRequest: { tabletId: Buffer.from('t'), schema: {}, propagatedTimestamp: 1n },
      requestId: { clientId: 'c', seqNo: 1n, firstIncompleteSeqNo: 1n, attemptNo: 1n },
    });
    const padded = Buffer.concat([Buffer.alloc(7), toBinary(ReplicateMsgSchema, message), Buffer.alloc(9)]);
    const inner = new WireReader(padded, 7, padded.length - 9);
    const seen: unknown[] = [];
    while (inner.next()) {
      if (inner.field === 1) {
        const id = inner.message();
        while (id.next()) seen.push(id.int64());
      } else if (inner.field === 2) seen.push(inner.fixed64());
      else if (inner.field === 5) {
        const write = inner.message();
        while (write.next()) {
          if (write.field === 1) seen.push(write.view().toString());
          else write.skip();
        }
      } else inner.skip();
    }
    assert.deepEqual(seen, [3n, 4n, BigInt.asUintN(64, 5n << 60n), 't']);
  });

  it('never looks past its end and throws one kind of error, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(60), (bytes, cut) => {
        const end = Math.min(cut, bytes.length);
        const walk = (r: WireReader, depth: number): void => {
          while (r.next()) {
            if (r.type === 0) r.int64();
            else if (r.type === 1) r.fixed64();
            else if (r.type === 2 && depth < 5) {
              const inner = r.message();
              assert.ok(r.from <= r.to && r.to <= end);
              try {
                walk(inner, depth + 1);
              } catch (error) {
                assert.ok(error instanceof WireFormatError, String(error));
              }
            } else r.skip();
          }
        };
        try {
          walk(new WireReader(Buffer.from(bytes), 0, end), 0);
        } catch (error) {
          assert.ok(error instanceof WireFormatError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses a field of another wire type', () => {
    const r = new WireReader(Buffer.from([0x08, 0x01]));
    assert.ok(r.next());
    assert.throws(() => r.fixed64(), WireFormatError);
    assert.throws(() => r.view(), WireFormatError);
  });
});
