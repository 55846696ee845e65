import type { ColumnSchema } from '../kudu/schema.ts';
import { valueKind } from './value-kinds.ts';

/** What an option may leave out of a value, in the words of a stream's `format`. */
export interface LossyOptions {
  readonly decimals: 'string' | 'precise' | 'double';
  readonly time: 'adaptive' | 'connect' | 'isostring';
}

/** Beyond so many digits two decimals may be the same double. */
const DOUBLE_DIGITS = 15;

/** Two rows would have one key. @throws {RangeError} the options leave something out of the values of a key column */
export function refuseLossyKey(
  { isKey, name, type, precision = 0 }: ColumnSchema,
  { decimals, time }: LossyOptions,
): void {
  if (!isKey) return;
  const kind = valueKind(type);
  const option =
    kind === 'decimal' && decimals === 'double' && precision > DOUBLE_DIGITS
      ? 'decimals "double"'
      : kind === 'time' && time === 'connect'
        ? 'time "connect"'
        : null;
  if (option !== null)
    throw new RangeError(
      `${option} would write different keys as one, and ${JSON.stringify(name)} is a column of the primary key`,
    );
}
