import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { TabletPosition } from '../../change/position.ts';
import { SinkError } from '../sink.ts';
import { COMMIT_START, parseBegin, parseCommit, type Begin, type Commit } from './lines.ts';
import { openFile, type Steps } from './disk.ts';

const CHUNK = 1 << 20;
const MAX_BEGIN = 64 << 10;
const NEWLINE = 0x0a;
const MARK = Buffer.from(`\n${COMMIT_START}`);

/** How much of a file counts, and where the tablet is then. */
export interface Sealed {
  readonly begin: Begin;
  /** Up to the end of the last commit line, without its line break; of the first line, where nothing was committed. */
  readonly bytes: number;
  readonly position: TabletPosition | null;
  readonly table: string;
  /** Whether anything was committed in it. */
  readonly hasCommits: boolean;
}

/**
 * Finds the last commit in a file that a writer has left, or still writes to, and makes durable what stands before it. Only what
 * comes last can be torn: a write begins when the one before is durable.
 * @throws of the system, and what is no file of ours
 */
export async function sealedLengthOf(path: string, steps: Steps): Promise<Sealed> {
  const handle = await openFile(path, 'r+', steps);
  try {
    const { size } = await steps.take(() => handle.stat());
    const first = await readBegin(handle, path, steps);
    let end = size;
    for (;;) {
      const start = await findLast(handle, end, steps);
      if (start === null) break;
      const found = await readCommit(handle, start, size, steps);
      if (found !== null) {
        await steps.take(() => handle.datasync());
        const { position, table } = found.commit;
        return { begin: first.begin, bytes: found.end, position, table, hasCommits: true };
      }
      end = start;
    }
    const { begin } = first;
    return { begin, bytes: first.bytes, position: begin.position, table: begin.table, hasCommits: false };
  } finally {
    void handle.close().catch(() => undefined);
  }
}

/** @returns the first line, and its bytes with the line break. @throws {SinkError} `refused`: it has none */
export async function readBegin(
  handle: FileHandle,
  path: string,
  steps: Steps,
): Promise<{ begin: Begin; bytes: number }> {
  const text = await readAt(handle, 0, MAX_BEGIN, steps);
  const end = text.indexOf(NEWLINE);
  try {
    return { begin: parseBegin(text.toString('utf8', 0, Math.max(end, 0))), bytes: end + 1 };
  } catch (error) {
    throw new SinkError('refused', `${path} is no file of Spoor: move it away`, error);
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
  let crc = 0;
  for (let at = commit.from; at < start;) {
    const chunk = await readAt(handle, at, Math.min(CHUNK, start - at), steps);
    if (chunk.length === 0) return null;
    crc = crc32(chunk, crc);
    at += chunk.length;
  }
  return crc32(commit.covered, crc) === commit.crc ? { commit, end: start + line.length } : null;
}

async function readLine(handle: FileHandle, start: number, size: number, steps: Steps): Promise<Buffer> {
  for (let length = 4096; ; length *= 2) {
    const bytes = await readAt(handle, start, length, steps);
    const end = bytes.indexOf(NEWLINE);
    if (end >= 0) return bytes.subarray(0, end);
    if (start + length >= size) return bytes;
  }
}

/** As many bytes as there are, up to `length`. */
export async function readAt(handle: FileHandle, at: number, length: number, steps: Steps): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await steps.take(() => handle.read(bytes, filled, length - filled, at + filled));
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
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
