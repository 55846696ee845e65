import { Cell, type ChangeBatch } from '../change/change.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { connectKey, connectValue } from './connect-schema.ts';
import type { JsonLayout } from './json-definition.ts';
import { ascii } from './json-text.ts';

/** What stands around the keys and values of a table: nothing, or Connect's schema in each of them. */
export interface Frame {
  readonly keyHead: Buffer;
  /** Behind key and value. */
  readonly end: Buffer;
  /** At most, of both, of a row whose columns are so many. */
  readonly maxBytes: number;
  /** Before the value of a row; that of a delete may have all columns. */
  valueHead(batch: ChangeBatch, row: number, isDelete: boolean): Buffer;
}

const NOTHING = Buffer.alloc(0);
export const BARE: Frame = { keyHead: NOTHING, end: NOTHING, maxBytes: 0, valueHead: () => NOTHING };
const END = ascii('}');

/**
 * Connect's schema block, made once for a version of a table. Where a row has not all columns, since the stream has only what
 * was changed, its schema has just those: a reader that goes by the schema leaves the others as they are. A delete has
 * that of a whole row.
 * @param topic after which the schemas are named
 */
export function schemaFrame(schema: TableSchema, topic: string, layout: JsonLayout): Frame {
  const keyHead = headOf(connectKey(schema, topic, layout));
  const whole = headOf(connectValue(schema, topic, layout));
  const narrow = new NarrowHeads(schema, topic, layout);
  return {
    keyHead,
    end: END,
    maxBytes: keyHead.length + whole.length + 2 * END.length,
    valueHead: (batch, row, isDelete) => (isDelete ? null : narrow.of(batch, row)) ?? whole,
  };
}

/** So many sets of columns are kept. */
const MAX_SETS = 1000;

class NarrowHeads {
  readonly #schema: TableSchema;
  readonly #topic: string;
  readonly #layout: JsonLayout;
  readonly #keyColumns: number;
  readonly #heads = new Map<string, Buffer>();

  constructor(schema: TableSchema, topic: string, layout: JsonLayout) {
    this.#schema = schema;
    this.#topic = topic;
    this.#layout = layout;
    this.#keyColumns = schema.columns.filter(({ isKey }) => isKey).length;
  }

  /** Null: it has all columns. */
  of({ cells }: ChangeBatch, row: number): Buffer | null {
    const width = this.#schema.columns.length;
    const base = row * width;
    let place = this.#keyColumns;
    while (place < width && cells[base + place] !== Cell.UNSET) place++;
    if (place === width) return null;
    let set = '';
    for (place = this.#keyColumns; place < width; place++) set += cells[base + place] === Cell.UNSET ? '0' : '1';
    const known = this.#heads.get(set);
    if (known) return known;
    if (this.#heads.size >= MAX_SETS) this.#heads.clear();
    const columns = this.#schema.columns.filter(
      (_, column) => column < this.#keyColumns || set[column - this.#keyColumns] === '1',
    );
    const head = headOf(connectValue({ columns }, this.#topic, this.#layout));
    this.#heads.set(set, head);
    return head;
  }
}

function headOf(schema: object): Buffer {
  return Buffer.from(`{"schema":${JSON.stringify(schema)},"payload":`);
}
