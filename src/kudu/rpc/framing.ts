import { create, fromBinary, toBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { ResponseHeaderSchema, type RequestHeader, RequestHeaderSchema, type ResponseHeader } from '../proto/rpc_pb.ts';
import { KuduError } from '../errors.ts';

/**
 * How messages lie on the wire, both ways (kudu/rpc/serialization.cc):
 *
 *     u32 BE  length of all that follows
 *     varint  length of the header, then the header
 *     varint  length of the main part, then the main part: a message, and behind it the sidecars
 *
 * A header's `sidecar_offsets` say where in the main part each sidecar begins.
 */

/** What a client sends before anything else: "hrpc", protocol version 9, service class 0, auth protocol 0. */
export const CONNECTION_PREAMBLE = Buffer.from([0x68, 0x72, 0x70, 0x63, 9, 0, 0]);

/** Servers close the connection on a larger request (`rpc_max_message_size`). */
export const MAX_REQUEST_BYTES = 50 * 1024 * 1024;
/** More than any server sends: beyond it the stream is taken to be out of step. */
const MAX_RESPONSE_BYTES = 256 * 1024 * 1024;

export interface ResponseFrame {
  readonly header: ResponseHeader;
  /** The message without its sidecars. */
  readonly body: Buffer;
  readonly sidecars: readonly Buffer[];
}

/** The pieces of one request, to be written one after another. Sidecars are not copied. */
export function encodeRequest(
  header: RequestHeader,
  body: Uint8Array,
  sidecars: readonly Uint8Array[] = [],
): readonly Uint8Array[] {
  let mainBytes = body.length;
  for (const sidecar of sidecars) {
    header.sidecarOffsets.push(mainBytes);
    mainBytes += sidecar.length;
  }
  const head = toBinary(RequestHeaderSchema, header);
  const total = varintBytes(head.length) + head.length + varintBytes(mainBytes) + mainBytes;
  const start = Buffer.allocUnsafe(4 + total - mainBytes);
  start.writeUInt32BE(total, 0);
  let at = writeVarint(start, 4, head.length);
  start.set(head, at);
  at = writeVarint(start, at + head.length, mainBytes);
  return [start, body, ...sidecars];
}

/** Cuts a byte stream into frames. Chunks are joined once a frame is whole, so that a large frame is copied once. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** Frames that are whole now, without their length prefix. @throws {KuduError} `protocol` for an absurd length */
  push(chunk: Buffer): Buffer[] {
    this.add(chunk);
    const frames: Buffer[] = [];
    for (let frame = this.take(); frame !== null; frame = this.take()) frames.push(frame);
    return frames;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** The next frame, or null before it is whole. @throws {KuduError} `protocol` for an absurd length */
  take(): Buffer | null {
    const length = this.#peekLength();
    if (length === null || this.#bytes < 4 + length) return null;
    const joined = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#bytes);
    const rest = joined.subarray(4 + length);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
    return joined.subarray(4, 4 + length);
  }

  /** What lies behind the last frame that was taken. */
  rest(): Buffer {
    return Buffer.concat(this.#chunks, this.#bytes);
  }

  #peekLength(): number | null {
    if (this.#bytes < 4) return null;
    // Only the very first bytes of a stream may come so finely cut that the prefix spans chunks.
    if (this.#chunks[0]!.length < 4) this.#chunks = [Buffer.concat(this.#chunks, this.#bytes)];
    const length = this.#chunks[0]!.readUInt32BE(0);
    if (length > MAX_RESPONSE_BYTES)
      throw new KuduError(
        'protocol',
        `the peer announces a frame of ${length} bytes: it does not speak Kudu's protocol`,
      );
    return length;
  }
}

/** Takes a frame apart. @throws {KuduError} `protocol` when its inner lengths do not fit */
export function decodeResponse(frame: Buffer): ResponseFrame {
  const head = readDelimited(frame, 0);
  const header = decodeMessage(ResponseHeaderSchema, head.bytes);
  const main = readDelimited(frame, head.end);
  const offsets = header.sidecarOffsets;
  let previous = 0;
  for (const offset of offsets) {
    if (offset < previous || offset > main.bytes.length) throw malformed(`sidecar offset ${offset}`);
    previous = offset;
  }
  const body = main.bytes.subarray(0, offsets[0] ?? main.bytes.length);
  const sidecars = offsets.map((offset, i) => main.bytes.subarray(offset, offsets[i + 1] ?? main.bytes.length));
  return { header, body, sidecars };
}

/** Parses a message from a peer. @throws {KuduError} `protocol` when the bytes are not that message */
export function decodeMessage<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new KuduError('protocol', `bytes that are no ${schema.typeName}`, { cause });
  }
}

export function newRequestHeader(callId: number): RequestHeader {
  return create(RequestHeaderSchema, { callId });
}

function readDelimited(frame: Buffer, at: number): { bytes: Buffer; end: number } {
  let length = 0;
  for (let i = 0; i < 5; i++) {
    const byte = frame[at + i];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      const start = at + i + 1;
      if (start + length > frame.length) throw malformed(`${length} bytes announced, ${frame.length - start} there`);
      return { bytes: frame.subarray(start, start + length), end: start + length };
    }
  }
  throw malformed('no length where one is due');
}

function malformed(what: string): KuduError {
  return new KuduError('protocol', `malformed frame: ${what}`);
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

function writeVarint(into: Buffer, at: number, value: number): number {
  let rest = value;
  while (rest >= 0x80) {
    into[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  into[at++] = rest;
  return at;
}
