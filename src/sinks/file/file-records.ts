import type { FileHandle } from 'node:fs/promises';
import { BLOCK_HEAD_BYTES, parseBlockHead, parseHeader, SYNC_BYTES } from './avro/avro-container.ts';
import type { StoredRecord } from '../reader.ts';
import { SinkError } from '../sink.ts';
import { AvroRecordReader } from './avro/avro-record.ts';
import type { Steps } from './disk.ts';
import { openPart, type Part } from './file-parts.ts';
import { TABLE_START } from './lines.ts';
import { eachLine, linesBefore, readAt, readBegin } from './read-lines.ts';
import { parseRecord } from './record-line.ts';

/** A record, and what the reader chooses it by. */
export interface FoundRecord {
  /** Empty for a row or its tombstone. */
  readonly kind: string;
  readonly table: string;
  /** Where in the file it begins. */
  readonly at: number;
  readonly record: Omit<StoredRecord, 'place'>;
}

/** As much of a file is given at a time. */
const SOME_BYTES = 1 << 20;
/** A head of a file, or of a block, is within so many bytes as a rule. */
const HEAD_BYTES = 64 << 10;

/** The records of a file of lines, about 1 MiB of them at a time. */
export async function* lineRecordsOf(part: Part, steps: Steps): AsyncGenerator<readonly FoundRecord[]> {
  const opened = await openPart(part, steps);
  if (opened === null) return;
  const { handle, path } = opened;
  try {
    let { table } = (await readBegin(handle, path, steps)).begin;
    const end = part.bytes ?? (await steps.take(() => handle.stat())).size;
    for await (const { lines, at: start } of linesBefore(handle, end, steps)) {
      const records: FoundRecord[] = [];
      for (const [line, at] of eachLine(lines)) {
        if (startsWith(line, TABLE_START)) ({ table } = JSON.parse(line.toString()) as { table: string });
        const parsed = parseRecord(line);
        if (parsed === null) continue;
        const { kind, ...record } = parsed;
        records.push({ kind, table, at: start + at, record });
      }
      yield records;
    }
  } finally {
    await handle.close();
  }
}

function startsWith(line: Buffer, text: string): boolean {
  return line.length >= text.length && line.toString('latin1', 0, text.length) === text;
}

/** The same of a file of Avro, a block or a part of one at a time. */
export async function* avroRecordsOf(part: Part, steps: Steps): AsyncGenerator<readonly FoundRecord[]> {
  const opened = await openPart(part, steps);
  if (opened === null) return;
  const { handle, path } = opened;
  try {
    const end = part.bytes ?? (await steps.take(() => handle.stat())).size;
    const header = await readHeader(handle, end, steps);
    const reader = new AvroRecordReader(header.schema);
    for (let at = header.end; at < end;) {
      const head = parseBlockHead(await readAt(handle, at, Math.min(BLOCK_HEAD_BYTES, end - at), steps));
      if (head === null || head.bytes < 0) throw new SyntaxError(`a block at ${at} that has no head`);
      const start = at + head.end;
      const block = await readAt(handle, start, head.bytes + SYNC_BYTES, steps);
      if (!block.subarray(head.bytes).equals(header.sync)) throw new SyntaxError(`a block at ${at} without its end`);
      yield* recordsIn(block.subarray(0, head.bytes), head.records, start, reader);
      at = start + head.bytes + SYNC_BYTES;
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw new SinkError('refused', `${path} cannot be read: ${error.message}`, error);
    throw error;
  } finally {
    await handle.close();
  }
}

async function readHeader(
  handle: FileHandle,
  end: number,
  steps: Steps,
): Promise<NonNullable<ReturnType<typeof parseHeader>>> {
  for (let length = HEAD_BYTES; ; length *= 2) {
    const header = parseHeader(await readAt(handle, 0, Math.min(length, end), steps));
    if (header !== null) return header;
    if (length >= end) throw new SyntaxError('it ends within its head');
  }
}

function* recordsIn(
  block: Buffer,
  count: number,
  start: number,
  reader: AvroRecordReader,
): Generator<readonly FoundRecord[]> {
  const { schemas } = reader;
  let records: FoundRecord[] = [];
  let since = 0;
  for (let i = 0, at = 0; i < count; i++) {
    const { record, end } = reader.read(block, at);
    const { kind, table, ...stored } = record;
    records.push({ kind, table, at: start + at, record: { ...stored, ...(schemas && { schemas }) } });
    at = end;
    if (at - since < SOME_BYTES) continue;
    yield records;
    [records, since] = [[], at];
  }
  yield records;
}
