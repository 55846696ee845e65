import type { FileHandle } from 'node:fs/promises';
import { SinkError } from '../sink.ts';
import type { Steps } from './disk.ts';
import { parseBegin, type Begin } from './lines.ts';

const CHUNK = 1 << 20;
const MAX_BEGIN = 64 << 10;
const NEWLINE = 0x0a;

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

/** The bytes from one place of a file to another, about 1 MiB of them at a time; fewer where it ends before that. */
export async function* chunksOf(handle: FileHandle, from: number, end: number, steps: Steps): AsyncGenerator<Buffer> {
  for (let at = from; at < end;) {
    const chunk = await readAt(handle, at, Math.min(CHUNK, end - at), steps);
    if (chunk.length === 0) return;
    yield chunk;
    at += chunk.length;
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

/** Without its line break. */
export async function readLine(handle: FileHandle, start: number, size: number, steps: Steps): Promise<Buffer> {
  for (let length = 4096; ; length *= 2) {
    const bytes = await readAt(handle, start, length, steps);
    const end = bytes.indexOf(NEWLINE);
    if (end >= 0) return bytes.subarray(0, end);
    if (start + length >= size) return bytes;
  }
}

/** Some whole lines, and where in the file they begin. */
export interface Lines {
  readonly lines: Buffer;
  readonly at: number;
}

/** The lines before `end`, about 1 MiB of them at a time, fewer where the file ends before that; what comes last may lack its line break. */
export async function* linesBefore(handle: FileHandle, end: number, steps: Steps): AsyncGenerator<Lines> {
  for (let at = 0, length = CHUNK; at < end;) {
    const wanted = Math.min(length, end - at);
    const bytes = await readAt(handle, at, wanted, steps);
    if (bytes.length === 0) return;
    const isLast = bytes.length < wanted || at + bytes.length >= end;
    const whole = isLast ? bytes.length : bytes.lastIndexOf(NEWLINE) + 1;
    if (whole === 0) {
      length *= 2; // a line that is longer
      continue;
    }
    yield { lines: bytes.subarray(0, whole), at };
    at += whole;
    length = CHUNK;
  }
}

/** Each line of some, and where among them it begins. */
export function* eachLine(lines: Buffer): Generator<readonly [line: Buffer, at: number]> {
  for (let at = 0, end: number; at < lines.length; at = end + 1) {
    end = lines.indexOf(NEWLINE, at);
    if (end < 0) end = lines.length;
    yield [lines.subarray(at, end), at];
  }
}
