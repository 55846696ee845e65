import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { SchemaPBSchema } from '../../src/kudu/proto/common_pb.ts';
import {
  CommitMsgSchema,
  ReplicateMsgSchema,
  type CommitMsg,
  type ReplicateMsg,
} from '../../src/kudu/proto/consensus_pb.ts';
import { LogEntryBatchPBSchema } from '../../src/kudu/proto/log_pb.ts';
import { minimalSchema } from '../../src/kudu/extension-writer.ts';
import type { OpId } from '../../src/kudu/opid.ts';
import { schemaToPb } from '../../src/kudu/schema-codec.ts';
import type { TableSchema } from '../../src/kudu/schema.ts';
import { CommitEntry, OpType, ReplicateEntry, decodeEntryBatch, type LogEntry } from '../../src/wal/entry.ts';
import { encodeRows, type TestRow } from './row-bytes.ts';

/** ExternalConsistencyMode of kudu/common/common.proto. */
const COMMIT_WAIT = 2;
const LOCATION = { path: 'wal-000000001', offset: 0 };

/** `1.7` */
export function opId(term: number, index: number): OpId {
  return { term: BigInt(term), index: BigInt(index) };
}

/** A later operation has a later time. */
export function timeOf(id: OpId): bigint {
  return (1_795_340_944_066_750n + id.index) << 12n;
}

export function replicate(
  id: OpId,
  body: Exclude<MessageInitShape<typeof ReplicateMsgSchema>, ReplicateMsg> = {},
): ReplicateEntry {
  const msg = create(ReplicateMsgSchema, { id, timestamp: timeOf(id), opType: OpType.NO_OP, ...body });
  const [entry] = decode({ entry: [{ type: 1, replicate: msg }] });
  if (!(entry instanceof ReplicateEntry)) throw new TypeError('not a REPLICATE');
  return entry;
}

export function commit(id: OpId, body: Exclude<MessageInitShape<typeof CommitMsgSchema>, CommitMsg> = {}): CommitEntry {
  const msg = create(CommitMsgSchema, { opType: OpType.NO_OP, commitedOpId: id, ...body });
  const [entry] = decode({ entry: [{ type: 2, commit: msg }] });
  if (!(entry instanceof CommitEntry)) throw new TypeError('not a COMMIT');
  return entry;
}

/** A WRITE_OP with rows in the bytes of a client, as the leader logs it. */
export function write(
  id: OpId,
  schema: TableSchema,
  rows: readonly TestRow[],
  more: {
    readonly txnId?: bigint;
    readonly counter?: bigint;
    readonly extension?: Uint8Array;
    /** COMMIT_WAIT: the server stamps it ahead of its clock, by this much hybrid time. */
    readonly commitWaitAhead?: bigint;
    /** As the client numbered it: a retry has the same. */
    readonly requestSequence?: bigint;
  } = {},
): ReplicateEntry {
  const { rows: bytes, indirect } = encodeRows(schema, rows);
  const { commitWaitAhead, requestSequence } = more;
  return replicate(id, {
    opType: OpType.WRITE,
    ...(commitWaitAhead === undefined ? {} : { timestamp: timeOf(id) + commitWaitAhead }),
    ...(requestSequence === undefined
      ? {}
      : { requestId: { clientId: 'client', seqNo: requestSequence, firstIncompleteSeqNo: 1n, attemptNo: 1n } }),
    writeRequest: {
      tabletId: Buffer.from('tablet1'),
      schema: schemaToPb(schema, { withIds: false }),
      rowOperations: { rows: bytes, indirectData: indirect },
      ...(commitWaitAhead === undefined ? {} : { externalConsistencyMode: COMMIT_WAIT }),
      ...(more.txnId === undefined ? {} : { txnId: more.txnId }),
      ...(more.extension === undefined ? {} : { extension: more.extension }),
      ...(more.counter === undefined ? {} : { autoIncrementingColumn: { autoIncrementingCounter: more.counter } }),
    },
  });
}

/** A write without rows that carries an extension, as `KuduClient.writeExtension` sends it. */
export function writeExtension(id: OpId, schema: TableSchema, extension: Uint8Array): ReplicateEntry {
  return replicate(id, {
    opType: OpType.WRITE,
    writeRequest: {
      tabletId: Buffer.from('tablet1'),
      schema: schemaToPb(minimalSchema(schema), { withIds: false }),
      propagatedTimestamp: timeOf(id),
      extension,
    },
  });
}

/** The COMMIT of a write: for each row `applied`, `rejected` or `ignored`. */
export function commitWrite(id: OpId, results: readonly ('applied' | 'rejected' | 'ignored')[]): CommitEntry {
  const ops = results.map((result) => {
    if (result === 'applied') return { skipOnReplay: true, mutatedStores: [{ mrsId: 1n }] };
    return result === 'rejected' ? { failedStatus: { code: 6, message: 'key already present' } } : {};
  });
  return commit(id, { opType: OpType.WRITE, result: { ops } });
}

export function alter(id: OpId, schema: TableSchema, version: number, tableName: string | null = null): ReplicateEntry {
  return replicate(id, {
    opType: OpType.ALTER_SCHEMA,
    alterSchemaRequest: {
      tabletId: Buffer.from('tablet1'),
      schema: schemaToPb(schema, { withIds: true }),
      schemaVersion: version,
      ...(tableName === null ? {} : { newTableName: tableName }),
    },
  });
}

export function commitAlter(id: OpId, succeeded = true): CommitEntry {
  const failed = { result: { ops: [{ failedStatus: { code: 4, message: 'version already present' } }] } };
  return commit(id, { opType: OpType.ALTER_SCHEMA, ...(succeeded ? {} : failed) });
}

/** The bytes of a schema in a request. */
export function schemaBytes(schema: TableSchema): Buffer {
  return Buffer.from(toBinary(SchemaPBSchema, schemaToPb(schema, { withIds: false })));
}

function decode(batch: MessageInitShape<typeof LogEntryBatchPBSchema>): LogEntry[] {
  const bytes = Buffer.from(toBinary(LogEntryBatchPBSchema, create(LogEntryBatchPBSchema, batch)));
  const entries: LogEntry[] = [];
  decodeEntryBatch(bytes, 0, bytes.length, LOCATION, entries);
  return entries;
}
