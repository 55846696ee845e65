import type { RecordSchemas } from '../change/record.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { ColumnSchema, DataType } from '../kudu/schema.ts';

/** A record as a sink has stored it. */
export interface EncodedRecord {
  readonly key: Buffer | null;
  /** Null for a tombstone. */
  readonly value: Buffer | null;
  /** `spoor.pos`; null where the record has none. */
  readonly position: string | null;
  /** Of the record, in milliseconds since 1970, as whoever wrote it said; absent or null where that is not kept. */
  readonly timestampMs?: number | null;
  /** What key and value were written under, where the sink keeps that with them. */
  readonly schemas?: RecordSchemas;
}

/**
 * Reads the records of one stream in its format, whoever put them there. What it gives is lazy: a record, or a cell of it,
 * that nobody wants is not read further than to know that.
 *
 * Errors: SyntaxError, of this and of all that it gives, where something else stands in a record. The message shows nothing
 * of a row.
 */
export interface RecordDecoder {
  /**
   * Records have the time of their operation in whole milliseconds, rounded down, as their time stamp, and those of a copy have no
   * index: they are ordered by time, and read up to a time of whole milliseconds.
   */
  readonly hasMillisOnly?: true;
  /**
   * Makes ready for records of rows before they are decoded, where that takes a service: a registry of schemas, say.
   * @throws {SinkError} the service does not answer
   */
  prepare?(records: readonly EncodedRecord[], signal: AbortSignal): Promise<void>;
  /** Of a record among those of rows. */
  decode(record: EncodedRecord): DecodedRecord;
  /** Of a record among those of schema changes, of any stream; null for one that says nothing. */
  decodeSchema(record: EncodedRecord): SchemaRecord | TabletEventRecord | null;
  /**
   * The canonical text of a cell (canonical.ts).
   * @param text that of {@link RecordCells.textOf}, which fits the type
   */
  canonical(column: Pick<VersionColumn, 'type' | 'scale'>, text: Buffer): Buffer;
  /** What records show of a value of the table, both canonical, where the format leaves something out; absent: all of it. */
  shown?(type: DataType, value: Buffer): Buffer;
}

export type DecodedRecord =
  | RowRecord
  | TombstoneRecord
  /** Another stream's, of a tablet that both may have. */
  | { readonly kind: 'foreign'; readonly tabletId: string }
  /** Of no row: a mark between records, or neither key nor value. */
  | { readonly kind: 'mark' };

/** What a record with a value does to the row of its key. */
export const RecordOp = {
  /** INSERT, or an UPSERT that is known to have found no row: the whole row. */
  INSERT: 0,
  UPDATE: 1,
  UPSERT: 2,
  UPSERT_IGNORE: 3,
  DELETE: 4,
  /** A row of a copy: the whole row. */
  COPY: 5,
  COPY_DELETE: 6,
} as const;
export type RecordOp = (typeof RecordOp)[keyof typeof RecordOp];

export interface RowRecord {
  readonly kind: 'row';
  /** Null: only its tablet says of which table it is. */
  readonly tableId: string | null;
  readonly tabletId: string;
  readonly op: RecordOp;
  /** Term and index in the tablet's log, of the cut where it is of a copy; the index is -1 where that is not told. */
  readonly term: number;
  readonly index: number;
  /** Place in the operation; 0 where the record does not say it, as in a copy. */
  readonly row: number;
  readonly time: HybridTime;
  /** Those of the key and what was set, or of the whole row; of a delete at least those of the key. */
  readonly cells: RecordCells;
  /** Whether the row is nothing but them: what they do not name is as in a row from before the column. */
  readonly isWhole: boolean;
  /** The row before it; null: there was none; undefined: the record does not tell. */
  readonly before: RecordCells | null | undefined;
  /** @throws {SyntaxError} the record has a key of its own, which consumers go by, and it is not that of its cells */
  checkKey(columns: readonly ColumnSchema[]): void;
}

/** It says by its position alone whose it is. */
export interface TombstoneRecord {
  readonly kind: 'tombstone';
  /** Those of the key. */
  readonly cells: RecordCells;
}

/** The cells that a record names, by the names of their columns. What type they have only a schema says. */
export interface RecordCells {
  /** In the record's order. */
  readonly names: readonly string[];
  has(name: string): boolean;
  /** Whether the cell of that name, which is there, can be a value of a column of that type. */
  fits(name: string, type: DataType): boolean;
  /** What to keep of a cell until its type is known: see {@link RecordDecoder.canonical}. */
  textOf(name: string): string;
  /** The bytes of a cell as a scan gives them. */
  keyCell(column: ColumnSchema): Buffer;
}

/** What every record of the schema changes says. */
interface SchemaPlace {
  readonly tableId: string;
  readonly tabletId: string;
  readonly index: number;
  readonly time: HybridTime;
}

/** A version of a table's schema, and that a tablet has taken it. */
export interface SchemaRecord extends SchemaPlace {
  readonly kind: 'schema';
  readonly version: number;
  /** What the ALTER found that made the version; null where none did: the version was in force there. */
  readonly before: RecordedTable | null;
  readonly after: RecordedTable;
}

/** What befell a tablet as a whole. */
export interface TabletEventRecord extends SchemaPlace {
  readonly kind: 'event';
  /** As docs/records.md names it. */
  readonly event: string;
  /** Of `rewound`, where operations come again: the index of the first. */
  readonly rewoundFrom?: number;
}

export interface RecordedTable {
  readonly name: string;
  readonly columns: readonly VersionColumn[];
}

/** A column in a version of its table. */
export interface VersionColumn {
  readonly id: number;
  readonly name: string;
  readonly type: DataType;
  /** Digits after the point of a decimal. */
  readonly scale?: number;
  readonly isKey: boolean;
  readonly immutable: boolean;
  /** Canonical; what an UPSERT of a new row stores that does not set the column. */
  readonly writeDefault: Buffer;
}
