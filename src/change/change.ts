import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { OpId } from '../kudu/opid.ts';
import type { TableSchema } from '../kudu/schema.ts';

/** The tablet that a change belongs to. `tableName` is the name in force at the operation. */
export interface TabletRef {
  readonly tableId: string;
  readonly tabletId: string;
  readonly tableName: string;
}

/** The row operations as Kudu numbers them. Source: kudu/common/row_operations.proto RowOperationsPB.Type. */
export const RowOp = {
  INSERT: 1,
  UPDATE: 2,
  DELETE: 3,
  UPSERT: 5,
  INSERT_IGNORE: 10,
  UPDATE_IGNORE: 11,
  DELETE_IGNORE: 12,
  UPSERT_IGNORE: 13,
} as const;
export type RowOp = (typeof RowOp)[keyof typeof RowOp];

/** Which copy of a tablet's rows: its first; or one that repeats or puts right what came before (resync, repair, correction). */
export type CopyKind = 'base' | 'incremental';

export function isInsert(op: number): boolean {
  return op === RowOp.INSERT || op === RowOp.INSERT_IGNORE;
}

export function isUpsert(op: number): boolean {
  return op === RowOp.UPSERT || op === RowOp.UPSERT_IGNORE;
}

export function isDelete(op: number): boolean {
  return op === RowOp.DELETE || op === RowOp.DELETE_IGNORE;
}

/** What a row of a copy says; numbers that no {@link RowOp} has. */
export const CopyOp = {
  /** The row is there, with all its columns. */
  ROW: 64,
  /** A repair: the row was deleted in the time that it makes up for. */
  DELETED: 65,
} as const;

/** What a cell of {@link ChangeBatch.cells} says when it is not an offset. */
export const Cell = {
  /** The operation did not set this column: it keeps its value, or (a new row by UPSERT) takes the default. */
  UNSET: -1,
  NULL: -2,
  /** An INSERT left the column out: the value is the schema's write default. */
  DEFAULT: -3,
  /** The value is {@link ChangeBatch.autoIncrement} of the row (kudu-facts 6.6). */
  AUTO: -4,
} as const;

/**
 * The applied rows of one committed write, in the order of the operation; rejected and ignored rows are left out.
 *
 * A row is not an object here: it is a run of cells over the bytes of the log, so that a format can walk a whole
 * batch without allocating. The buffers are views of log memory; a batch is consumed before the next is read.
 */
export interface ChangeBatch {
  readonly kind: 'rows';
  readonly tablet: TabletRef;
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
  /**
   * Rows of a copy of the tablet (`ops` are {@link CopyOp}s) as they were at `hybridTime`, whose cut is `opId`: of which;
   * null: an operation of the log.
   */
  readonly copy: CopyKind | null;
  /** The tablet's schema in force at this OpId; `cells` follows its column order. */
  readonly schema: TableSchema;
  /** How many rows were applied; the length of `ops` and `rowIndexes`. */
  readonly rowCount: number;
  /** Kind of each applied row: a {@link RowOp}; of a copy, a {@link CopyOp}. */
  readonly ops: Uint8Array;
  /** Position of each applied row in its operation, rejected and ignored rows counted. */
  readonly rowIndexes: Int32Array;
  /** `rowCount` x `schema.columns.length`, row by row: a byte offset into `rows`, or a {@link Cell} code. */
  readonly cells: Int32Array;
  /** Fixed-size cells, little-endian; a var-length cell is u64 offset into `indirect`, u64 length (kudu-facts 3.3). */
  readonly rows: Buffer;
  readonly indirect: Buffer;
  /** One value a row for tables with an auto-incrementing column, else null. */
  readonly autoIncrement: BigInt64Array | null;
  /** What each row was before it, where the stream wants that; else null. */
  readonly before: RowsBefore | null;
  /**
   * 1 for a row whose image was asked for and cannot be had: its `cells` are what the log has; {@link KeyOnly} for one that is
   * too large for the sink: its `cells` are the key's; {@link LacksDropped} for one without columns that are no more. Null: there is none of these.
   */
  readonly partial: Uint8Array | null;
}

/** In {@link ChangeBatch.partial}: of the row the key alone is told. */
export const KeyOnly = 2;
/** In {@link ChangeBatch.partial}: columns are missing that were dropped since, so that nobody can read them any more. */
export const LacksDropped = 3;

/** Images of the rows of a {@link ChangeBatch} before its operation. */
export interface RowsBefore {
  /** 1 where there was a row; where there was none, or it cannot be known, its cells mean nothing. */
  readonly present: Uint8Array;
  /** As {@link ChangeBatch.cells}: offsets into the batch's own `rows`. */
  readonly cells: Int32Array;
}

/** A successful ALTER of the table, or (with `before` null) the schema a tablet's stream begins with. */
export interface SchemaChange {
  readonly kind: 'schema';
  readonly tablet: TabletRef;
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
  readonly version: number;
  readonly before: { readonly tableName: string; readonly schema: TableSchema } | null;
  readonly after: { readonly tableName: string; readonly schema: TableSchema };
}

/** What befell a tablet as a whole, and no operation of its log says. */
export interface TabletEvent {
  readonly kind: 'event';
  /**
   * `recopied`: every row of it was copied again, as of `hybridTime`; of a row that the sink had before and the copy has
   * not, the delete is lost. `range-dropped`, `table-dropped`: its rows went with their range partition or table.
   * `rewound`: what {@link rewound} says comes again behind it. `skipped`: somebody has left out the rows of `opId`.
   */
  readonly event: 'recopied' | 'rewound' | 'skipped' | DropKind;
  readonly tablet: TabletRef;
  /** The last operation before it, and its time; of `skipped` the operation itself. */
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
  /** What of the table the tablet had, as JSON text; null where that is not known. */
  readonly partition: string | null;
  /** What was lost with a tablet that was dropped before all of it was shipped; null: nothing that is known of. */
  readonly missing: MissingChanges | null;
  /** Of `rewound`: what comes again. */
  readonly rewound?: Rewound;
}

/**
 * What a tablet ships again, up to the operation at which its event says so: the operations behind this one, as the log has
 * them; or, where the log does not reach back so far, the rows that changed from a time on, or all of them.
 */
export type Rewound =
  | { readonly by: 'log'; readonly after: OpId }
  | { readonly by: 'history'; readonly since: HybridTime }
  | { readonly by: 'table' };

/** Changes of a tablet that will never come. */
export interface MissingChanges {
  /** The operations from the first to the last index, both included, as far as is known; null: none. */
  readonly operations: { readonly fromIndex: bigint; readonly toIndex: bigint } | null;
  /** A copy of the tablet's rows was owed, or not whole: rows of before the stream's first operation. */
  readonly copy: boolean;
}

/**
 * A mark in the changes of a tablet: every change with a time up to and including `hybridTime` comes before it, and none
 * after it. `opId` is the first operation behind it.
 */
export interface ResolvedMark {
  readonly kind: 'resolved';
  readonly tablet: TabletRef;
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
}

export type Change = ChangeBatch | SchemaChange | TabletEvent | ResolvedMark;

/** Why a tablet is no more: its range partition was dropped, or its whole table. */
export type DropKind = 'range-dropped' | 'table-dropped';

/** Why a tablet has ended, what it had of its table, and up to which operation it had something to ship. */
export interface TabletEnd {
  readonly event: DropKind;
  readonly partition: string | null;
  readonly lastIndex: bigint;
}
