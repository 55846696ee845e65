import type { RawJson, RawObject } from '../raw-json.ts';
import type { SchemaText } from '../registry/registry-client.ts';
import type { RecordReader } from '../typed/registered-decoder.ts';
import { numberText } from '../typed/number-text.ts';
import { Wire } from './proto-cells.ts';

interface Field {
  readonly name: string;
  readonly type: string;
  readonly isOptional: boolean;
}
type Message = ReadonlyMap<number, Field>;

const MESSAGE = /message\s+(\w+)\s*\{([^}]*)\}/g;
const FIELD =
  /(optional\s+)?([\w.]+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[[^\]]*?json_name\s*=\s*("(?:[^"\\]|\\.)*")[^\]]*\])?\s*;/g;

/** Reads what was written under a .proto text such as ours. @throws {SyntaxError} it is another one */
export function protoRecordReader({ schemaType, text }: SchemaText): RecordReader {
  if (schemaType !== 'PROTOBUF') throw new SyntaxError('is not of Protocol Buffers');
  const messages = new Map<string, Message>();
  let first: Message | null = null;
  for (const [, name = '', body = ''] of text.matchAll(MESSAGE)) {
    const fields = new Map<number, Field>();
    for (const [, optional, type = '', field = '', number, original] of body.matchAll(FIELD))
      fields.set(Number(number), {
        name: original === undefined ? field : (JSON.parse(original) as string),
        type: type.split('.').at(-1)!,
        isOptional: optional !== undefined,
      });
    messages.set(name, fields);
    first ??= fields;
  }
  if (!first) throw new SyntaxError('has no message');
  const message = first;
  return (record) => {
    if (record[0] !== 0) throw new SyntaxError('it is not of the first message');
    return readMessage(record.subarray(1), message, messages);
  };
}

function readMessage(bytes: Buffer, message: Message, messages: ReadonlyMap<string, Message>): RawObject {
  const found = new Map<number, RawJson>();
  const cursor = { bytes, at: 0 };
  while (cursor.at < bytes.length) {
    const tag = Number(readVarint(cursor));
    const field = message.get(tag >>> 3);
    if (!field) throw new SyntaxError('a field that its schema has not');
    found.set(tag >>> 3, readValue(cursor, tag & 7, field, messages));
  }
  const object = new Map<string, RawJson>();
  for (const [number, { name, isOptional }] of message) {
    const value = found.get(number);
    if (value !== undefined) object.set(name, value);
    else if (isOptional) object.set(name, 'null');
  }
  return object;
}

function readValue(cursor: Cursor, wire: number, { type }: Field, messages: ReadonlyMap<string, Message>): RawJson {
  switch (wire) {
    case Wire.VARINT: {
      const value = readVarint(cursor);
      if (type === 'bool') return value === 0n ? 'false' : 'true';
      if (type.startsWith('sint')) return String(BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n)));
      return String(BigInt.asIntN(64, value));
    }
    case Wire.FIXED32:
      return numberText(take(cursor, 4).readFloatLE());
    case Wire.FIXED64:
      return numberText(take(cursor, 8).readDoubleLE());
    case Wire.RUN: {
      const length = readVarint(cursor);
      if (length > 0x7fff_ffffn) throw new SyntaxError('it ends within a value');
      const run = take(cursor, Number(length));
      const message = messages.get(type);
      if (message) return readMessage(run, message, messages);
      return JSON.stringify(run.toString(type === 'bytes' ? 'base64' : 'utf8'));
    }
    default:
      throw new SyntaxError('a field that is written as none of ours is');
  }
}

interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

function take(cursor: Cursor, count: number): Buffer {
  const end = cursor.at + count;
  if (end > cursor.bytes.length) throw new SyntaxError('it ends within a value');
  const taken = cursor.bytes.subarray(cursor.at, end);
  cursor.at = end;
  return taken;
}

function readVarint(cursor: Cursor): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = take(cursor, 1)[0]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asUintN(64, value);
  }
  throw new SyntaxError('a number that does not end');
}
