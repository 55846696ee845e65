import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { OpId } from '../kudu/opid.ts';
import type { RowBlock } from '../kudu/row-block.ts';
import type { TableSchema } from '../kudu/schema.ts';

export interface CopiedTablet {
  readonly tableId: string;
  readonly tabletId: string;
}

/** An operation of a tablet's log: the rows at its time are what the operations before it made, and no others. */
export interface Cut {
  readonly opId: OpId;
  readonly time: HybridTime;
  readonly tableName: string;
  readonly schemaVersion: number;
  /** In force there, with column ids. */
  readonly schema: TableSchema;
  /** See {@link CopyProgress.replayAfter}. */
  readonly replayAfter: OpId | null;
}

export interface CopyScan {
  readonly at: HybridTime;
  /** Only what changed from this time on, deleted rows marked; all rows without it. */
  readonly since?: HybridTime;
  /** Encoded primary key of the row before the first. */
  readonly after?: Buffer;
  /** What the columns are called where the copy is cut, with their ids. */
  readonly schema: TableSchema;
  readonly schemaVersion: number;
}

/** Some rows of a copy in the order of their keys. */
export interface CopyBlock {
  readonly block: RowBlock;
  /** For each column of the scan's schema its place in the block; -1 for one that was dropped since. */
  readonly places: Int32Array;
}

/** One row of a block. */
export interface RowAt extends CopyBlock {
  readonly row: number;
}

/** A row that was asked for by its encoded primary key; null where there was none. */
export interface CopiedRow {
  readonly key: Buffer;
  readonly found: RowAt | null;
}

/** Reads a tablet's rows as they were at a time; kudu-side/kudu-copier.ts does it through Kudu's own API. */
export interface TableCopier {
  /**
   * Makes a cut in the tablet's log, with the schema in force there.
   * Errors: {@link MarkerError}, KuduError; what passes by itself is tried again for some seconds first.
   */
  makeCut(tablet: CopiedTablet, generation: string, signal: AbortSignal): Promise<Cut>;
  /**
   * The rows in the order of their keys, however often a server is lost meanwhile; the same ones on each replica.
   * Errors: SPOOR_SNAPSHOT_TOO_OLD where the tablet's history does not reach back to `at` or `since`; KuduError.
   */
  scan(tablet: CopiedTablet, scan: CopyScan, signal: AbortSignal): AsyncIterable<CopyBlock>;
  /** The rows with these encoded primary keys, in the order in which they are named. Errors: as of {@link TableCopier.scan}. */
  rows(
    tablet: CopiedTablet,
    scan: Pick<CopyScan, 'at' | 'schema' | 'schemaVersion'>,
    keys: readonly Buffer[],
    signal: AbortSignal,
  ): AsyncIterable<CopiedRow>;
  /** How many rows there are at that time. */
  count(tablet: CopiedTablet, at: HybridTime, signal: AbortSignal): Promise<number>;
}
