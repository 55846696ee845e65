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

/** `nearest`: a decimal was written as a double, as formats with types have it; JSON's `double` has all digits. */
export interface ReadOptions extends Omit<ValueOptions, 'decimals'> {
  readonly decimals: ValueOptions['decimals'] | 'nearest';
}

/** Reads values that were written with a stream's options: what valueCodec of json-value-codecs.ts writes. */
export class ValueReader {
  readonly #options: ReadOptions;

  constructor(options: ReadOptions) {
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
      case 'nearest':
        return raw === NULL || Number.isFinite(Number(unquoted(raw)));
    }
  }

  /** As they are, but for numbers with a point, strings with escapes, and what an option writes otherwise. */
  canonical(column: ValueColumn, text: Buffer): Buffer {
    const { type } = column;
    if (this.#formOf(type) === 'nearest') return asDouble(text);
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
    const form = this.#formOf(type);
    if (form === 'nearest') return asDouble(value);
    if (form === 'millis') {
      const text = value.toString();
      return text === NULL ? value : Buffer.from(String(microsToMillis(BigInt(text)) * 1000n));
    }
    if (valueKind(type) === 'float' && this.#options.nonFinite !== 'string')
      return NON_FINITE.test(value.toString('latin1')) ? Buffer.from(NULL) : value;
    return value;
  }

  #formOf(type: DataType): 'plain' | 'precise' | 'number' | 'nearest' | 'millis' | 'time' | 'date' | 'hex' {
    const { decimals, time, binary } = this.#options;
    switch (valueKind(type)) {
      case 'decimal':
        return decimals === 'string' ? 'plain' : decimals === 'double' ? 'number' : decimals;
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
      case 'nearest':
        return `"${nearestText(Number(unquoted(raw)), scale)}"`;
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

/** A decimal as the double that is nearest to it. */
function asDouble(text: Buffer): Buffer {
  const shown = text.toString('latin1');
  return shown === NULL ? text : Buffer.from(String(Number(unquoted(shown))));
}

function unquoted(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1) : text;
}

/** A double as the text of a decimal. Beyond 2^53 it has no digits behind the point. */
function nearestText(value: number, scale: number): string {
  if (Number.isSafeInteger(Math.trunc(value))) return value.toFixed(scale);
  return decimalToString(BigInt(value) * 10n ** BigInt(scale), scale);
}

const NON_FINITE = /^(NaN|-?Infinity)$/;

function textOf(raw: string): string {
  if (!raw.startsWith('"')) return misfit('text');
  return decodeRawString(raw);
}

function misfit(what: string): never {
  throw new SyntaxError(`a value that is no ${what}`);
}
