import type { ColumnSchema } from '../kudu/schema.ts';
import { valueKind } from './value-kinds.ts';

/** What an option may leave out of a value, in the words of a stream's `format`. */
export interface LossyOptions {
  readonly decimals: 'string' | 'precise' | 'double';
  readonly time: 'adaptive' | 'connect' | 'isostring';
}

/** Beyond so many digits two decimals may be the same double. */
const DOUBLE_DIGITS = 15;

/** Two rows would be one to every consumer. @throws {RangeError} the options would write two values of a key column as one */
export function refuseLossyKey(column: ColumnSchema, { decimals, time }: LossyOptions): void {
  if (!column.isKey) return;
  const kind = valueKind(column.type);
  if (kind === 'time' && time === 'connect') refuse(column, 'time "connect"');
  if (kind === 'decimal' && decimals === 'double' && (column.precision ?? 0) > DOUBLE_DIGITS)
    refuse(column, 'decimals "double"');
}

function refuse({ name }: ColumnSchema, option: string): never {
  throw new RangeError(
    `${option} would write different keys as one, and ${JSON.stringify(name)} is a column of the primary key`,
  );
}
