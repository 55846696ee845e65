import type { ColumnSchema, DataType } from '../../kudu/schema.ts';
import type { VersionColumn } from '../decoder.ts';
import type { CellReader } from '../envelope-row.ts';
import { microsToMillis } from '../iso-time.ts';
import { canonicalText, isOfType, keyCell } from '../json-values.ts';
import { valueKind } from '../value-kinds.ts';

/** What of a stream's `format` decides how much of a value a record has. */
export interface TypedOptions {
  readonly decimals: 'precise' | 'string' | 'double';
  readonly time: 'adaptive' | 'connect' | 'isostring';
}

const NULL = 'null';
const NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/;

/**
 * Values as the readers of formats with a schema give them: what a JSON record has in their place, but for a decimal that was
 * written as a floating point number, which is one. What such a number, or a time in milliseconds, leaves out of a value of the
 * table is left out of that as well before the two are compared.
 */
export class TypedValues implements CellReader {
  readonly #options: TypedOptions;

  constructor(options: TypedOptions) {
    this.#options = options;
  }

  fits(type: DataType, raw: string): boolean {
    return isOfType(type, raw) || (valueKind(type) === 'decimal' && NUMBER.test(raw));
  }

  canonical({ type }: Pick<VersionColumn, 'type'>, text: Buffer): Buffer {
    if (valueKind(type) === 'decimal' && !isText(text)) return Buffer.from(asDouble(text.toString()));
    return Buffer.from(canonicalText(type, text.toString()));
  }

  /** What a record shows of a value of the table, or of one that another record shows; both canonical. */
  shown(type: DataType, value: Buffer): Buffer {
    const kind = valueKind(type);
    const text = value.toString('latin1');
    if (kind === 'decimal' && this.#options.decimals === 'double')
      return text === NULL ? value : Buffer.from(asDouble(isText(value) ? text.slice(1, -1) : text));
    if (kind === 'time' && this.#options.time === 'connect')
      return text === NULL ? value : Buffer.from(String(microsToMillis(BigInt(text)) * 1000n));
    return value;
  }

  /** Of a key's decimal a double has all digits: others have no schema. */
  keyCell(column: ColumnSchema, raw: string): Buffer {
    const isDouble = valueKind(column.type) === 'decimal' && NUMBER.test(raw);
    return keyCell(column, isDouble ? `"${Number(raw).toFixed(column.scale ?? 0)}"` : raw);
  }
}

const QUOTE = 0x22;

function isText(text: Buffer): boolean {
  return text[0] === QUOTE;
}

function asDouble(text: string): string {
  return text === NULL ? text : String(Number(text));
}
