import type { Change, ChangeBatch, SchemaChange } from '../change/change.ts';
import { SpoorError } from '../errors.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { matchTables } from '../streams/table-patterns.ts';
import { isIdentity, planColumns, type ColumnPlan, type NamedRules, type SaltOf } from './column-plan.ts';
import type { SelectionDefinition } from './definition.ts';
import { filterRows, type RowFilter } from './filter.ts';
import { projectRows } from './project.ts';
import { compileRoute, type RouteWriter } from './route.ts';
import { columnsOf, compileWhere, Truth, type RowTest } from './where.ts';
import { parseCondition, WhereError, type Condition } from './where-syntax.ts';

/** Why a table cannot be streamed as it is defined; `path` is the field of the stream that says so. */
export interface SelectionFault {
  readonly path: 'columns' | 'where' | 'partitionBy';
  readonly message: string;
}

/** What becomes of the rows of one schema. */
interface SchemaPlan {
  readonly filter: RowFilter;
  /** Null: all columns, as they are. */
  readonly columns: ColumnPlan | null;
  /** Null: rows are not placed by columns. */
  readonly route: RouteWriter | null;
}

/** What a stream wants of its tables. Pure: the same change gives the same one. */
export class Selection {
  readonly #definition: SelectionDefinition;
  readonly #saltOf: SaltOf;
  readonly #skipped: ReadonlySet<string>;
  readonly #tables = new Map<string, TableSelection>();

  /** @param saltOf see {@link saltFilesOf}; the answer may not change */
  constructor(definition: SelectionDefinition, saltOf: SaltOf) {
    this.#definition = definition;
    this.#saltOf = saltOf;
    this.#skipped = new Set(definition.skipOperations);
  }

  /**
   * What is wanted of a change; null for nothing.
   * @param tableName under which the table is in the stream: a rename since then changes no rule
   * @throws {SpoorError} SPOOR_SELECTION: the stream does not fit the table as it is there, or a row's image is missing
   */
  select<T extends Change>(change: T, tableName: string): T | null {
    const table = this.#table(tableName);
    if (change.kind === 'rows') return table.selectRows(change) as T | null;
    return change.kind === 'schema' ? (table.selectSchema(change) as T) : change;
  }

  /** By what a selected row is placed; null where it is by its key or its tablet. */
  routeOf({ schema }: ChangeBatch, tableName: string): RouteWriter | null {
    return this.#table(tableName).routeOf(schema);
  }

  /** A schema as its records have it. @throws {SpoorError} as {@link select} */
  project(schema: TableSchema, tableName: string): TableSchema {
    return this.#table(tableName).plan(schema).columns?.schema ?? schema;
  }

  /** Every reason why a table with that schema cannot be streamed so. */
  faultsOf(tableName: string, schema: TableSchema): readonly SelectionFault[] {
    const planned = this.#table(tableName).check(schema);
    return planned.kind === 'ok' ? [] : planned.faults;
  }

  /** Whether anything is asked of such a table that its schema decides. */
  concerns(tableName: string): boolean {
    return this.#table(tableName).isConcerned;
  }

  #table(name: string): TableSelection {
    let table = this.#tables.get(name);
    if (!table)
      this.#tables.set(name, (table = new TableSelection(name, this.#definition, this.#saltOf, this.#skipped)));
    return table;
  }
}

/** The files of the salts that a stream's hashes need. */
export function saltFilesOf({ columns = {} }: Pick<SelectionDefinition, 'columns'>): string[] {
  return Object.values(columns).flatMap(({ hash }) => (hash ? [hash.saltFile] : []));
}

class TableSelection {
  readonly #name: string;
  readonly #rules: readonly NamedRules[];
  readonly #where: readonly string[];
  readonly #conditions: readonly Condition[];
  readonly #images: string;
  readonly #partitionBy: readonly string[] | null;
  readonly #unordered: boolean;
  readonly #skipped: ReadonlySet<string>;
  readonly #saltOf: SaltOf;
  readonly #plans = new WeakMap<TableSchema, SchemaPlan>();
  /** By the schemas that records have. */
  readonly #routes = new WeakMap<TableSchema, RouteWriter>();
  readonly #shown = new WeakMap<TableSchema, TableSchema>();

  constructor(name: string, definition: SelectionDefinition, saltOf: SaltOf, skipped: ReadonlySet<string>) {
    const { columns = {}, where = {}, partitionBy, unordered = false, images } = definition;
    this.#name = name;
    this.#rules = matching(columns, name).map(([pattern, rules]) => ({ pattern, rules }));
    this.#where = matching(where, name).map(([, text]) => text);
    this.#conditions = this.#where.map(parseCondition);
    this.#images = images;
    this.#partitionBy = typeof partitionBy === 'string' ? null : partitionBy;
    this.#unordered = unordered;
    this.#skipped = skipped;
    this.#saltOf = saltOf;
  }

  get isConcerned(): boolean {
    return this.#rules.length > 0 || this.#conditions.length > 0 || this.#partitionBy !== null;
  }

  selectRows(batch: ChangeBatch): ChangeBatch | null {
    const { filter, columns } = this.plan(batch.schema);
    let filtered: ChangeBatch | null;
    try {
      filtered = filterRows(batch, filter);
    } catch (error) {
      throw unselectable(this.#name, error instanceof Error ? error.message : String(error));
    }
    return filtered === null || columns === null ? filtered : projectRows(filtered, columns);
  }

  /** No row is of the schema before, nor need one be of the one after: what is named and not there does no harm. */
  selectSchema(change: SchemaChange): SchemaChange {
    if (this.#rules.length === 0) return change;
    const { before, after } = change;
    return {
      ...change,
      before: before && { ...before, schema: this.#show(before.schema) },
      after: { ...after, schema: this.#show(after.schema) },
    };
  }

  routeOf(schema: TableSchema): RouteWriter | null {
    return this.#routes.get(schema) ?? null;
  }

  plan(schema: TableSchema): SchemaPlan {
    const known = this.#plans.get(schema);
    if (known) return known;
    const checked = this.check(schema);
    if (checked.kind === 'misfit')
      throw unselectable(this.#name, checked.faults.map(({ path, message }) => `${path}: ${message}`).join('; '));
    const { plan } = checked;
    this.#plans.set(schema, plan);
    if (plan.route) this.#routes.set(plan.columns?.schema ?? schema, plan.route);
    return plan;
  }

  check(
    schema: TableSchema,
  ):
    | { readonly kind: 'ok'; readonly plan: SchemaPlan }
    | { readonly kind: 'misfit'; readonly faults: readonly SelectionFault[] } {
    const faults: SelectionFault[] = [];
    const refuse = (path: SelectionFault['path'], messages: readonly string[]): void => {
      faults.push(...messages.map((message) => ({ path, message })));
    };
    const planned = planColumns(this.#rules, schema, { isLenient: false, saltOf: this.#saltOf });
    if (planned.kind === 'misfit') refuse('columns', planned.faults);
    const tests: RowTest[] = [];
    for (const [i, condition] of this.#conditions.entries())
      try {
        tests.push(compileWhere(condition, schema));
      } catch (error) {
        if (!(error instanceof WhereError)) throw error;
        refuse('where', [`${JSON.stringify(this.#where[i])}, ${error.message}`]);
      }
    const isKey = (name: string): boolean => schema.columns.some((column) => column.name === name && column.isKey);
    const asked = new Set(this.#conditions.flatMap((condition) => [...columnsOf(condition)]));
    const isOfKey = [...asked].every(isKey);
    if (!isOfKey && this.#images !== 'full')
      refuse('where', [
        `asks for ${[...asked]
          .filter((name) => !isKey(name))
          .map((name) => JSON.stringify(name))
          .join(
            ', ',
          )}, no key column: a row that leaves or enters the filter is known by its images alone, so the stream needs "images": "full"`,
      ]);
    const shown = planned.kind === 'ok' ? planned.plan.schema : schema;
    refuse('partitionBy', this.#routeFaults(shown, isKey));
    if (faults.length > 0 || planned.kind === 'misfit') return { kind: 'misfit', faults };
    const columns = isIdentity(planned.plan, schema) ? null : planned.plan;
    const route = this.#partitionBy && compileRoute(columns?.schema ?? schema, this.#partitionBy);
    return { kind: 'ok', plan: { filter: { test: allOf(tests), isOfKey, skipped: this.#skipped }, columns, route } };
  }

  #routeFaults({ columns }: TableSchema, isKey: (name: string) => boolean): string[] {
    const missing = (this.#partitionBy ?? []).filter((name) => columns.every((column) => column.name !== name));
    if (missing.length > 0) return missing.map((name) => `names ${JSON.stringify(name)}, which the records have not`);
    const outside = (this.#partitionBy ?? []).filter((name) => !isKey(name));
    if (outside.length === 0 || this.#unordered) return [];
    const names = outside.map((name) => JSON.stringify(name)).join(', ');
    return [
      `names ${names}, no key column: changes of one row could go to different partitions and lose their order; say "unordered": true where that does no harm`,
    ];
  }

  #show(schema: TableSchema): TableSchema {
    let shown = this.#shown.get(schema);
    if (shown) return shown;
    const planned = planColumns(this.#rules, schema, { isLenient: true, saltOf: this.#saltOf });
    if (planned.kind === 'misfit') throw unselectable(this.#name, planned.faults.join('; '));
    shown = planned.plan.schema;
    this.#shown.set(schema, shown);
    return shown;
  }
}

function matching<T>(byPattern: Readonly<Record<string, T>>, tableName: string): [string, T][] {
  return Object.entries(byPattern).filter(([pattern]) => matchTables([pattern], tableName));
}

function allOf(tests: readonly RowTest[]): RowTest | null {
  const [first, ...others] = tests;
  if (!first || others.length === 0) return first ?? null;
  return (batch, row, cells) =>
    tests.every((test) => test(batch, row, cells) === Truth.TRUE) ? Truth.TRUE : Truth.FALSE;
}

function unselectable(tableName: string, reason: string): SpoorError {
  return new SpoorError('SPOOR_SELECTION', `table ${JSON.stringify(tableName)} does not fit the stream: ${reason}`);
}
