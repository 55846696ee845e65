import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { TabletPosition } from '../../change/position.ts';
import { openFile, openIfThere, type Steps } from './disk.ts';
import { COMMIT_START, DATA_START, parseCommit, type Begin, type Commit, type CommittedData } from './lines.ts';
import { chunksOf, eachLine, linesBefore, readAt, readBegin, readLine } from './read-lines.ts';
import { isRecord } from './record-line.ts';

const CHUNK = 1 << 20;
const MARK = Buffer.from(`\n${COMMIT_START}`);

/** How much of a file counts, and where the tablet is then. */
export interface Sealed {
  readonly begin: Begin;
  /** Up to the end of the last commit line, without its line break; of the first line, where nothing was committed. */
  readonly bytes: number;
  readonly position: TabletPosition | null;
  readonly table: string;
  /** Whether any record was committed in it. */
  readonly hasRecords: boolean;
}

/**
 * Finds the last commit in a file that a writer has left, or still writes to, and makes durable what stands before it. Only what
 * comes last can be torn: a write begins when the one before is durable.
 * @throws of the system, and what is no file of ours
 */
export async function sealedLengthOf(path: string, steps: Steps): Promise<Sealed> {
  const handle = await openFile(path, 'r+', steps);
  const folder = dirname(path);
  try {
    const { size } = await steps.take(() => handle.stat());
    const first = await readBegin(handle, path, steps);
    let end = size;
    for (;;) {
      const start = await findLast(handle, end, steps);
      if (start === null) break;
      const found = await readCommit(handle, start, size, steps);
      if (found !== null && (await hasData(folder, found.commit.data, steps))) {
        await steps.take(() => handle.datasync());
        const { position, table } = found.commit;
        const hasRecords = await hasRecordBefore(handle, found.end, steps);
        return { begin: first.begin, bytes: found.end, position, table, hasRecords };
      }
      end = start;
    }
    const { begin } = first;
    return { begin, bytes: first.bytes, position: begin.position, table: begin.table, hasRecords: false };
  } finally {
    void handle.close().catch(() => undefined);
  }
}

/** @returns where the last line that looks like a commit begins, of those that begin before `end` */
async function findLast(handle: FileHandle, end: number, steps: Steps): Promise<number | null> {
  for (let to = end; to > 0;) {
    const from = Math.max(0, to - CHUNK);
    const chunk = await readAt(handle, from, to - from, steps);
    const at = chunk.lastIndexOf(MARK);
    if (at >= 0) return from + at + 1;
    if (from === 0) return null;
    to = from + MARK.length - 1; // one may lie across
  }
  return null;
}

/** Null where it is torn, or what stands before it is. */
async function readCommit(
  handle: FileHandle,
  start: number,
  size: number,
  steps: Steps,
): Promise<{ commit: Commit; end: number } | null> {
  const line = await readLine(handle, start, size, steps);
  const commit = parseCommit(line.toString());
  if (commit === null || commit.from > start) return null;
  const crc = await crcOf(handle, commit.from, start, steps);
  if (crc === null) return null;
  return crc32(commit.covered, crc) === commit.crc ? { commit, end: start + line.length } : null;
}

/** Null where the file ends before that. */
async function crcOf(handle: FileHandle, from: number, end: number, steps: Steps): Promise<number | null> {
  let crc = 0;
  let bytes = 0;
  for await (const chunk of chunksOf(handle, from, end, steps)) {
    crc = crc32(chunk, crc);
    bytes += chunk.length;
  }
  return bytes < end - from ? null : crc;
}

/** Makes durable what a write has put beside the log. @returns whether it is there, as it was written */
async function hasData(folder: string, data: readonly CommittedData[], steps: Steps): Promise<boolean> {
  for (const { file, from, bytes, crc } of data) {
    const handle = await openIfThere(join(folder, file), steps, 'r+');
    if (handle === null) return false;
    try {
      if ((await crcOf(handle, from, bytes, steps)) !== crc) return false;
      await steps.take(() => handle.datasync());
    } finally {
      void handle.close().catch(() => undefined);
    }
  }
  return true;
}

/** What a journal tells of, up to a length of it: of each file how much counts, in their order. */
export async function committedData(path: string, bytes: number, steps: Steps): Promise<readonly CommittedData[]> {
  const handle = await openFile(path, 'r', steps);
  const files = new Map<string, CommittedData>();
  try {
    for await (const { lines } of linesBefore(handle, bytes, steps))
      for (const [line] of eachLine(lines))
        if (hasDataBeside(line))
          for (const data of parseCommit(line.toString())?.data ?? []) files.set(data.file, data);
  } finally {
    void handle.close().catch(() => undefined);
  }
  return [...files.values()];
}

function hasDataBeside(line: Buffer): boolean {
  return line.includes(DATA_START);
}

/** As a rule the second line is one. */
async function hasRecordBefore(handle: FileHandle, end: number, steps: Steps): Promise<boolean> {
  for await (const { lines } of linesBefore(handle, end, steps))
    for (const [line] of eachLine(lines)) if (isRecord(line) || hasDataBeside(line)) return true;
  return false;
}

/** Up to the end of the last commit that its writer has said: with its line break. 0 for none. */
export async function committedLengthOf(handle: FileHandle, steps: Steps): Promise<number> {
  const { size } = await steps.take(() => handle.stat());
  for (let end = size; ;) {
    const start = await findLast(handle, end, steps);
    if (start === null) return 0;
    const line = await readLine(handle, start, size, steps);
    if (start + line.length < size) return start + line.length;
    end = start;
  }
}
