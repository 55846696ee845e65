import * as z from 'zod';
import { readBigEndian } from '../big-endian.ts';
import { parseIsoDate, parseIsoMicros } from '../iso-time.ts';
import type { RawJson, RawObject } from '../raw-json.ts';
import type { SchemaText } from '../registry/registry-client.ts';
import { AvroCursor } from '../../util/avro-cursor.ts';
import { decimalToString } from '../../kudu/decimal.ts';
import { numberText } from '../typed/number-text.ts';
import type { RecordReader } from '../typed/registered-decoder.ts';
import { COLUMN_PROPERTY } from './avro-schema.ts';

/**
 * Reads a value as the JSON that a JSON record without options has in its place: how it was written its own schema says, and the
 * stream's options may be others by now.
 */
type ValueReader = (cursor: AvroCursor) => RawJson;

const field = z.looseObject({ name: z.string(), type: z.unknown() });
const node = z.looseObject({
  type: z.string(),
  name: z.string().optional(),
  fields: z.array(field).optional(),
  logicalType: z.string().optional(),
  scale: z.int().optional(),
  'connect.name': z.string().optional(),
});
type Node = z.output<typeof node>;

/** Reads what was written under an Avro schema such as ours. @throws {SyntaxError} it is another one */
export function avroRecordReader({ schemaType, text }: SchemaText): RecordReader {
  if (schemaType !== 'AVRO') throw new SyntaxError('is not of Avro');
  const read = readerOf(parseSchema(text), new Map());
  return (record) => {
    const cursor = new AvroCursor(record);
    const value = read(cursor);
    if (!(value instanceof Map)) throw new SyntaxError('it is no record');
    if (cursor.at !== record.length) throw new SyntaxError('there is more behind it');
    return value as RawObject;
  };
}

function parseSchema(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError('is no schema of Avro');
  }
}

function readerOf(schema: unknown, named: Map<string, ValueReader>): ValueReader {
  if (Array.isArray(schema)) return unionReader(schema.map((branch) => readerOf(branch, named)));
  if (typeof schema === 'string') return named.get(schema) ?? primitiveReader({ type: schema });
  const parsed = node.safeParse(schema);
  if (!parsed.success) throw new SyntaxError('has a part that is no schema');
  const { data } = parsed;
  return data.type === 'record' ? recordReader(data, named) : primitiveReader(data);
}

function unionReader(branches: readonly ValueReader[]): ValueReader {
  return (cursor) => {
    const branch = branches[cursor.number()];
    if (!branch) throw new SyntaxError('a branch that its schema has not');
    return branch(cursor);
  };
}

function recordReader({ name = '', fields = [] }: Node, named: Map<string, ValueReader>): ValueReader {
  const readers = fields.map((each) => {
    const column = each[COLUMN_PROPERTY];
    return { name: typeof column === 'string' ? column : each.name, read: readerOf(each.type, named) };
  });
  // `before` comes before `after`, so its type is known when the second names it.
  const read: ValueReader = (cursor) => {
    const record = new Map<string, RawJson>();
    for (const reader of readers) record.set(reader.name, reader.read(cursor));
    return record;
  };
  named.set(name, read);
  return read;
}

function primitiveReader({ type, logicalType, scale = 0, 'connect.name': connectName }: Node): ValueReader {
  switch (type) {
    case 'null':
      return () => 'null';
    case 'boolean':
      return (cursor) => (cursor.take(1)[0] === 0 ? 'false' : 'true');
    case 'int':
      return (cursor) => String(cursor.long());
    case 'long':
      if (logicalType === 'timestamp-millis') return (cursor) => String(cursor.long() * 1000n);
      return (cursor) => String(cursor.long());
    case 'float':
      return (cursor) => numberText(cursor.take(4).readFloatLE());
    case 'double':
      return (cursor) => numberText(cursor.take(8).readDoubleLE());
    case 'bytes':
      if (logicalType === 'decimal')
        return (cursor) => JSON.stringify(decimalToString(readBigEndian(cursor.run()), scale));
      return (cursor) => JSON.stringify(cursor.run().toString('base64'));
    case 'string':
      if (connectName === 'io.debezium.time.IsoTimestamp') return isoReader(parseIsoMicros);
      if (connectName === 'io.debezium.time.IsoDate') return isoReader(parseIsoDate);
      return (cursor) => JSON.stringify(cursor.run().toString());
    default:
      throw new SyntaxError(`has a type ${JSON.stringify(type)} that no schema of ours has`);
  }
}

function isoReader(parse: (text: string) => bigint | number | null): ValueReader {
  return (cursor) => {
    const value = parse(cursor.run().toString());
    if (value === null) throw new SyntaxError('a time that is none');
    return String(value);
  };
}
