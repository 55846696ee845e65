import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { KuduError } from '../../../../src/kudu/errors.ts';
import { RequestHeaderSchema, ResponseHeaderSchema } from '../../../../src/kudu/proto/rpc_pb.ts';
import {
  CONNECTION_PREAMBLE,
  FrameReader,
  decodeResponse,
  encodeRequest,
  newRequestHeader,
} from '../../../../src/kudu/rpc/framing.ts';

/** A response frame with its length prefix, written by hand. */
function response(callId: number, body: Buffer, sidecars: readonly Buffer[] = []): Buffer {
  const offsets: number[] = [];
  let at = body.length;
  for (const sidecar of sidecars) {
    offsets.push(at);
    at += sidecar.length;
  }
  const header = Buffer.from(
    toBinary(ResponseHeaderSchema, create(ResponseHeaderSchema, { callId, sidecarOffsets: offsets })),
  );
  const main = Buffer.concat([body, ...sidecars]);
  const varint = (value: number): Buffer =>
    value < 128 ? Buffer.from([value]) : Buffer.from([(value & 127) | 128, value >> 7]);
  const frame = Buffer.concat([varint(header.length), header, varint(main.length), main]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  return Buffer.concat([length, frame]);
}

describe('framing', () => {
  it('greets as Kudu wants', () => {
    assert.equal(CONNECTION_PREAMBLE.toString('latin1'), 'hrpc\x09\x00\x00');
  });

  it('writes length, header, body and sidecars, and where the sidecars begin', () => {
    const pieces = encodeRequest(newRequestHeader(5), Buffer.from('body'), [
      Buffer.from('one'),
      Buffer.alloc(0),
      Buffer.from('two'),
    ]);
    const bytes = Buffer.concat(pieces);
    assert.equal(bytes.readUInt32BE(0), bytes.length - 4);
    const headerBytes = bytes[4]!;
    const header = fromBinary(RequestHeaderSchema, bytes.subarray(5, 5 + headerBytes));
    assert.deepEqual([header.callId, header.sidecarOffsets], [5, [4, 7, 7]]);
    assert.equal(bytes[5 + headerBytes], 10);
    assert.equal(bytes.subarray(6 + headerBytes).toString(), 'bodyonetwo');
  });

  it('takes a response apart, empty sidecars included', () => {
    const frame = response(7, Buffer.from('body'), [Buffer.from('one'), Buffer.alloc(0), Buffer.from('x'.repeat(200))]);
    const { header, body, sidecars } = decodeResponse(frame.subarray(4));
    assert.equal(header.callId, 7);
    assert.equal(body.toString(), 'body');
    assert.deepEqual(sidecars.map(String), ['one', '', 'x'.repeat(200)]);
  });

  it('gives the same frames however the stream is cut', () => {
    const stream = Buffer.concat([
      response(1, Buffer.from('a')),
      response(2, Buffer.alloc(0)),
      response(3, Buffer.alloc(300, 'c')),
    ]);
    const whole = new FrameReader().push(stream).map((frame) => frame.toString('hex'));
    assert.equal(whole.length, 3);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 12 }), (cuts) => {
        const reader = new FrameReader();
        const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const frames = at.slice(1).flatMap((end, i) => reader.push(stream.subarray(at[i], end)));
        assert.deepEqual(
          frames.map((frame) => frame.toString('hex')),
          whole,
        );
      }),
    );
  });

  it('refuses a peer that speaks something else', () => {
    assert.throws(
      () => new FrameReader().push(Buffer.from('HTTP/1.1 400 Bad Request')),
      (error) => KuduError.is(error, 'protocol'),
    );
  });

  it('refuses any truncated frame instead of reading past its end', () => {
    const frame = response(7, Buffer.from('body'), [Buffer.from('one')]).subarray(4);
    for (let length = 0; length < frame.length; length++)
      assert.throws(
        () => decodeResponse(frame.subarray(0, length)),
        (error) => KuduError.is(error, 'protocol'),
      );
  });

  it('refuses sidecars that lie outside or overlap', () => {
    for (const sidecarOffsets of [[9], [3, 2]]) {
      const header = Buffer.from(
        toBinary(ResponseHeaderSchema, create(ResponseHeaderSchema, { callId: 1, sidecarOffsets })),
      );
      const frame = Buffer.concat([Buffer.from([header.length]), header, Buffer.from([4]), Buffer.from('body')]);
      assert.throws(() => decodeResponse(frame), /sidecar offset/);
    }
  });
});
