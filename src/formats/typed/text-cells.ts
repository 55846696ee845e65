import { isUtf8 } from 'node:buffer';
import type { ColumnSchema } from '../../kudu/schema.ts';
import { copyBytes } from '../../util/byte-arena.ts';
import { MAX_VARINT32_BYTES } from '../../util/varints.ts';
import { cellCodec, type CellCodec, type CellWriter } from '../json-cells.ts';

/** Writes the length of what follows, below 2^31, and answers where it ends. */
export type LengthWriter = (out: Buffer, at: number, length: number) => number;

export function fixed(maxBytes: number, write: CellWriter): CellCodec {
  return { write, maxBytes, maxBytesOf: () => maxBytes };
}

/** Bytes, with their length before them. */
export function bytesCodec(writeLength: LengthWriter): CellCodec {
  return lengthPrefixed((out, at, rows, cell, indirect) => {
    const from = readInt32(rows, cell);
    const length = readInt32(rows, cell + 8);
    return copyBytes(out, writeLength(out, at, length), indirect, from, from + length);
  });
}

/** Below so many bytes a loop that looks at each is faster than a call into the engine. */
const FEW_BYTES = 64;

/** As above, of a column whose bytes must be UTF-8. Its writer throws {@link RangeError} where they are not. */
export function textCodec({ name }: ColumnSchema, writeLength: LengthWriter): CellCodec {
  return lengthPrefixed((out, at, rows, cell, indirect) => {
    const from = readInt32(rows, cell);
    const end = from + readInt32(rows, cell + 8);
    at = writeLength(out, at, end - from);
    if (end - from >= FEW_BYTES) {
      const text = indirect.subarray(from, end);
      if (!isUtf8(text)) throw notUtf8(name);
      out.set(text, at);
      return at + text.length;
    }
    let bits = 0;
    for (let i = from; i < end; i++) {
      const byte = indirect[i]!;
      bits |= byte;
      out[at++] = byte;
    }
    if (bits >= 0x80 && !isUtf8(indirect.subarray(from, end))) throw notUtf8(name);
    return at;
  });
}

/** A text of few characters, all of them ASCII, so that its length takes one byte. */
export function shortTextCodec(maxChars: number, write: CellWriter, writeLength: LengthWriter): CellCodec {
  return fixed(1 + maxChars, (out, at, rows, cell, indirect) => {
    const end = write(out, at + 1, rows, cell, indirect);
    writeLength(out, at, end - at - 1);
    return end;
  });
}

/** A decimal as text of less than 62 characters, so that its length takes one byte. */
export function decimalTextCodec(column: ColumnSchema, writeLength: LengthWriter): CellCodec {
  const json = cellCodec(column); // in quotes: the length takes the place of the first
  return fixed(json.maxBytes!, (out, at, rows, cell, indirect) => {
    const end = json.write(out, at, rows, cell, indirect);
    writeLength(out, at, end - at - 2);
    return end - 1;
  });
}

/** A decimal as the nearest double. */
export function decimalDoubleCodec(column: ColumnSchema): CellCodec {
  const json = cellCodec(column);
  const text = Buffer.alloc(json.maxBytes!);
  return fixed(8, (out, at, rows, cell, indirect) => {
    const end = json.write(text, 0, rows, cell, indirect);
    return out.writeDoubleLE(Number(text.toString('latin1', 1, end - 1)), at);
  });
}

/** A default as it would be written, where it is kept in the form of a cell, a var-length one as the bytes themselves. */
export function defaultBytes({ write, maxBytes, maxBytesOf }: CellCodec, value: Buffer): Buffer {
  const out = Buffer.alloc(maxBytesOf(value.length));
  if (maxBytes !== null) return out.subarray(0, write(out, 0, value, 0, value));
  const pointer = Buffer.alloc(16);
  pointer.writeUInt32LE(value.length, 8);
  return out.subarray(0, write(out, 0, pointer, 0, value));
}

export function readInt32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function lengthPrefixed(write: CellWriter): CellCodec {
  return { write, maxBytes: null, maxBytesOf: (valueBytes) => MAX_VARINT32_BYTES + valueBytes };
}

function notUtf8(column: string): RangeError {
  return new RangeError(
    `column ${JSON.stringify(column)} holds bytes that are no UTF-8, which this format has no text for`,
  );
}
