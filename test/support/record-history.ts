import { type Change, type TabletRef, RowOp } from '../../src/change/change.ts';
import { copiedRows } from '../../src/change/copied-rows.ts';
import { decodeWrite } from '../../src/change/decode-write.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import { compileRowLayout } from '../../src/change/row-layout.ts';
import type { JsonLayout } from '../../src/formats/json-definition.ts';
import { compileJson } from '../../src/formats/json.ts';
import { cellBytes, isVarLength } from '../../src/kudu/cell-codec.ts';
import type { OpId } from '../../src/kudu/opid.ts';
import { RowBlock } from '../../src/kudu/row-block.ts';
import type { ColumnSchema, TableSchema } from '../../src/kudu/schema.ts';
import { encodeRows, type TestCell } from './row-bytes.ts';
import { withImages } from './row-images.ts';
import { recordsOf } from './record-batches.ts';

/** One table as Kudu keeps it, in memory; and what a stream makes of its operations. Tablets take the operations of all keys. */
export class RecordHistory {
  readonly tableId: string;
  name: string;
  schema: TableSchema;
  version = 0;
  /** By key bytes in hex: the values by column id. */
  readonly rows = new Map<string, { tabletId: string; cells: Map<number, Buffer | null> }>();
  readonly #format: ReturnType<typeof compileJson>;
  readonly #images: 'after' | 'full' | 'changed';
  readonly #index = new Map<string, number>();
  #clock = 1_000_000_000_000n << 12n;

  constructor(options: {
    tableId: string;
    name: string;
    schema: TableSchema;
    streamName?: string;
    images?: 'after' | 'full' | 'changed';
    layout?: JsonLayout;
  }) {
    this.#images = options.images ?? 'changed';
    this.tableId = options.tableId;
    this.name = options.name;
    this.schema = options.schema;
    const { streamName = 's', layout } = options;
    this.#format = compileJson({ streamName, version: '0', tombstones: true, ...(layout && { layout }) });
  }

  /** A time that no operation has reached. */
  get now(): bigint {
    return this.#clock + 1n;
  }

  /** Lets time pass. */
  sleep(seconds: number): void {
    this.#clock += BigInt(Math.round(seconds * 1_000_000)) << 12n;
  }

  /** The schema a tablet's stream begins with. */
  begin(tabletId: string): SinkRecord[] {
    const id = this.#next(tabletId);
    return recordsOf(this.#format, this.#schemaChange(tabletId, id, null));
  }

  /** Each tablet takes it at its own moment: `apply` it there; it is announced by one of them. */
  alter(announcer: string, after: { name?: string; schema?: TableSchema }): SinkRecord[] {
    const before = { tableName: this.name, schema: this.schema };
    this.name = after.name ?? this.name;
    this.schema = after.schema ?? this.schema;
    this.version++;
    return recordsOf(this.#format, this.#schemaChange(announcer, this.#next(announcer), before));
  }

  /** A write of one row; nothing where Kudu rejects or ignores it. Cells by place in the schema. */
  write(tabletId: string, op: number, cells: readonly TestCell[]): SinkRecord[] {
    const id = this.#next(tabletId);
    const keys = this.schema.columns.filter(({ isKey }) => isKey).length;
    const key = Buffer.concat(cells.slice(0, keys) as Buffer[]).toString('hex');
    const row = this.rows.get(key);
    const isInsert = op === RowOp.INSERT || op === RowOp.INSERT_IGNORE;
    const isUpsert = op === RowOp.UPSERT || op === RowOp.UPSERT_IGNORE;
    if (isInsert ? row !== undefined : !isUpsert && row === undefined) return [];
    const isDelete = op === RowOp.DELETE || op === RowOp.DELETE_IGNORE;
    const before = row ? this.#cellsOf(row.cells) : null;
    if (isDelete) this.rows.delete(key);
    else {
      const next = row?.cells ?? new Map<number, Buffer | null>();
      if (!row) for (const { id: column, writeDefault } of this.schema.columns) next.set(column!, writeDefault);
      for (const [place, column] of this.schema.columns.entries()) {
        const cell = cells[place];
        if (cell === undefined || (row && op === RowOp.UPSERT_IGNORE && column.immutable)) continue;
        next.set(column.id!, cell);
      }
      this.rows.set(key, { tabletId, cells: next });
    }
    const given = isDelete ? cells.slice(0, keys) : cells;
    const layout = compileRowLayout(this.schema, this.schema);
    const rest = { hybridTime: this.#clock, layout, results: Uint8Array.of(1), autoIncrementCounter: null };
    const batch = decodeWrite({
      tablet: this.#tablet(tabletId),
      opId: id,
      ...rest,
      ...encodeRows(this.schema, [{ op, cells: given }]),
    });
    if (this.#images === 'changed') return recordsOf(this.#format, batch);
    const after = isDelete ? null : this.#cellsOf(this.rows.get(key)!.cells);
    return recordsOf(this.#format, withImages(batch, [{ before, after }], this.#images));
  }

  /** A copy of all rows of a tablet, at a cut of now; with `event`, what says that all other rows are gone. */
  copy(tabletId: string): {
    readonly rows: SinkRecord[];
    readonly event: SinkRecord[];
    readonly announced: SinkRecord[];
  } {
    const id = this.#next(tabletId);
    const hybridTime = this.#clock;
    const tablet = this.#tablet(tabletId);
    const block = this.block(tabletId);
    const places = Int32Array.from(this.schema.columns, (_, place) => place);
    const batch = copiedRows({
      copy: 'base',
      tablet,
      opId: id,
      hybridTime,
      schema: this.schema,
      block,
      places,
      skip: 0,
    });
    return {
      announced: recordsOf(this.#format, this.#schemaChange(tabletId, id, null)),
      rows: block.rowCount === 0 ? [] : recordsOf(this.#format, batch),
      event: recordsOf(this.#format, {
        kind: 'event',
        event: 'recopied',
        tablet,
        opId: id,
        hybridTime,
        partition: null,
        missing: null,
      }),
    };
  }

  indexOf(tabletId: string): bigint {
    return BigInt(this.#index.get(tabletId) ?? 0);
  }

  /** The rows of a tablet as a scan of now answers them. */
  block(tabletId: string): RowBlock {
    const rows = [...this.rows.values()].filter((row) => row.tabletId === tabletId);
    return blockOf(
      this.schema,
      rows.map(({ cells }) => this.#cellsOf(cells)),
    );
  }

  /** By place, as a scan of now shows them. */
  #cellsOf(cells: ReadonlyMap<number, Buffer | null>): (Buffer | null)[] {
    return this.schema.columns.map(({ id, readDefault }) => {
      const cell = cells.get(id!);
      return cell === undefined ? readDefault : cell;
    });
  }

  #schemaChange(tabletId: string, opId: OpId, before: { tableName: string; schema: TableSchema } | null): Change {
    const after = { tableName: this.name, schema: this.schema };
    const tablet = this.#tablet(tabletId);
    return { kind: 'schema', tablet, opId, hybridTime: this.#clock, version: this.version, before, after };
  }

  #tablet(tabletId: string): TabletRef {
    return { tableId: this.tableId, tabletId, tableName: this.name };
  }

  #next(tabletId: string): OpId {
    const index = (this.#index.get(tabletId) ?? 0) + 1;
    this.#index.set(tabletId, index);
    this.#clock += 4096n; // a microsecond
    return { term: 1n, index: BigInt(index) };
  }
}

/** Rows as a scan answers them. */
export function blockOf(schema: TableSchema, rows: readonly (readonly (Buffer | null)[])[]): RowBlock {
  const hasNulls = schema.columns.some(({ nullable }) => nullable);
  const width = schema.columns.reduce((sum, { type }) => sum + cellBytes(type), 0);
  const bitmapBytes = hasNulls ? Math.ceil(schema.columns.length / 8) : 0;
  const out = Buffer.alloc(rows.length * (width + bitmapBytes));
  const indirect: Buffer[] = [];
  let indirectBytes = 0;
  for (const [row, cells] of rows.entries()) {
    let at = row * (width + bitmapBytes);
    const bitmapAt = at + width;
    for (const [place, column] of schema.columns.entries()) {
      const cell = cells[place] ?? null;
      if (cell === null) out[bitmapAt + (place >> 3)]! |= 1 << (place & 7);
      else if (isVar(column)) {
        out.writeBigUInt64LE(BigInt(indirectBytes), at);
        out.writeBigUInt64LE(BigInt(cell.length), at + 8);
        indirect.push(cell);
        indirectBytes += cell.length;
      } else cell.copy(out, at);
      at += cellBytes(column.type);
    }
  }
  return new RowBlock(schema, rows.length, out, Buffer.concat(indirect));
}

function isVar({ type }: ColumnSchema): boolean {
  return isVarLength(type);
}
