import { randomBytes } from 'node:crypto';
import { AvroCursor, AvroEndError } from '../../../util/avro-cursor.ts';
import { MAX_VARINT64_BYTES, writeZigzagBigInt } from '../../../util/varints.ts';

/*
 * Object container files: a header with the schema, then blocks, each with how many records it has, their bytes, and the marker that
 * the header ends with. https://avro.apache.org/docs/1.12.0/specification/#object-container-files
 */

const MAGIC = Buffer.from('Obj\x01', 'latin1');
export const SYNC_BYTES = 16;
const SCHEMA = 'avro.schema';
const CODEC = 'avro.codec';

export interface ContainerHeader {
  readonly bytes: Buffer;
  readonly sync: Buffer;
}

export function containerHeader(schema: string): ContainerHeader {
  const sync = randomBytes(SYNC_BYTES);
  const entries = [SCHEMA, schema, CODEC, 'null'].map(runOf);
  return { bytes: Buffer.concat([MAGIC, longOf(2), ...entries, longOf(0), sync]), sync };
}

/** What stands before the records of a block has no more. */
export const BLOCK_HEAD_BYTES = 2 * MAX_VARINT64_BYTES;

/** What stands before the records of a block; the marker stands behind them. */
export function blockHead(records: number, bytes: number): Buffer {
  return Buffer.concat([longOf(records), longOf(bytes)]);
}

/** A number as Avro has all of them. */
export function longOf(value: number): Buffer {
  const out = Buffer.allocUnsafe(MAX_VARINT64_BYTES);
  return out.subarray(0, writeZigzagBigInt(out, 0, BigInt(value)));
}

/** Text, or bytes, with their length before them. */
export function runOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([longOf(bytes.length), bytes]);
}

/** What a file begins with. */
export interface ParsedHeader {
  readonly schema: string;
  readonly sync: Buffer;
  /** Where the first block begins. */
  readonly end: number;
}

/** Null: it goes on behind these bytes. @throws {SyntaxError} it is no such file, or its blocks are compressed */
export function parseHeader(bytes: Buffer): ParsedHeader | null {
  const magic = bytes.subarray(0, MAGIC.length);
  if (!magic.equals(MAGIC.subarray(0, magic.length))) throw new SyntaxError('it is no object container file of Avro');
  const cursor = new AvroCursor(bytes, MAGIC.length);
  try {
    const meta = new Map<string, string>();
    for (let count = cursor.number(); count !== 0; count = cursor.number()) {
      if (count < 0) cursor.number(); // with its length in bytes
      for (let i = Math.abs(count); i > 0; i--) meta.set(cursor.run().toString(), cursor.run().toString());
    }
    const sync = cursor.take(SYNC_BYTES);
    const [schema, codec = 'null'] = [meta.get(SCHEMA), meta.get(CODEC)];
    if (schema === undefined || codec !== 'null')
      throw new SyntaxError(`it has no schema, or is compressed (${codec})`);
    return { schema, sync: Buffer.from(sync), end: cursor.at };
  } catch (error) {
    if (error instanceof AvroEndError) return null;
    throw error;
  }
}

/** Null: it goes on behind these bytes. @throws {SyntaxError} a number is none */
export function parseBlockHead(
  bytes: Buffer,
): { readonly records: number; readonly bytes: number; readonly end: number } | null {
  const cursor = new AvroCursor(bytes);
  try {
    return { records: cursor.number(), bytes: cursor.number(), end: cursor.at };
  } catch (error) {
    if (error instanceof AvroEndError) return null;
    throw error;
  }
}
