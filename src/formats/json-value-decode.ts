import type { ColumnSchema, DataType } from '../kudu/schema.ts';
import { decimalToString } from '../kudu/decimal.ts';
import { readBigEndian } from './big-endian.ts';
import { microsToMillis, parseIsoDate, parseIsoMicros } from './iso-time.ts';
import type { ValueOptions } from './json-definition.ts';
import { canonicalText, isOfType, keyCell } from './json-values.ts';
import { valueKind } from './value-kinds.ts';
import { decodeRawString } from './raw-json.ts';

/** What decides how a value is written. */
export type ValueColumn = Pick<ColumnSchema, 'type' | 'scale'>;

const BACKSLASH = 0x5c;
const NULL = 'null';
const HEX = /^"(?:[0-9a-f]{2})*"$/;
const NUMBER = /^-?\d+(\.\d+)?$/;

/** Reads values that were written with a stream's options: what valueCodec of json-value-codecs.ts writes. */
export class ValueReader {
  readonly #options: ValueOptions;

  constructor(options: ValueOptions) {
    this.#options = options;
  }

  /** Whether the text of a record can be a value of a column of that type. */
  fits(type: DataType, raw: string): boolean {
    switch (this.#formOf(type)) {
      case 'plain':
      case 'millis':
        return isOfType(type, raw);
      case 'precise':
      case 'time':
      case 'date':
      case 'hex':
        return raw === NULL || raw.startsWith('"');
      case 'number':
        return raw === NULL || NUMBER.test(raw);
    }
  }

  /** As they are, but for numbers with a point, strings with escapes, and what an option writes otherwise. */
  canonical(column: ValueColumn, text: Buffer): Buffer {
    const { type } = column;
    const isNumber = valueKind(type) === 'float';
    if (this.#formOf(type) !== 'plain') return Buffer.from(canonicalText(type, this.#toPlain(column, text.toString())));
    return isNumber || text.includes(BACKSLASH) ? Buffer.from(canonicalText(type, text.toString())) : text;
  }

  /** @throws {SyntaxError} a text that is no value of a key column of that type */
  keyCell(column: ColumnSchema, raw: string): Buffer {
    return keyCell(column, this.#toPlain(column, raw));
  }

  /** What a record shows of a value of the table, both canonical. */
  shown(type: DataType, value: Buffer): Buffer {
    if (this.#formOf(type) === 'millis') {
      const text = value.toString();
      return text === NULL ? value : Buffer.from(String(microsToMillis(BigInt(text)) * 1000n));
    }
    if (valueKind(type) === 'float' && this.#options.nonFinite !== 'string')
      return NON_FINITE.test(value.toString('latin1')) ? Buffer.from(NULL) : value;
    return value;
  }

  #formOf(type: DataType): 'plain' | 'precise' | 'number' | 'millis' | 'time' | 'date' | 'hex' {
    const { decimals, time, binary } = this.#options;
    switch (valueKind(type)) {
      case 'decimal':
        return decimals === 'string' ? 'plain' : decimals === 'precise' ? 'precise' : 'number';
      case 'time':
        return time === 'adaptive' ? 'plain' : time === 'connect' ? 'millis' : 'time';
      case 'date':
        return time === 'isostring' ? 'date' : 'plain';
      case 'binary':
        return binary === 'hex' ? 'hex' : 'plain';
      case 'float':
      case 'other':
        return 'plain';
    }
  }

  /** As a format without options writes it. */
  #toPlain({ type, scale = 0 }: ValueColumn, raw: string): string {
    const form = this.#formOf(type);
    if (raw === NULL || form === 'plain') return raw;
    switch (form) {
      case 'precise':
        return `"${decimalToString(readBigEndian(Buffer.from(textOf(raw), 'base64')), scale)}"`;
      case 'number':
        return `"${raw}"`;
      case 'millis':
        return String(BigInt(raw) * 1000n);
      case 'time':
        return String(parseIsoMicros(textOf(raw)) ?? misfit('time'));
      case 'date':
        return String(parseIsoDate(textOf(raw)) ?? misfit('date'));
      case 'hex':
        if (!HEX.test(raw)) return misfit('text in hex');
        return `"${Buffer.from(textOf(raw), 'hex').toString('base64')}"`;
    }
  }
}

const NON_FINITE = /^(NaN|-?Infinity)$/;

function textOf(raw: string): string {
  if (!raw.startsWith('"')) return misfit('text');
  return decodeRawString(raw);
}

function misfit(what: string): never {
  throw new SyntaxError(`a value that is no ${what}`);
}
