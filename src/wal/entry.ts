import { SpoorError } from '../errors.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import { WireFormatError, WireReader } from '../util/wire-reader.ts';
import {
  readAlterRequest,
  readParticipantRequest,
  readWriteExtension,
  readWriteRequest,
  type AlterOpView,
  type ParticipantOpView,
  type WriteOpView,
} from './operation-requests.ts';

/** What an operation is. Source: kudu/consensus/consensus.proto OperationType. Another number may well come: refuse it. */
export const OpType = { NO_OP: 1, WRITE: 3, ALTER_SCHEMA: 4, CHANGE_CONFIG: 5, PARTICIPANT: 6 } as const;

/** Where a batch of entries lies, for messages only: never a position to go on from. */
export interface BatchLocation {
  readonly path: string;
  readonly offset: number;
}

/** A proposed operation. It may still be overwritten by another leader's: only its {@link CommitEntry} makes it so. */
export class ReplicateEntry {
  readonly kind = 'replicate';
  readonly opId: OpId;
  readonly hybridTime: bigint;
  /** One of {@link OpType}, or a number that we do not know. */
  readonly opType: number;
  readonly location: BatchLocation;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, end: number, location: BatchLocation) {
    const r = new WireReader(bytes, start, end);
    let opId: OpId | null = null;
    let time: bigint | null = null;
    let opType: number | null = null;
    while (r.next()) {
      if (r.field === 1) opId = readOpId(r);
      else if (r.field === 2) time = r.fixed64();
      else if (r.field === 4) opType = r.uint();
      else r.skip();
    }
    if (opId === null || time === null || opType === null)
      throw new WireFormatError('a ReplicateMsg lacks its id, timestamp or op_type');
    this.opId = opId;
    this.hybridTime = time;
    this.opType = opType;
    this.location = location;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  /** The ReplicateMsg as it lies in the log. */
  get body(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  /** Size of {@link body}, without making the view. */
  get byteLength(): number {
    return this.#end - this.#start;
  }

  /** The write request of a WRITE_OP; its authorisation token is passed over unread (kudu-facts trap 54).
   *  @throws {SpoorError} SPOOR_WAL_CORRUPT */
  readWrite(): WriteOpView {
    return this.#read(5, 'write_request', readWriteRequest);
  }

  /**
   * What a client put into a write without rows (WriteRequestPB.extension, a view of the log's bytes); null where there
   * is none, in a write with rows, and in any other operation. Passes over rows without reading them, so that it may be
   * asked of every entry. @throws {SpoorError} SPOOR_WAL_CORRUPT
   */
  readExtension(): Buffer | null {
    if (this.opType !== OpType.WRITE) return null;
    try {
      const r = new WireReader(this.#bytes, this.#start, this.#end);
      while (r.next()) {
        if (r.field === 5) {
          r.span();
          r.aim(r.from, r.to);
          return readWriteExtension(r);
        }
        r.skip();
      }
      return null;
    } catch (cause) {
      throw asWalError(cause, this.location, `REPLICATE ${formatOpId(this.opId)}`);
    }
  }

  /** The request of an ALTER_SCHEMA_OP. Whether it succeeded is for its commit to say.
   *  @throws {SpoorError} SPOOR_WAL_CORRUPT; SPOOR_WAL_UNSUPPORTED where the schema has a type that we do not know */
  readAlter(): AlterOpView {
    return this.#read(6, 'alter_schema_request', readAlterRequest);
  }

  /** The request of a PARTICIPANT_OP: a step of a multi-row transaction. @throws {SpoorError} SPOOR_WAL_CORRUPT */
  readParticipant(): ParticipantOpView {
    return this.#read(9, 'participant_request', readParticipantRequest);
  }

  #read<T>(field: number, name: string, read: (r: WireReader) => T): T {
    try {
      const r = new WireReader(this.#bytes, this.#start, this.#end);
      while (r.next()) {
        if (r.field === field) return read(r.message());
        r.skip();
      }
      throw new WireFormatError(`there is no ${name}`);
    } catch (cause) {
      throw asWalError(cause, this.location, `REPLICATE ${formatOpId(this.opId)}`);
    }
  }
}

/** An operation that a majority has and that this replica applied, with what became of each row. */
export class CommitEntry {
  readonly kind = 'commit';
  /** Of the operation that it commits. */
  readonly opId: OpId;
  readonly opType: number;
  readonly location: BatchLocation;
  readonly #bytes: Buffer;
  /** Bounds of the TxResultPB, or -1: Raft's own operations have none. */
  readonly #start: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, end: number, location: BatchLocation) {
    const r = new WireReader(bytes, start, end);
    let opId: OpId | null = null;
    let opType: number | null = null;
    let resultStart = -1;
    let resultEnd = -1;
    while (r.next()) {
      if (r.field === 1) opType = r.uint();
      else if (r.field === 2) opId = readOpId(r);
      else if (r.field === 3) {
        r.span();
        resultStart = r.from;
        resultEnd = r.to;
      } else r.skip();
    }
    if (opId === null || opType === null) throw new WireFormatError('a CommitMsg lacks its op_type or commited_op_id');
    this.opId = opId;
    this.opType = opType;
    this.location = location;
    this.#bytes = bytes;
    this.#start = resultStart;
    this.#end = resultEnd;
  }

  get hasResult(): boolean {
    return this.#start >= 0;
  }

  /**
   * One byte a row operation, in their order: 1 the row was applied, 0 it was rejected or ignored (kudu-facts 0.3:
   * applied is at least one mutated store and no failed status; skip_on_replay, which a restart adds, says nothing).
   * @throws {SpoorError} SPOOR_WAL_CORRUPT
   */
  readRowResults(): Uint8Array {
    if (this.#start < 0) return NO_RESULTS;
    try {
      // An operation's result takes two bytes at least: its tag and its length.
      const results = new Uint8Array((this.#end - this.#start) >> 1);
      let count = 0;
      const r = new WireReader(this.#bytes, this.#start, this.#end);
      const operation = new WireReader(this.#bytes, 0, 0);
      while (r.next()) {
        if (r.field !== 1) {
          r.skip();
          continue;
        }
        r.span();
        operation.aim(r.from, r.to);
        results[count++] = readApplied(operation) ? 1 : 0;
      }
      return results.subarray(0, count);
    } catch (cause) {
      throw asWalError(cause, this.location, `COMMIT ${formatOpId(this.opId)}`);
    }
  }

  /** Whether the operation itself came to nothing: an ALTER that did not apply. Rows of a write fail one by one instead. */
  get failed(): boolean {
    if (this.#start < 0) return false;
    try {
      const r = new WireReader(this.#bytes, this.#start, this.#end);
      while (r.next()) {
        if (r.field === 1) return readFailed(r.message());
        r.skip();
      }
      return false;
    } catch (cause) {
      throw asWalError(cause, this.location, `COMMIT ${formatOpId(this.opId)}`);
    }
  }
}

export type LogEntry = ReplicateEntry | CommitEntry;

/**
 * Reads one LogEntryBatchPB: the uncompressed content of one batch. On a follower it holds as many operations as came
 * with one consensus request (kudu-facts trap 14). The entries are views of `bytes`, which must not change any more.
 * Errors: SPOOR_WAL_CORRUPT, SPOOR_WAL_UNSUPPORTED; then `into` is as it was.
 * Source: kudu/consensus/log.proto LogEntryBatchPB, LogEntryPB.
 */
export function decodeEntryBatch(
  bytes: Buffer,
  start: number,
  end: number,
  location: BatchLocation,
  into: LogEntry[],
): void {
  const before = into.length;
  try {
    const batch = new WireReader(bytes, start, end);
    while (batch.next()) {
      if (batch.field !== 1) {
        batch.skip();
        continue;
      }
      batch.span();
      into.push(decodeEntry(bytes, batch.from, batch.to, location));
    }
  } catch (cause) {
    into.length = before;
    throw asWalError(cause, location, 'an entry batch');
  }
}

const ENTRY_REPLICATE = 1;
const ENTRY_COMMIT = 2;
const NO_RESULTS = new Uint8Array(0);

function decodeEntry(bytes: Buffer, start: number, end: number, location: BatchLocation): LogEntry {
  const r = new WireReader(bytes, start, end);
  let type = -1;
  let bodyField = -1;
  let bodyStart = 0;
  let bodyEnd = 0;
  while (r.next()) {
    if (r.field === 1) type = r.uint();
    else if (r.field === 2 || r.field === 3) {
      r.span();
      bodyField = r.field;
      bodyStart = r.from;
      bodyEnd = r.to;
    } else r.skip();
  }
  if (type === ENTRY_REPLICATE && bodyField === 2) return new ReplicateEntry(bytes, bodyStart, bodyEnd, location);
  if (type === ENTRY_COMMIT && bodyField === 3) return new CommitEntry(bytes, bodyStart, bodyEnd, location);
  if (type === ENTRY_REPLICATE || type === ENTRY_COMMIT || type === -1)
    throw new WireFormatError(`an entry of type ${type} does not hold what its type says`);
  throw new SpoorError(
    'SPOOR_WAL_UNSUPPORTED',
    `${location.path} byte ${location.offset}: log entry type ${type} is not known`,
    { path: location.path, offset: location.offset },
  );
}

function readOpId(parent: WireReader): OpId {
  const r = parent.message();
  let term: bigint | null = null;
  let index: bigint | null = null;
  while (r.next()) {
    if (r.field === 1) term = r.int64();
    else if (r.field === 2) index = r.int64();
    else r.skip();
  }
  if (term === null || index === null) throw new WireFormatError('an OpId lacks its term or index');
  return { term, index };
}

/** Source: kudu/tablet/tablet.proto OperationResultPB: skip_on_replay#1, failed_status#2, mutated_stores#3. */
function readApplied(r: WireReader): boolean {
  let mutated = false;
  while (r.next()) {
    if (r.field === 2) return false;
    if (r.field === 3) mutated = true;
    r.skip();
  }
  return mutated;
}

function readFailed(r: WireReader): boolean {
  while (r.next()) {
    if (r.field === 2) return true;
    r.skip();
  }
  return false;
}

/** Names the file and byte where reading stopped; what already does is passed on. */
function asWalError(cause: unknown, location: BatchLocation, what: string): unknown {
  const where = `${location.path} byte ${location.offset}: ${what}`;
  const fields = { path: location.path, offset: location.offset };
  if (cause instanceof WireFormatError)
    return new SpoorError(
      'SPOOR_WAL_CORRUPT',
      `${where} passes its checksum but cannot be read: ${cause.message}`,
      fields,
      cause,
    );
  // schemaFromPb met a data type that it does not know
  if (cause instanceof RangeError)
    return new SpoorError('SPOOR_WAL_UNSUPPORTED', `${where}: ${cause.message}`, fields, cause);
  return cause;
}
