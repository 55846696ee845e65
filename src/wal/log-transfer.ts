import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import * as z from 'zod';
import type { OpId } from '../kudu/opid.ts';
import { LocalSegment } from './local-segment.ts';
import { isMissing } from './log-folder.ts';
import { SegmentCursor, segmentFaultError } from './segment-cursor.ts';
import { readFooterAtEnd } from './segment-format.ts';

// A tablet's log on its way from one sidecar to another. Frames, one after the other:
//
//   u32 header length   header, JSON   the bytes that the header announces
//
// A header is that of a segment, see SegmentFrame, or {"end": true}, after which nothing follows. All numbers are
// little-endian. Of a segment that the asker has, or that it did not ask for, there is the header alone.
// docs/wal-format.md, The log over HTTP.

/** A segment file of a hold. */
export interface HeldSegment {
  /** The number in the file's name. */
  readonly sequenceNumber: number;
  readonly path: string;
}

/** The segments of one incarnation of a replica's log, oldest first, in a folder of its own. */
export interface HeldIncarnation {
  readonly segments: readonly HeldSegment[];
}

/** What is said of a segment before its bytes. */
export interface SegmentFrame {
  readonly sequenceNumber: number;
  readonly bytes: number;
  /** Of which incarnation of the sender's log it is: segments of different ones may have the same number. */
  readonly generation: string;
  /** Index of its lowest REPLICATE, null where it has none. */
  readonly minIndex: bigint | null;
  /** When it was last written to, by the sender's clock, in milliseconds since 1970. */
  readonly lastAppendMs: number;
  /** Whether its bytes follow. */
  readonly isSent: boolean;
}

/** Segments `from` to `to` of a sender's incarnation that an asker has, the last of them up to so many bytes. */
export interface HadSegments {
  readonly generation: string;
  readonly from: number;
  readonly to: number;
  readonly lastBytes: number;
}

/** What of a log is asked for. */
export interface LogRequest {
  /** The asker has these: they are not sent once more. */
  readonly had?: readonly HadSegments[];
  /** Nothing is sent but what there is. */
  readonly headersOnly?: boolean;
}

/** One segment as it comes in. */
export interface ReceivedSegment extends SegmentFrame {
  /** Its bytes, exactly as many, or none where it is not sent. What is left of them is passed over when the next segment is asked for. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** What came is not a whole transfer: it ended too early, or is none. */
export class LogTransferError extends Error {
  override readonly name = 'LogTransferError';
}

const LENGTH_BYTES = 4;
/** A header has six short fields. */
const MAX_HEADER_BYTES = 1024;
const CHUNK_BYTES = 256 * 1024;
const GENERATION_DIGITS = 16;

const count = z.int().nonnegative();
const segmentHeader = z.strictObject({
  sequenceNumber: z.int().positive(),
  bytes: count,
  generation: z.string().regex(/^[A-Za-z0-9_-]{1,40}$/),
  minIndex: z
    .string()
    .regex(/^\d{1,19}$/)
    .transform(BigInt)
    .nullable(),
  lastAppendMs: count,
  sent: z.literal(false).exactOptional(),
});
const frameHeader = z.union([segmentHeader, z.strictObject({ end: z.literal(true) })]);

/**
 * The log of some incarnations from the first operation after `after` on, and what stands around it in the same segments.
 * A segment whose every REPLICATE is at or below `after` is left out where it stands at the front of its incarnation.
 * An open segment ends with its last whole batch; a closed one comes with its footer.
 *
 * Shape:  chunks of at most 256 KiB; one file is open at a time, closed when the iteration ends, also early.
 * Errors: SPOOR_WAL_* where a segment cannot be read; ENOENT where one was let go of after others had been sent.
 *         Nothing is sent of a segment before it was looked through, and no end is sent after an error.
 */
export async function* encodeLog(
  incarnations: readonly HeldIncarnation[],
  after: OpId,
  { had = [], headersOnly = false }: LogRequest = {},
): AsyncGenerator<Uint8Array> {
  let hasSent = false;
  for (const { segments } of incarnations) {
    let isFront = true;
    for (const [i, { path, sequenceNumber }] of segments.entries()) {
      const file = openSegment(path, sequenceNumber, !hasSent);
      if (file === null) continue;
      try {
        const isNewest = i === segments.length - 1;
        const lastAppendMs = lastAppendOf(path); // before it is looked through: rather too old than too young
        const { bytes, minIndex, maxIndex } =
          (isNewest ? null : measureClosed(file)) ?? (await measure(file, isNewest));
        if (bytes === 0 || (isFront && (maxIndex === null || maxIndex <= after.index))) continue;
        isFront = false;
        hasSent = true;
        const segment = { sequenceNumber, bytes, generation: generationOf(path), minIndex, lastAppendMs };
        const isSent = !headersOnly && !isHad(segment, had);
        yield encodeHeader({ ...segment, isSent });
        if (isSent) yield* readBytes(file, bytes);
      } finally {
        file.release();
      }
    }
  }
  yield encodeHeader({ end: true });
}

/**
 * The segments of what {@link encodeLog} gave, however it was cut into chunks. Ends without throwing only after the end
 * frame; the contents of a segment end only when all of it was there.
 * @throws {LogTransferError} when the chunks are not such a log, or end too early; whatever `chunks` throws
 */
export async function* decodeLog(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ReceivedSegment> {
  await using input = new ChunkReader(chunks);
  for (;;) {
    const header = await readHeader(input);
    if ('end' in header) {
      if (await input.hasMore()) throw new LogTransferError('bytes follow the end of the log');
      return;
    }
    const { sent, ...segment } = header;
    const isSent = sent !== false;
    const content = input.take(isSent ? header.bytes : 0);
    yield { ...segment, isSent, content };
    await input.skip(content);
  }
}

/** Whether all of a segment that there is now is among these. */
export function isHad(
  { generation, sequenceNumber, bytes }: Pick<SegmentFrame, 'generation' | 'sequenceNumber' | 'bytes'>,
  had: readonly HadSegments[],
): boolean {
  return had.some(
    (each) =>
      each.generation === generation &&
      sequenceNumber >= each.from &&
      (sequenceNumber < each.to || (sequenceNumber === each.to && bytes === each.lastBytes)),
  );
}

/** How much of a segment there is, and the lowest and the highest index that are proposed in it (null for none). */
interface Measure {
  readonly bytes: number;
  readonly minIndex: bigint | null;
  readonly maxIndex: bigint | null;
}

/**
 * By its footer, without a look at the rest; null where it has none. Only for a segment that another follows: then its
 * writer closed it, and what looks like a footer at its end is one.
 */
function measureClosed(file: LocalSegment): Measure | null {
  const footer = readFooterAtEnd(file);
  if (footer === null || footer.maxReplicateIndex < 0n) return null; // none, or not counted: look
  return { bytes: file.size(), minIndex: footer.minReplicateIndex, maxIndex: footer.maxReplicateIndex };
}

/** By reading it. @param isNewest it may be just being born: then there is nothing of it yet */
async function measure(file: LocalSegment, isNewest: boolean): Promise<Measure> {
  const cursor = new SegmentCursor(file);
  let minIndex: bigint | null = null;
  let maxIndex: bigint | null = null;
  for (;;) {
    const step = await cursor.step();
    switch (step.kind) {
      case 'header':
        break;
      case 'entries':
        for (const { kind, opId } of step.entries) {
          if (kind !== 'replicate') continue;
          if (minIndex === null || opId.index < minIndex) minIndex = opId.index;
          if (maxIndex === null || opId.index > maxIndex) maxIndex = opId.index;
        }
        break;
      case 'closed':
        return { bytes: file.size(), minIndex, maxIndex };
      case 'tail':
        return { bytes: cursor.header === null ? 0 : cursor.offset, minIndex, maxIndex };
      case 'fault':
        if (isNewest && step.fault.kind === 'corrupt') return { bytes: 0, minIndex, maxIndex };
        throw segmentFaultError(file.path, step.fault);
    }
  }
}

/** @returns null where it is gone and may be */
function openSegment(path: string, sequenceNumber: number, mayBeGone: boolean): LocalSegment | null {
  try {
    return new LocalSegment(path, sequenceNumber);
  } catch (error) {
    if (mayBeGone && isMissing(error)) return null;
    throw error;
  }
}

async function* readBytes(file: LocalSegment, bytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes;) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, bytes - at)); // the taker keeps it
    const filled = await file.read(chunk, at);
    if (filled === 0) throw new Error(`${file.path} has become shorter than ${bytes} bytes`);
    yield chunk.subarray(0, filled);
    at += filled;
  }
}

/** Of the name of its folder, which holds the identity of the log and so never comes back (wal/hold-incarnation.ts). */
function generationOf(path: string): string {
  return createHash('sha256')
    .update(basename(dirname(path)))
    .digest('hex')
    .slice(0, GENERATION_DIGITS);
}

/** A file that was let go of meanwhile is none for long: it is as old as can be. */
function lastAppendOf(path: string): number {
  return Math.floor(statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
}

function encodeHeader(header: SegmentFrame | { readonly end: true }): Uint8Array {
  let said: object = header;
  if ('isSent' in header) {
    const { isSent, ...segment } = header;
    said = { ...segment, ...(!isSent && { sent: false }) };
  }
  const json = Buffer.from(
    JSON.stringify(said, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value)),
  );
  const frame = Buffer.alloc(LENGTH_BYTES + json.length);
  frame.writeUInt32LE(json.length);
  json.copy(frame, LENGTH_BYTES);
  return frame;
}

async function readHeader(input: ChunkReader): Promise<z.output<typeof frameHeader>> {
  const length = (await input.gather(LENGTH_BYTES)).readUInt32LE();
  if (length === 0 || length > MAX_HEADER_BYTES) throw new LogTransferError(`a header claims ${length} bytes`);
  const json = (await input.gather(length)).toString();
  try {
    return frameHeader.parse(JSON.parse(json));
  } catch (cause) {
    throw new LogTransferError(`this is no header: ${JSON.stringify(json.slice(0, 100))}`, { cause });
  }
}

/** Gives out bytes by count, whatever chunks they come in. */
class ChunkReader implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next bytes in one piece. */
  async gather(bytes: number): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.take(bytes)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** The next bytes as they come. An iteration that was left early is taken up by the next one. */
  take(bytes: number): AsyncIterable<Uint8Array> {
    let left = bytes;
    const next = async (): Promise<IteratorResult<Uint8Array>> => {
      if (left === 0) return { done: true, value: undefined };
      if (!(await this.hasMore())) throw new LogTransferError(`the transfer broke off, ${left} bytes are missing`);
      const value = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(value.length);
      left -= value.length;
      return { done: false, value };
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  /** Passes over what is left of it. */
  async skip(taken: AsyncIterable<Uint8Array>): Promise<void> {
    const rest = taken[Symbol.asyncIterator]();
    while ((await rest.next()).done !== true);
  }

  async hasMore(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const result = await this.#chunks.next();
      if (result.done === true) return false;
      this.#chunk = result.value;
    }
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }
}
