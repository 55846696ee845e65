import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import { formatOpId } from '../kudu/opid.ts';
import { SchemaPBSchema } from '../kudu/proto/common_pb.ts';
import { decodeRowOperations, RowOpType } from '../kudu/row-operations.ts';
import { schemaFromPb } from '../kudu/schema-codec.ts';
import { DataType, type TableSchema } from '../kudu/schema.ts';
import { decodeMarker } from '../change/apply-marker.ts';
import { Codec } from '../wal/compression.ts';
import { OpType, type CommitEntry, type LogEntry, type ReplicateEntry } from '../wal/entry.ts';
import { LocalSegment } from '../wal/local-segment.ts';
import { SegmentCursor, segmentFaultError } from '../wal/segment-cursor.ts';
import type { SegmentFooter, SegmentHeader } from '../wal/segment-format.ts';

const SEGMENT_NAME = /^wal-(\d+)$/;

/**
 * Prints what is in a segment, or in the segments of a folder in their order: one JSON line for a segment's header,
 * for each entry and for how the segment ends. Row values and authorisation tokens are never printed (kudu-facts trap
 * 54): of a write, how many rows of which kind; of one without rows, the apply marker that it carries.
 * Errors: the lines before the trouble come first; then SPOOR_WAL_CORRUPT, _UNSUPPORTED or _ENCRYPTED name file and
 *         byte. What an open or crashed segment ends with is no trouble: its `end` line says so.
 * @param isRead false ends it early: nobody wants the rest
 */
export async function dumpWal(
  path: string,
  write: (line: string) => void,
  isRead: () => boolean = () => true,
): Promise<void> {
  const print = (object: object): void => {
    write(JSON.stringify(object));
  };
  for (const segment of await listSegments(path)) if (isRead()) await dumpSegment(segment, print, isRead);
}

async function listSegments(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => SEGMENT_NAME.test(name));
  if (names.length === 0) throw new Error(`${path} holds no log segments (wal-000000001 and so on)`);
  return names.sort((a, b) => sequenceNumberOf(a) - sequenceNumberOf(b)).map((name) => join(path, name));
}

async function dumpSegment(path: string, write: (object: object) => void, isRead: () => boolean): Promise<void> {
  const file = new LocalSegment(path, sequenceNumberOf(basename(path)));
  try {
    const cursor = new SegmentCursor(file);
    while (isRead()) {
      await turn(); // in which it shows that nobody reads
      const step = await cursor.step();
      switch (step.kind) {
        case 'header':
          write({ kind: 'segment', path, ...describeHeader(step.header) });
          break;
        case 'entries':
          for (const entry of step.entries) write(describeEntry(entry));
          break;
        case 'closed':
          write({ kind: 'end', offset: cursor.offset, end: 'closed', ...describeFooter(step.footer) });
          return;
        case 'tail':
          write({ kind: 'end', offset: step.offset, end: step.reason });
          return;
        case 'fault':
          throw segmentFaultError(path, step.fault);
      }
    }
  } finally {
    file.release();
  }
}

function sequenceNumberOf(name: string): number {
  return Number(SEGMENT_NAME.exec(name)?.[1] ?? 0);
}

function describeHeader(header: SegmentHeader): object {
  return {
    tablet_id: header.tabletId,
    sequence_number: Number(header.sequenceNumber),
    schema_version: header.schemaVersion,
    codec: nameOf(Codec, header.codec),
    batch_version: header.batchVersion,
    columns: describeColumns(header.schema),
  };
}

function describeFooter(footer: SegmentFooter): object {
  return {
    entries: Number(footer.entryCount),
    min_index: Number(footer.minReplicateIndex),
    max_index: Number(footer.maxReplicateIndex),
  };
}

function describeColumns(schema: TableSchema): readonly object[] {
  return schema.columns.map((column) => ({
    id: column.id,
    name: column.name,
    type: nameOf(DataType, column.type),
    ...(column.isKey ? { key: true } : {}),
    ...(column.nullable ? { nullable: true } : {}),
  }));
}

function describeEntry(entry: LogEntry): object {
  const common = { kind: entry.kind, offset: entry.location.offset, op_id: formatOpId(entry.opId) };
  const op = nameOf(OpType, entry.opType);
  return entry.kind === 'replicate'
    ? { ...common, op, ...describeTime(entry), ...describeRequest(entry) }
    : { ...common, op, ...describeResult(entry) };
}

function describeTime({ hybridTime }: ReplicateEntry): object {
  const time = new Date(Number(hybridTimeToMicros(hybridTime) / 1000n));
  return { hybrid_time: String(hybridTime), time: Number.isNaN(time.getTime()) ? null : time.toISOString() };
}

function describeRequest(entry: ReplicateEntry): object {
  switch (entry.opType) {
    case OpType.WRITE: {
      const { schema, rows, indirect, txnId, autoIncrementCounter } = entry.readWrite();
      return {
        rows: countRows(schema, rows, indirect),
        bytes: entry.byteLength,
        ...(txnId === null ? {} : { txn_id: String(txnId) }),
        ...(autoIncrementCounter === null ? {} : { auto_increment_counter: String(autoIncrementCounter) }),
        ...describeExtension(entry.readExtension()),
      };
    }
    case OpType.ALTER_SCHEMA: {
      const { schema, schemaVersion, newTableName } = entry.readAlter();
      return { schema_version: schemaVersion, table: newTableName, columns: describeColumns(schema) };
    }
    case OpType.PARTICIPANT: {
      const { type, txnId } = entry.readParticipant();
      return { step: type, txn_id: String(txnId) };
    }
    default:
      return { bytes: entry.byteLength };
  }
}

/** Our own in full: it holds positions and names only. Of another's bytes, how many there are. */
function describeExtension(extension: Buffer | null): object {
  if (extension === null) return {};
  const marker = decodeMarker(extension);
  if (marker === null) return { extension_bytes: extension.length };
  const streams = marker.streams.map(({ generation, sink, position }) => ({
    generation,
    sink,
    op_id: formatOpId(position.opId),
    table: position.tableName,
    schema_version: position.schemaVersion,
  }));
  return { marker: { sidecar: marker.sidecar, streams } };
}

/** Row operations by kind, or why they cannot be counted: the dump goes on, since it is there to look into damage. */
function countRows(schema: Buffer, rows: Buffer, indirect: Buffer): object | string {
  try {
    const counts: Record<string, number> = {};
    for (const { type } of decodeRowOperations(schemaFromPb(fromBinary(SchemaPBSchema, schema)), { rows, indirect })) {
      const name = nameOf(RowOpType, type);
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  } catch (error) {
    return `unreadable: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function describeResult(entry: CommitEntry): object {
  if (!entry.hasResult) return {};
  if (entry.opType !== OpType.WRITE) return { failed: entry.failed };
  const results = entry.readRowResults();
  const applied = results.reduce((sum, one) => sum + one, 0);
  return { applied, not_applied: results.length - applied };
}

/** The name of a number in one of our tables, or the number itself where there is none. */
function nameOf(table: Readonly<Record<string, number>>, number: number): string {
  return Object.entries(table).find(([, known]) => known === number)?.[0] ?? String(number);
}
