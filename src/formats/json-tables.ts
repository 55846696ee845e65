import type { ChangeBatch } from '../change/change.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { Frame } from './json-frames.ts';
import type { RowText } from './json-row.ts';

/** What is the same for all rows of a version of a table. */
export interface TableText {
  readonly tableName: string;
  readonly columns: RowText;
  readonly frame: Frame;
}

/** The texts of the tables of a stream: made once for a schema, and anew where its table is renamed. */
export class TableTexts {
  readonly #compile: (schema: TableSchema, tableName: string) => TableText;
  readonly #known = new WeakMap<TableSchema, TableText>();

  constructor(compile: (schema: TableSchema, tableName: string) => TableText) {
    this.#compile = compile;
  }

  /** @throws what compiling throws */
  of({ schema, tablet: { tableName } }: ChangeBatch): TableText {
    const known = this.#known.get(schema);
    if (known?.tableName === tableName) return known;
    const text = this.#compile(schema, tableName);
    this.#known.set(schema, text);
    return text;
  }
}
