import { fromBinary } from '@bufbuild/protobuf';
import { SchemaPBSchema } from '../kudu/proto/common_pb.ts';
import { schemaFromPb } from '../kudu/schema-codec.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { WireFormatError, type WireReader } from '../util/wire-reader.ts';

/*
 * The requests that operations of the log carry: what a client, or the master, asked the tablet to do. Errors of all that reads
 * one here: a {@link WireFormatError} where it does not hold what it must, and a {@link RangeError} for a data type that we do
 * not know; entry.ts names the place in the log.
 */

/** The parts of a WRITE_OP; the buffers are views of the log's bytes. Source: kudu/tserver/tserver.proto WriteRequestPB. */
export interface WriteOpView {
  /** SchemaPB bytes: the schema that the rows are laid out by, without column ids. */
  readonly schema: Buffer;
  /** RowOperationsPB.rows and .indirect_data; both empty in a write without rows. */
  readonly rows: Buffer;
  readonly indirect: Buffer;
  readonly txnId: bigint | null;
  /** Whether the client waits until the operation's time has passed: it is stamped ahead of the present (kudu-facts 5.9). */
  readonly isCommitWait: boolean;
  /** The table's counter before this operation, or null where the table has no auto-incrementing column. */
  readonly autoIncrementCounter: bigint | null;
}

export interface AlterOpView {
  /** The whole new schema, column ids included. */
  readonly schema: TableSchema;
  readonly schemaVersion: number;
  /** The table's name from here on; null where the request names none. */
  readonly newTableName: string | null;
}

/** Source: kudu/tserver/tserver_admin.proto ParticipantOpPB. */
export interface ParticipantOpView {
  readonly type: number;
  readonly txnId: bigint;
}

/** WriteRequestPB.extension: not Kudu's own (src/kudu/proto/tserver.proto). */
const EXTENSION = 1000;
/** Source: kudu/common/common.proto ExternalConsistencyMode. */
const COMMIT_WAIT = 2;
const EMPTY: Buffer = Buffer.alloc(0);

/** @param r of a WriteRequestPB */
export function readWriteRequest(r: WireReader): WriteOpView {
  let schema = EMPTY;
  let rows = EMPTY;
  let indirect = EMPTY;
  let txnId: bigint | null = null;
  let isCommitWait = false;
  let autoIncrementCounter: bigint | null = null;
  while (r.next()) {
    if (r.field === 2) schema = r.view();
    else if (r.field === 3) {
      const ops = r.message();
      while (ops.next()) {
        if (ops.field === 2) rows = ops.view();
        else if (ops.field === 3) indirect = ops.view();
        else ops.skip();
      }
    } else if (r.field === 4) isCommitWait = r.uint() === COMMIT_WAIT;
    else if (r.field === 7) txnId = r.int64();
    else if (r.field === 8) {
      const counter = r.message();
      while (counter.next()) {
        if (counter.field === 1) autoIncrementCounter = counter.int64();
        else counter.skip();
      }
    } else r.skip();
  }
  return { schema, rows, indirect, txnId, isCommitWait, autoIncrementCounter };
}

/** Of a WriteRequestPB. Data writes are left at their row_operations, which stand before any field that Kudu does not know. */
export function readWriteExtension(r: WireReader): Buffer | null {
  let from = -1;
  let to = -1;
  while (r.next()) {
    if (r.field === 3) {
      r.span();
      if (r.to > r.from) return null;
    } else if (r.field === EXTENSION) {
      r.span();
      from = r.from;
      to = r.to;
    } else r.skip();
  }
  return from < 0 ? null : r.bytes.subarray(from, to);
}

/** @param r of an AlterSchemaRequestPB */
export function readAlterRequest(r: WireReader): AlterOpView {
  let schema: Buffer | null = null;
  let schemaVersion: number | null = null;
  let newTableName: string | null = null;
  while (r.next()) {
    if (r.field === 2) schema = r.view();
    else if (r.field === 3) schemaVersion = r.uint();
    else if (r.field === 4) newTableName = r.view().toString('utf8');
    else r.skip();
  }
  if (schema === null || schemaVersion === null)
    throw new WireFormatError('an AlterSchemaRequestPB lacks its schema or version');
  return { schema: readSchema(schema), schemaVersion, newTableName };
}

/** @param r of a ParticipantRequestPB */
export function readParticipantRequest(r: WireReader): ParticipantOpView {
  let type: number | null = null;
  let txnId: bigint | null = null;
  while (r.next()) {
    if (r.field === 2) {
      const op = r.message();
      while (op.next()) {
        if (op.field === 1) type = op.uint();
        else if (op.field === 2) txnId = op.int64();
        else op.skip();
      }
    } else r.skip();
  }
  if (type === null || txnId === null) throw new WireFormatError('a ParticipantRequestPB lacks its type or txn_id');
  return { type, txnId };
}

function readSchema(bytes: Buffer): TableSchema {
  let pb;
  try {
    pb = fromBinary(SchemaPBSchema, bytes);
  } catch (cause) {
    throw new WireFormatError(`a SchemaPB cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  return schemaFromPb(pb);
}
