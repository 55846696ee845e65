import { cellBytes, isVarLength } from '../kudu/cell-codec.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../kudu/schema.ts';
import { Cell } from './change.ts';

/** The bytes of a write are not what Kudu writes (`corrupt`), or are of a kind that Spoor does not know (`unsupported`). */
export class RowFormatError extends Error {
  override readonly name = 'RowFormatError';
  readonly kind: 'corrupt' | 'unsupported';

  constructor(kind: 'corrupt' | 'unsupported', message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Types that a column of a table may have and that Spoor reads; Kudu has more, for its own use. Source: kudu-facts 7. */
const READABLE: ReadonlySet<DataType> = new Set([
  DataType.INT8,
  DataType.INT16,
  DataType.INT32,
  DataType.INT64,
  DataType.BOOL,
  DataType.FLOAT,
  DataType.DOUBLE,
  DataType.STRING,
  DataType.BINARY,
  DataType.VARCHAR,
  DataType.UNIXTIME_MICROS,
  DataType.DATE,
  DataType.DECIMAL32,
  DataType.DECIMAL64,
  DataType.DECIMAL128,
]);

/**
 * How the rows of a write lie, and where their cells belong: made once for a pair of schemas, used for every write.
 *
 * The schema inside a request lays the rows out; a column belongs to the column of the *same name* in the tablet's
 * schema in force at the operation, never to the one at the same place (kudu-facts 5.3).
 */
export interface RowLayout {
  readonly tabletSchema: TableSchema;
  /** Columns in the request. */
  readonly width: number;
  readonly bitmapBytes: number;
  /** Whether rows carry a null bitmap: only if any column of the request is nullable. */
  readonly hasNullBitmap: boolean;
  /** One a request column: bytes of its cell; 1 where it is nullable, var-length, a key, immutable in the tablet. */
  readonly cellBytes: Uint8Array;
  readonly nullable: Uint8Array;
  readonly varLength: Uint8Array;
  readonly immutable: Uint8Array;
  readonly keyColumns: number;
  /** One a request column: its place in the tablet's schema. */
  readonly target: Int32Array;
  /** Places of the tablet's columns that the request does not have. */
  readonly missing: Int32Array;
  /** One a tablet column: the {@link Cell} code of a column that an INSERT leaves out; UNSET: it may not. */
  readonly leftOutByInsert: Int32Array;
  /** As above for an UPSERT: keys are filled in as for an INSERT, values are left to what the row has. */
  readonly leftOutByUpsert: Int32Array;
  /** As above for UPDATE and DELETE: nothing is filled in. */
  readonly leftOutByOthers: Int32Array;
  /** Place of the auto-incrementing column in the request, or -1. */
  readonly autoIncrement: number;
}

/**
 * @throws {RowFormatError} `corrupt` when the two do not fit (a column that the tablet does not have, or of another
 *   type, or a required one that is missing): a tablet server would have refused the write, so the schema at hand is
 *   not the one that was in force; `unsupported` for a data type that Spoor cannot read
 */
export function compileRowLayout(request: TableSchema, tablet: TableSchema): RowLayout {
  const width = request.columns.length;
  const placeOf = new Map(tablet.columns.map((column, place) => [column.name, place]));
  const target = new Int32Array(width);
  let autoIncrement = -1;
  request.columns.forEach((column, j) => {
    const place = placeOf.get(column.name);
    const own = place === undefined ? undefined : tablet.columns[place];
    if (place === undefined || own === undefined)
      throw new RowFormatError(
        'corrupt',
        `the write has a column ${quote(column.name)}, the tablet at that point has not`,
      );
    if (own.type !== column.type || own.nullable !== column.nullable || own.isKey !== column.isKey)
      throw new RowFormatError(
        'corrupt',
        `column ${quote(column.name)} of the write is of another type than the tablet's at that point`,
      );
    target[j] = place;
    if (own.autoIncrementing) autoIncrement = j;
  });
  const present = new Set(target);
  const missing = Int32Array.from(tablet.columns.keys()).filter((place) => !present.has(place));
  const leftOutByInsert = Int32Array.from(tablet.columns, (column) => {
    if (column.autoIncrementing) return Cell.AUTO;
    if (column.writeDefault !== null) return Cell.DEFAULT;
    return column.nullable ? Cell.NULL : Cell.UNSET;
  });
  for (const place of missing)
    if (leftOutByInsert[place] === Cell.UNSET || leftOutByInsert[place] === Cell.AUTO)
      throw new RowFormatError(
        'corrupt',
        `the write lacks the column ${quote(tablet.columns[place]!.name)}, which it must have`,
      );
  return {
    tabletSchema: tablet,
    width,
    bitmapBytes: (width + 7) >> 3,
    hasNullBitmap: request.columns.some((column) => column.nullable),
    cellBytes: Uint8Array.from(request.columns, readableCellBytes),
    nullable: Uint8Array.from(request.columns, (column) => Number(column.nullable)),
    varLength: Uint8Array.from(request.columns, (column) => Number(isVarLength(column.type))),
    immutable: Uint8Array.from(target, (place) => Number(tablet.columns[place]!.immutable)),
    keyColumns: request.columns.filter((column) => column.isKey).length,
    target,
    missing,
    leftOutByInsert,
    leftOutByUpsert: leftOutByInsert.map((code, place) =>
      tablet.columns[place]!.isKey && code === Cell.DEFAULT ? code : Cell.UNSET,
    ),
    leftOutByOthers: new Int32Array(tablet.columns.length).fill(Cell.UNSET),
    autoIncrement,
  };
}

function readableCellBytes({ type, name }: ColumnSchema): number {
  if (READABLE.has(type)) return cellBytes(type);
  throw new RowFormatError(
    'unsupported',
    `column ${quote(name)} has Kudu's data type ${type}, which Spoor cannot read`,
  );
}

function quote(name: string): string {
  return JSON.stringify(name);
}
