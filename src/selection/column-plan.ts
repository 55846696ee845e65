import { isVarLength } from '../kudu/cell-codec.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../kudu/schema.ts';
import type { ColumnRules } from './definition.ts';
import { hexOf, type HashRule } from './hash.ts';
import { endOfCharacter } from './like.ts';
import { maskBytes, MisfitError } from './literals.ts';

/** The rules of one pattern for a table. A name that holds no `*` means one table, and its columns have to be there. */
export interface NamedRules {
  readonly pattern: string;
  readonly rules: ColumnRules;
}

/** What becomes of the values of a column; null stays null. */
export type ValueChange =
  | { readonly kind: 'mask'; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly characters: number }
  | { readonly kind: 'hash'; readonly rule: HashRule };

/** What is in the file of a salt. */
export type SaltOf = (saltFile: string) => Buffer;

/** How the rows of a schema are projected. */
export interface ColumnPlan {
  /** The table without what is left out, and with the types that the values have. */
  readonly schema: TableSchema;
  /** For each of its columns the place in the table's own schema. */
  readonly places: Int32Array;
  /** For each of its columns; null where values stay as they are. */
  readonly changes: readonly (ValueChange | null)[];
}

/** What the rules do to a table, or every reason why they do not fit it. */
export type PlannedColumns =
  { readonly kind: 'ok'; readonly plan: ColumnPlan } | { readonly kind: 'misfit'; readonly faults: readonly string[] };

/**
 * Projects a schema.
 * @param isLenient columns that are named and not there are passed over, whatever the pattern: of a schema that no row is of
 */
export function planColumns(
  all: readonly NamedRules[],
  schema: TableSchema,
  { isLenient, saltOf }: { readonly isLenient: boolean; readonly saltOf: SaltOf },
): PlannedColumns {
  const faults: string[] = [];
  const byName = new Map(schema.columns.map((column) => [column.name, column]));
  const changes = new Map<string, ValueChange>();
  const excluded = new Set<string>();
  for (const { pattern, rules } of all) {
    const find = (name: string, where: string): ColumnSchema | null => {
      const column = byName.get(name);
      if (!column && !pattern.includes('*') && !isLenient)
        faults.push(`${where} names ${quoted(name)}, which the table has not`);
      return column ?? null;
    };
    const exclude = (column: ColumnSchema, where: string): void => {
      if (column.isKey) faults.push(`${where} leaves out ${quoted(column.name)}, which is a key column`);
      excluded.add(column.name);
    };
    const change = (name: string, where: string, planned: (column: ColumnSchema) => ValueChange): void => {
      const column = find(name, where);
      if (!column) return;
      if (changes.has(name)) faults.push(`${where} names ${quoted(name)}, for which there is a rule already`);
      try {
        changes.set(name, planned(column));
      } catch (error) {
        if (!(error instanceof MisfitError)) throw error;
        faults.push(`${where}: ${error.message}`);
      }
    };
    for (const name of rules.exclude ?? []) {
      const column = find(name, 'exclude');
      if (column) exclude(column, 'exclude');
    }
    if (rules.include) {
      for (const name of rules.include) find(name, 'include');
      for (const column of schema.columns) if (!rules.include.includes(column.name)) exclude(column, 'include');
    }
    for (const [name, text] of Object.entries(rules.mask ?? {})) change(name, 'mask', (column) => masked(column, text));
    for (const [name, characters] of Object.entries(rules.truncate ?? {}))
      change(name, 'truncate', (column) => truncated(column, characters));
    const { columns: hashedColumns = [], algorithm = 'SHA-256', saltFile = '' } = rules.hash ?? {};
    for (const name of hashedColumns)
      change(name, 'hash', (column) => hashed(column, { algorithm, salt: saltOf(saltFile) }));
  }
  if (faults.length > 0) return { kind: 'misfit', faults };
  const kept = [...schema.columns.entries()].filter(([, { name }]) => !excluded.has(name));
  const projected = kept.map(([, column]) => projectColumn(column, changes.get(column.name) ?? null));
  const plan = {
    schema: { columns: projected },
    places: Int32Array.from(kept, ([place]) => place),
    changes: kept.map(([, { name }]) => changes.get(name) ?? null),
  };
  return { kind: 'ok', plan };
}

/** Whether a plan leaves everything as it is. */
export function isIdentity({ places, changes }: ColumnPlan, { columns }: TableSchema): boolean {
  return places.length === columns.length && changes.every((change) => change === null);
}

/** Where the first `characters` characters of UTF-8 text end. */
export function endOfCharacters(text: Uint8Array, from: number, to: number, characters: number): number {
  if (to - from <= characters) return to;
  let at = from;
  for (let left = characters; left > 0 && at < to; left--) at = endOfCharacter(text, at, to);
  return at;
}

/** A column as its values are shown; so are its defaults, which rows are filled with. A hash is longer than many a VARCHAR. */
function projectColumn(column: ColumnSchema, change: ValueChange | null): ColumnSchema {
  if (change === null) return column;
  const ofDefault = (value: Buffer | null): Buffer | null => value && changedValue(change, value);
  const { readDefault, writeDefault, length, ...rest } = column;
  const shown = { ...rest, readDefault: ofDefault(readDefault), writeDefault: ofDefault(writeDefault) };
  if (change.kind === 'hash') return { ...shown, type: DataType.STRING };
  return length === undefined ? shown : { ...shown, length };
}

/** What becomes of a value by itself. */
export function changedValue(change: ValueChange, value: Buffer): Buffer {
  switch (change.kind) {
    case 'mask':
      return change.bytes;
    case 'truncate':
      return value.subarray(0, endOfCharacters(value, 0, value.length, change.characters));
    case 'hash':
      return hexOf(change.rule, value);
  }
}

function masked(column: ColumnSchema, text: string): ValueChange {
  refuseKey(column, 'different rows would have the same key');
  return { kind: 'mask', bytes: maskBytes(column, text) };
}

function truncated(column: ColumnSchema, characters: number): ValueChange {
  refuseKey(column, 'different rows could have the same key');
  if (column.type === DataType.STRING || column.type === DataType.VARCHAR) return { kind: 'truncate', characters };
  throw new MisfitError(`column ${quoted(column.name)} is neither STRING nor VARCHAR`);
}

function hashed(column: ColumnSchema, rule: HashRule): ValueChange {
  if (isVarLength(column.type)) return { kind: 'hash', rule };
  throw new MisfitError(`column ${quoted(column.name)} is none of STRING, VARCHAR and BINARY`);
}

function refuseKey({ isKey, name }: ColumnSchema, why: string): void {
  if (isKey) throw new MisfitError(`column ${quoted(name)} is a key column: ${why}`);
}

function quoted(name: string): string {
  return JSON.stringify(name);
}
