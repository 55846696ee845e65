import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { asError } from '../../util/as-error.ts';
import { decimalToString } from '../../kudu/decimal.ts';
import { readBigEndian } from '../big-endian.ts';
import { numberOf, textOf } from '../json-members.ts';
import type { RawJson, RawObject } from '../raw-json.ts';
import type { SchemaText } from '../registry/registry-client.ts';
import type { RecordReader } from '../typed/registered-decoder.ts';
import { numberText } from '../typed/number-text.ts';

interface Field {
  readonly name: string;
  readonly type: string;
  readonly isOptional: boolean;
}
type Message = ReadonlyMap<number, Field>;

/** Kudu's decimals have as many digits at most. */
const MAX_SCALE = 38;
const DECIMAL_TYPES: readonly string[] = ['Decimal', 'KeyDecimal'];
const MESSAGE = /message\s+(\w+)\s*\{((?:"(?:[^"\\]|\\.)*"|[^}"])*)\}/g;
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
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wire] = whole(() => reader.tag());
    const field = message.get(number);
    if (!field) throw new SyntaxError('a field that its schema has not');
    found.set(
      number,
      whole(() => readValue(reader, wire, field, messages)),
    );
  }
  const object = new Map<string, RawJson>();
  for (const [number, { name, isOptional }] of message) {
    const value = found.get(number);
    if (value !== undefined) object.set(name, value);
    else if (isOptional) object.set(name, 'null');
  }
  return object;
}

function readValue(
  reader: BinaryReader,
  wire: WireType,
  { type }: Field,
  messages: ReadonlyMap<string, Message>,
): RawJson {
  switch (wire) {
    case WireType.Varint:
      if (type === 'bool') return String(reader.bool());
      return String(type.startsWith('sint') ? reader.sint64() : reader.int64());
    case WireType.Bit32:
      return numberText(reader.float());
    case WireType.Bit64:
      return numberText(reader.double());
    case WireType.LengthDelimited: {
      const { buffer, byteOffset, byteLength } = reader.bytes();
      const run = Buffer.from(buffer, byteOffset, byteLength);
      const message = messages.get(type);
      if (message) {
        const read = readMessage(run, message, messages);
        return DECIMAL_TYPES.includes(type) ? decimalOf(read) : read;
      }
      return JSON.stringify(run.toString(type === 'bytes' ? 'base64' : 'utf8'));
    }
    case WireType.StartGroup:
    case WireType.EndGroup:
      throw new SyntaxError('a field that is written as none of ours is');
  }
}

/** As JSON has it without options. A number that is 0 is not written. */
function decimalOf(message: RawObject): string {
  const unscaled = Buffer.from(textOf(message.get('value') ?? '""'), 'base64');
  const scale = numberOf(message.get('scale') ?? '0');
  if (scale < 0 || scale > MAX_SCALE) throw new SyntaxError('a decimal that Kudu has not');
  return JSON.stringify(decimalToString(readBigEndian(unscaled), scale));
}

/** The reader throws errors of several kinds where bytes end too early, or are none of the format. */
function whole<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof SyntaxError ? error : new SyntaxError(asError(error).message, { cause: error });
  }
}
