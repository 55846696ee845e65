import { cellBytes } from '../kudu/cell-codec.ts';
import { DataType, type ColumnSchema } from '../kudu/schema.ts';
import { MAX_INT64_CHARS, writeBigInt, writeInt, writeLatin1 } from '../util/ascii-numbers.ts';
import { base64StringBytes, writeBase64String } from '../util/json-bytes.ts';
import { MAX_BIG_ENDIAN_BYTES, writeBigEndian } from './big-endian.ts';
import { isoDate, isoMicros, MAX_ISO_CHARS, microsToMillis } from './iso-time.ts';
import { cellCodec, type CellCodec, type CellWriter } from './json-cells.ts';
import type { ValueOptions } from './json-definition.ts';
import { refuseLossyKey } from './lossy-keys.ts';
import { valueKind } from './value-kinds.ts';

/** Called for each NaN and infinity that is written as null. */
export type OnNonFinite = () => void;

const QUOTE = 0x22;

/**
 * How a column is written with a stream's options; {@link cellCodec} where they say nothing of its type.
 * @throws {RangeError} no rule for the type; or the option would write two keys as one
 */
export function valueCodec(column: ColumnSchema, options: ValueOptions, onNonFinite: OnNonFinite): CellCodec {
  const { decimals, time, binary, nonFinite } = options;
  const plain = cellCodec(column);
  refuseLossyKey(column, options);
  switch (valueKind(column.type)) {
    case 'decimal':
      if (decimals === 'precise') return preciseDecimal(cellBytes(column.type));
      if (decimals === 'string') return plain;
      return withoutQuotes(plain);
    case 'time':
      if (time === 'isostring') return fixed(MAX_ISO_CHARS + 2, writeTimeText);
      if (time === 'adaptive') return plain;
      return fixed(MAX_INT64_CHARS, writeMillis);
    case 'date':
      return time === 'isostring' ? fixed(MAX_ISO_CHARS + 2, writeDateText) : plain;
    case 'binary':
      return binary === 'hex' ? hexCodec(plain) : plain;
    case 'float':
      return nonFinite === 'string' ? plain : finiteOnly(column, plain, nonFinite, onNonFinite);
    case 'other':
      return plain;
  }
}

function fixed(maxBytes: number, write: CellWriter): CellCodec {
  return { write, maxBytes, maxBytesOf: () => maxBytes };
}

const UNSCALED = Buffer.alloc(MAX_BIG_ENDIAN_BYTES);

/** The unscaled value as Java writes it, in base64: Connect's Decimal in JSON. */
function preciseDecimal(size: number): CellCodec {
  return fixed(base64StringBytes(MAX_BIG_ENDIAN_BYTES), (out, at, rows, cell) =>
    writeBase64String(out, at, UNSCALED, 0, writeBigEndian(UNSCALED, 0, rows, cell, size)),
  );
}

/** All its digits all the same: what a reader makes of them is the nearest double. */
function withoutQuotes({ write, ...codec }: CellCodec): CellCodec {
  return {
    ...codec,
    write: (out, at, rows, cell, indirect) => {
      const end = write(out, at, rows, cell, indirect) - 1;
      out.copyWithin(at, at + 1, end);
      return end - 1;
    },
  };
}

/** Beyond this a time is no exact double of microseconds. */
const EXACT_HIGH = 0x1f_ffff;

function writeMillis(out: Buffer, at: number, rows: Buffer, cell: number): number {
  const high = rows.readInt32LE(cell + 4);
  if (high < -EXACT_HIGH || high > EXACT_HIGH) return writeBigInt(out, at, microsToMillis(rows.readBigInt64LE(cell)));
  return writeInt(out, at, Math.floor((high * 0x1_0000_0000 + rows.readUInt32LE(cell)) / 1000));
}

const DAY_MICROS = 86_400_000_000;
/** Rows that come together are mostly of one day. */
let [lastDay, lastDate] = [0, isoDate(0)];

function writeTimeText(out: Buffer, at: number, rows: Buffer, cell: number): number {
  const high = rows.readInt32LE(cell + 4);
  if (high < -EXACT_HIGH || high > EXACT_HIGH) return writeLatin1(out, at, `"${isoMicros(rows.readBigInt64LE(cell))}"`);
  const micros = high * 0x1_0000_0000 + rows.readUInt32LE(cell);
  const day = Math.floor(micros / DAY_MICROS);
  if (day !== lastDay) [lastDay, lastDate] = [day, isoDate(day)];
  const ofDay = micros - day * DAY_MICROS;
  const second = Math.floor(ofDay / 1_000_000);
  out[at++] = QUOTE;
  at = writeLatin1(out, at, lastDate);
  at = writeDigits(out, at, 0x54, Math.floor(second / 3600), 2); // T
  at = writeDigits(out, at, 0x3a, Math.floor((second % 3600) / 60), 2); // :
  at = writeDigits(out, at, 0x3a, second % 60, 2);
  at = writeDigits(out, at, 0x2e, ofDay - second * 1_000_000, 6); // .
  out[at] = 0x5a; // Z
  out[at + 1] = QUOTE;
  return at + 2;
}

/** A character, and behind it so many digits. */
function writeDigits(out: Buffer, at: number, before: number, value: number, digits: number): number {
  out[at] = before;
  for (let i = at + digits; i > at; i--) {
    const next = Math.floor(value / 10);
    out[i] = 0x30 + value - 10 * next;
    value = next;
  }
  return at + digits + 1;
}

function writeDateText(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeLatin1(out, at, `"${isoDate(rows.readInt32LE(cell))}"`);
}

const HEX = Buffer.from('0123456789abcdef', 'latin1');

function hexCodec(plain: CellCodec): CellCodec {
  return {
    ...plain,
    maxBytesOf: (valueBytes) => 2 * valueBytes + 2,
    write: (out, at, rows, cell, indirect) => {
      const from = rows.readUInt32LE(cell);
      const to = from + rows.readUInt32LE(cell + 8);
      out[at++] = QUOTE;
      for (let i = from; i < to; i++) {
        out[at++] = HEX[indirect[i]! >> 4]!;
        out[at++] = HEX[indirect[i]! & 15]!;
      }
      out[at] = QUOTE;
      return at + 1;
    },
  };
}

function finiteOnly(
  { name, type }: ColumnSchema,
  { write, ...codec }: CellCodec,
  instead: 'null' | 'block',
  onNonFinite: OnNonFinite,
): CellCodec {
  const isFloat = type === DataType.FLOAT;
  return {
    ...codec,
    write: (out, at, rows, cell, indirect) => {
      const value = isFloat ? rows.readFloatLE(cell) : rows.readDoubleLE(cell);
      if (Number.isFinite(value)) return write(out, at, rows, cell, indirect);
      if (instead === 'block')
        throw new RangeError(`column ${JSON.stringify(name)} is ${value}, and the format says nonFinite "block"`);
      onNonFinite();
      return writeLatin1(out, at, 'null');
    },
  };
}
