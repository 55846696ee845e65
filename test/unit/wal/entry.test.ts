import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { SpoorError, type ErrorCode } from '../../../src/errors.ts';
import { LogEntryBatchPBSchema } from '../../../src/kudu/proto/log_pb.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { CommitEntry, OpType, ReplicateEntry, decodeEntryBatch, type LogEntry } from '../../../src/wal/entry.ts';
import { commit, opId, replicate, write, writeExtension } from '../../support/log-entries.ts';
import { column } from '../../support/row-bytes.ts';
import { batchPayload } from '../../support/segment-bytes.ts';

const LOCATION = { path: 'wal-000000007', offset: 4711 };
const SCHEMA = { columns: [column('id', DataType.INT8, { isKey: true })] };

function decode(payload: Buffer): LogEntry[] {
  const entries: LogEntry[] = [];
  decodeEntryBatch(payload, 0, payload.length, LOCATION, entries);
  return entries;
}
const throwsAt = (code: ErrorCode, run: () => unknown, message: RegExp): void => {
  assert.throws(run, (error) => error instanceof SpoorError && error.code === code && message.test(error.message));
};

/** A length-delimited field. */
const field = (number: number, content: Buffer): Buffer => {
  const length = content.length < 128 ? [content.length] : [(content.length & 0x7f) | 0x80, content.length >> 7];
  const tag = (number << 3) | 2; // of at most two bytes
  return Buffer.concat([Buffer.from([...(tag < 128 ? [tag] : [(tag & 0x7f) | 0x80, tag >> 7]), ...length]), content]);
};

describe('decodeEntryBatch', () => {
  it('gives every entry of a batch, in order (trap 14)', () => {
    const entries = decode(batchPayload('R1.1 R1.2 C1.1 R2.2'));
    assert.deepEqual(
      entries.map((entry) => [entry.kind, entry.opId.term, entry.opId.index]),
      [
        ['replicate', 1n, 1n],
        ['replicate', 1n, 2n],
        ['commit', 1n, 1n],
        ['replicate', 2n, 2n],
      ],
    );
    assert.deepEqual(entries[0]!.location, LOCATION);
  });

  it('refuses an entry type that it does not know, and never skips it (trap 13)', () => {
    const payload = Buffer.from(
      toBinary(LogEntryBatchPBSchema, create(LogEntryBatchPBSchema, { entry: [{ type: 999 }] })),
    );
    throwsAt('SPOOR_WAL_UNSUPPORTED', () => decode(payload), /wal-000000007 byte 4711: log entry type 999/);
  });

  it('passes an op_type that it does not know on, for the reader to refuse (trap 13)', () => {
    assert.equal(replicate(opId(1, 1), { opType: 77 }).opType, 77);
  });

  it('names file and byte of a batch that is cut short or lacks what it must have, and adds none of it', () => {
    const payload = batchPayload('R1.1 R1.2');
    for (let length = 1; length < payload.length; length++) {
      const entries: LogEntry[] = [];
      try {
        decodeEntryBatch(payload, 0, length, LOCATION, entries);
        assert.equal(entries.length, 1); // cut just between the two
      } catch (error) {
        assert.ok(error instanceof SpoorError && error.code === 'SPOOR_WAL_CORRUPT');
        assert.equal(entries.length, 0);
      }
    }
    const withoutId = field(1, Buffer.concat([Buffer.from([0x08, 1]), field(2, Buffer.from([0x20, 1]))]));
    throwsAt('SPOOR_WAL_CORRUPT', () => decode(withoutId), /byte 4711: .*lacks its id/);
    const replicateWithoutBody = field(1, Buffer.from([0x08, 1]));
    throwsAt('SPOOR_WAL_CORRUPT', () => decode(replicateWithoutBody), /byte 4711/);
  });

  it('reads entries as views of the bytes, in the middle of a larger buffer', () => {
    const payload = batchPayload('R1.1 C1.1');
    const padded = Buffer.concat([Buffer.alloc(5, 0xff), payload, Buffer.alloc(5, 0xff)]);
    const entries: LogEntry[] = [];
    decodeEntryBatch(padded, 5, 5 + payload.length, LOCATION, entries);
    const [first] = entries;
    assert.ok(first instanceof ReplicateEntry);
    assert.equal(first.body.buffer, padded.buffer);
    assert.equal(first.body.length, first.byteLength);
  });
});

describe('ReplicateEntry', () => {
  it('reads a write past an authorisation token and fields that Kudu does not know', () => {
    const entry = write(opId(1, 2), SCHEMA, [{ op: 1, cells: [Buffer.of(9)] }], { txnId: 12n, counter: 1n << 40n });
    const body = Buffer.from(entry.body);
    const message = field(
      1,
      Buffer.concat([Buffer.from([0x08, 1]), field(2, Buffer.concat([body, field(99, Buffer.from('later'))]))]),
    );
    const [again] = decode(message);
    assert.ok(again instanceof ReplicateEntry);
    const { rows, indirect, txnId, autoIncrementCounter } = again.readWrite();
    assert.deepEqual([...rows], [1, 1, 9]);
    assert.equal(indirect.length, 0);
    assert.equal(txnId, 12n);
    assert.equal(autoIncrementCounter, 1n << 40n);
  });

  it('reads a write without rows: a marker', () => {
    const marker = replicate(opId(1, 2), {
      opType: OpType.WRITE,
      writeRequest: { tabletId: Buffer.from('t'), schema: { columns: [] } },
    });
    assert.deepEqual(marker.readWrite(), {
      schema: Buffer.alloc(0),
      rows: Buffer.alloc(0),
      indirect: Buffer.alloc(0),
      txnId: null,
      isCommitWait: false,
      autoIncrementCounter: null,
    });
  });

  it('gives the extension of a write without rows as a view of the log, and no other', () => {
    const extension = Buffer.from('\x00ours\xff', 'latin1');
    const marker = writeExtension(opId(1, 2), SCHEMA, extension);
    const found = marker.readExtension();
    assert.deepEqual(found, extension);
    assert.equal(found.buffer, marker.body.buffer);
    assert.equal(marker.readWrite().rows.length, 0);
    assert.deepEqual(writeExtension(opId(1, 2), SCHEMA, Buffer.alloc(0)).readExtension(), Buffer.alloc(0));

    const rows = [{ op: 1, cells: [Buffer.of(9)] }];
    assert.equal(write(opId(1, 2), SCHEMA, rows).readExtension(), null);
    assert.equal(write(opId(1, 2), SCHEMA, rows, { extension }).readExtension(), null, 'what has rows is data');
    assert.deepEqual([...write(opId(1, 2), SCHEMA, rows, { extension }).readWrite().rows], [1, 1, 9]);
    assert.equal(write(opId(1, 2), SCHEMA, []).readExtension(), null);
    assert.equal(replicate(opId(1, 2)).readExtension(), null);
    assert.equal(replicate(opId(1, 2), { opType: OpType.WRITE }).readExtension(), null);
  });

  it('finds an extension between other fields, in whatever order, and the last of several', () => {
    const extension = (text: string): Buffer => field(1000, Buffer.from(text));
    const withRequest = (...fields: Buffer[]): ReplicateEntry => {
      const request = field(5, Buffer.concat(fields));
      const head = replicate(opId(1, 2), { opType: OpType.WRITE }).body;
      const [entry] = decode(
        field(1, Buffer.concat([Buffer.from([0x08, 1]), field(2, Buffer.concat([head, request]))])),
      );
      assert.ok(entry instanceof ReplicateEntry);
      return entry;
    };
    const [token, noRows, someRows] = [
      field(6, Buffer.from('token')),
      field(3, Buffer.alloc(0)),
      field(3, Buffer.of(18, 1, 5)),
    ];
    assert.equal(String(withRequest(extension('a'), token, field(1001, Buffer.of(1))).readExtension()), 'a');
    assert.equal(String(withRequest(token, noRows, extension('a'), extension('b')).readExtension()), 'b');
    assert.equal(withRequest(extension('a'), someRows).readExtension(), null);
    throwsAt(
      'SPOOR_WAL_CORRUPT',
      () => withRequest(Buffer.of(0xc2, 0x3e, 9, 1)).readExtension(),
      /byte 4711: REPLICATE 1\.2 .*cut short/,
    );
    throwsAt('SPOOR_WAL_CORRUPT', () => withRequest(Buffer.of(0xc0, 0x3e, 9)).readExtension(), /wire type 0/);
  });

  it('refuses an ALTER with a data type that it does not know (trap 13)', () => {
    const entry = replicate(opId(1, 2), {
      opType: OpType.ALTER_SCHEMA,
      alterSchemaRequest: {
        tabletId: Buffer.from('t'),
        schema: { columns: [{ name: 'a', type: 21, id: 1 }] },
        schemaVersion: 2,
      },
    });
    throwsAt('SPOOR_WAL_UNSUPPORTED', () => entry.readAlter(), /data type 21/);
  });

  it('says so when it does not hold what its reader asks for', () => {
    throwsAt('SPOOR_WAL_CORRUPT', () => replicate(opId(3, 4)).readWrite(), /REPLICATE 3\.4 .*no write_request/);
  });
});

describe('CommitEntry', () => {
  it('takes a row for applied when a store was mutated and nothing failed, whatever else is said (traps 17, 18)', () => {
    const ops = [
      { mutatedStores: [{ mrsId: 1n }] },
      {
        mutatedStores: [
          { rsId: 1n, dmsId: 2n },
          { rsId: 2n, dmsId: 2n },
        ],
      },
      { mutatedStores: [{ mrsId: 1n }], skipOnReplay: true },
      {},
      { skipOnReplay: true },
      { failedStatus: { code: 6, message: 'key already present' } },
      { failedStatus: { code: 1, message: 'key not found' }, skipOnReplay: true },
      { mutatedStores: [{ mrsId: 1n, rsTxnId: 7n }] },
    ];
    const entry = commit(opId(1, 2), { opType: OpType.WRITE, result: { ops } });
    assert.deepEqual([...entry.readRowResults()], [1, 1, 1, 0, 0, 0, 0, 1]);
  });

  it('reads the results of a large write', () => {
    const ops = Array.from({ length: 5000 }, (_, i) => (i % 3 === 0 ? {} : { mutatedStores: [{ mrsId: -1n }] }));
    const results = commit(opId(1, 2), { opType: OpType.WRITE, result: { ops } }).readRowResults();
    assert.deepEqual(
      [...results],
      ops.map((_, i) => (i % 3 === 0 ? 0 : 1)),
    );
  });

  it('has no rows for an operation of Raft itself, nor for a write without rows', () => {
    const raft = commit(opId(1, 1));
    assert.equal(raft.hasResult, false);
    assert.equal(raft.readRowResults().length, 0);
    assert.equal(raft.failed, false);
    const marker = commit(opId(1, 1), { opType: OpType.WRITE, result: {} });
    assert.equal(marker.hasResult, true);
    assert.equal(marker.readRowResults().length, 0);
  });

  it('tells a failed ALTER from one that applied', () => {
    const failed = commit(opId(1, 1), {
      opType: OpType.ALTER_SCHEMA,
      result: { ops: [{ failedStatus: { code: 4, message: 'version already present' } }] },
    });
    assert.ok(failed instanceof CommitEntry);
    assert.equal(failed.failed, true);
    assert.equal(commit(opId(1, 1), { opType: OpType.ALTER_SCHEMA }).failed, false);
  });
});
