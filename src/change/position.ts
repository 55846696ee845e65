import * as z from 'zod';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { formatOpId, OP_ID, parseOpId, type OpId } from '../kudu/opid.ts';

/**
 * How far a tablet's stream has come. It travels with the records: a sink that can commit both at once
 * (Kafka's transactions) makes delivery exact.
 */
export interface TabletPosition {
  /** The apply OpId: every committed operation up to and including it is in the sink once this is durable. */
  readonly opId: OpId;
  /** What the log alone cannot tell a reader who starts at `opId`: the table's name and schema version there. */
  readonly tableName: string;
  readonly schemaVersion: number;
  /** ALTERs up to this schema version do not change the name: it is newer than they are. Absent: all behind `opId` do. */
  readonly named?: number;
  /** No operation after `opId` has this time or a lower one; absent where none was read yet. */
  readonly time?: HybridTime;
  /** A copy of the tablet's rows that the stream owes: `wanted`, not begun; absent, none. */
  readonly copy?: 'wanted' | CopyProgress;
  /** The resync that was last begun here, by its id. */
  readonly resync?: string;
  /** The rows that were last put right here, by the id of who asked for it. */
  readonly corrected?: string;
  /** What was last shipped again from here back, by the id of who asked for it. */
  readonly rewound?: string;
  /** The tablet was dropped, and this is the last of it: the event that says so is in the sink. */
  readonly ended?: true;
  /**
   * Rows of the operations behind it are there too, up to this one: whole rows of large operations go out slice by slice. Of a
   * copy, rows of the operations that are read again behind it.
   */
  readonly upTo?: RowRef;
}

/** A row of an operation of a tablet's log: the operation's index, and the row's place in it, rejected rows counted. */
export interface RowRef {
  readonly index: bigint;
  readonly row: number;
}

/** Whether a row comes no later than another in the tablet's order. */
export function isUpTo(row: RowRef, last: RowRef): boolean {
  return row.index === last.index ? row.row <= last.row : row.index < last.index;
}

/**
 * A copy of a tablet's rows that is under way. Its cut is an operation of the tablet's own log (an apply marker): the
 * rows at that operation's time are exactly what the operations before it made (kudu-facts 0.5).
 *
 * While the position's index is the cut's, `rows` of them are in the sink. A position that has gone on behind the cut
 * says that the copy was given up: another is owed, with a cut of its own.
 */
export interface CopyProgress {
  /** Index of the cut. */
  readonly cut: bigint;
  /** Time of the cut: the rows are read as they were then. */
  readonly at: HybridTime;
  /** A repair: only what changed from this time on, deletes included; absent in a copy of all rows. */
  readonly since?: HybridTime;
  /** How many rows are in the sink. */
  readonly rows: number;
  /** Where the scan goes on, and how many rows lie before that: an encoded primary key. Absent: from the first row. */
  readonly key?: { readonly after: Buffer; readonly rows: number };
  /** Rows that the sink has from before, and the copy has not, are gone: at its end an event says so. */
  readonly replaces?: true;
  /**
   * COMMIT_WAIT operations before the cut may be stamped behind it: the log after this operation is read again, up to the
   * cut. Once all rows are there it moves on with what of that is there too.
   */
  readonly replayAfter?: OpId;
  /** A rewind: no rows are copied, and the log after `replayAfter` is all that comes. */
  readonly onlyLog?: true;
}

/**
 * Orders the positions of one tablet's stream: by index, and at a cut by what of the copy, and then of its replay, is there; last
 * by the rows behind it.
 */
export function comparePositions(a: TabletPosition, b: TabletPosition): number {
  if (a.opId.index !== b.opId.index) return a.opId.index < b.opId.index ? -1 : 1;
  const [before, after] = [copyRank(a), copyRank(b)];
  if (before !== after) return before - after;
  const [replayed, again] = [replayedTo(a), replayedTo(b)];
  if (replayed !== again) return replayed < again ? -1 : 1;
  return compareRows(a.upTo, b.upTo);
}

/** None comes before any. */
function compareRows(a: RowRef | undefined, b: RowRef | undefined): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  if (a.index !== b.index) return a.index < b.index ? -1 : 1;
  return a.row - b.row;
}

/** Without what is there of the operations behind it. */
export function withoutRows(position: TabletPosition): TabletPosition {
  const without: { upTo?: RowRef } & TabletPosition = { ...position };
  delete without.upTo;
  return without;
}

/** Whether `position` is further than `other`; null is none. */
export function isAhead(position: TabletPosition, other: TabletPosition | null): boolean {
  return other === null || comparePositions(position, other) > 0;
}

/** Any copy but a tablet's first. */
export function isResync({ since }: CopyProgress, resync: string | undefined): boolean {
  return since !== undefined || resync !== undefined;
}

/** The copy that a position is in the midst of; null for none, or one that was not begun. */
export function copyUnderWay(position: Pick<TabletPosition, 'copy'> | null): CopyProgress | null {
  const copy = position?.copy;
  return copy === undefined || copy === 'wanted' ? null : copy;
}

/** Up to which index all of the log is read that a position needs: behind a copy it is read a second time. */
export function loggedUpTo(position: Pick<TabletPosition, 'opId' | 'copy'>): bigint {
  return copyUnderWay(position)?.replayAfter?.index ?? position.opId.index;
}

/** Up to which index the log behind the cut of a copy was read again; 0 where nothing was. */
export function replayedTo(position: Pick<TabletPosition, 'copy'> | null): bigint {
  return copyUnderWay(position)?.replayAfter?.index ?? 0n;
}

function copyRank({ copy, ended }: TabletPosition): number {
  if (ended) return Number.POSITIVE_INFINITY;
  if (copy === undefined) return Number.MAX_SAFE_INTEGER;
  return copy === 'wanted' ? -1 : copy.rows;
}

/** An OpId as `<term>.<index>`. */
export const opIdJson = z.string().regex(OP_ID).transform(parseOpId);
const time = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt);
const count = z.int().nonnegative();
/** A row as `<index>.<row>`. */
export const rowRefJson = z
  .string()
  .regex(/^\d{1,19}\.\d{1,10}$/)
  .transform((text): RowRef => {
    const [index, row] = text.split('.') as [string, string];
    return { index: BigInt(index), row: Number(row) };
  });

/** What {@link rowRefJson} reads. */
export function rowRefToJson({ index, row }: RowRef): string {
  return `${index}.${row}`;
}

const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));

/** A position as JSON, in Kafka's topic of positions, in apply markers and in Spoor's own tables. */
export const positionJson = z
  .object({
    op: opIdJson,
    table: z.string(),
    schema: count,
    named: count.exactOptional(),
    time: time.exactOptional(),
    copy: z
      .union([
        z.literal('wanted'),
        z.object({
          cut: time,
          at: time,
          since: time.exactOptional(),
          rows: count,
          replaces: z.literal(true).exactOptional(),
          key: z.object({ after: bytes, rows: count }).exactOptional(),
          replay: opIdJson.exactOptional(),
          onlyLog: z.literal(true).exactOptional(),
        }),
      ])
      .exactOptional(),
    resync: z.string().exactOptional(),
    corrected: z.string().exactOptional(),
    rewound: z.string().exactOptional(),
    ended: z.literal(true).exactOptional(),
    upTo: rowRefJson.exactOptional(),
  })
  .transform(({ op, table, schema, copy, ...rest }): TabletPosition => {
    const position = { opId: op, tableName: table, schemaVersion: schema, ...rest };
    if (copy === undefined || copy === 'wanted') return copy === undefined ? position : { ...position, copy };
    const { replay, ...progress } = copy;
    return { ...position, copy: { ...progress, ...(replay && { replayAfter: replay }) } };
  });
export type PositionJson = z.input<typeof positionJson>;

/** What {@link positionJson} reads. */
export function positionToJson(position: TabletPosition): PositionJson {
  const { opId: op, tableName, schemaVersion, named, copy, resync, corrected, rewound, ended, upTo } = position;
  return {
    op: formatOpId(op),
    table: tableName,
    schema: schemaVersion,
    ...(named !== undefined && { named }),
    ...(position.time !== undefined && { time: position.time.toString() }),
    ...(copy !== undefined && { copy: copy === 'wanted' ? copy : copyToJson(copy) }),
    ...(resync !== undefined && { resync }),
    ...(corrected !== undefined && { corrected }),
    ...(rewound !== undefined && { rewound }),
    ...(ended && { ended }),
    ...(upTo && { upTo: rowRefToJson(upTo) }),
  };
}

function copyToJson({ cut, at, since, rows, key, replaces, replayAfter, onlyLog }: CopyProgress) {
  return {
    cut: cut.toString(),
    at: at.toString(),
    ...(since !== undefined && { since: since.toString() }),
    rows,
    ...(replaces && { replaces }),
    ...(key && { key: { after: key.after.toString('base64'), rows: key.rows } }),
    ...(replayAfter && { replay: formatOpId(replayAfter) }),
    ...(onlyLog && { onlyLog }),
  };
}
