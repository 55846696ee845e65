import { CopyOp, RowOp, type ChangeBatch } from '../change/change.ts';
import { ascii } from './json-text.ts';

/** Debezium's `op`. */
export type Letter = 'c' | 'u' | 'd' | 'r';

interface KnownOp {
  readonly op: RowOp | (typeof CopyOp)[keyof typeof CopyOp];
  /** Null for a row of a copy: no operation of Kudu made it. */
  readonly name: string | null;
  readonly letter: Letter;
}

/** What `op` and `kudu_op` say of a row operation. */
const OPS: readonly KnownOp[] = [
  { op: RowOp.INSERT, name: 'INSERT', letter: 'c' },
  { op: RowOp.INSERT_IGNORE, name: 'INSERT_IGNORE', letter: 'c' },
  { op: RowOp.UPDATE, name: 'UPDATE', letter: 'u' },
  { op: RowOp.UPDATE_IGNORE, name: 'UPDATE_IGNORE', letter: 'u' },
  { op: RowOp.UPSERT, name: 'UPSERT', letter: 'u' },
  { op: RowOp.UPSERT_IGNORE, name: 'UPSERT_IGNORE', letter: 'u' },
  { op: RowOp.DELETE, name: 'DELETE', letter: 'd' },
  { op: RowOp.DELETE_IGNORE, name: 'DELETE_IGNORE', letter: 'd' },
  { op: CopyOp.ROW, name: null, letter: 'r' },
  { op: CopyOp.DELETED, name: null, letter: 'd' },
];
const LETTERS: readonly (Letter | undefined)[] = byOp((known) => known.letter);
/** What stands behind the row's number in `sequence`: the end of the record; and by what {@link ChangeBatch.partial} says. */
const ENDINGS: readonly (Buffer | undefined)[] = byOp((known) => ending(known, ''));
const ENDINGS_OF_PART: readonly (readonly (Buffer | undefined)[])[] = [
  ENDINGS,
  byOp((known) => ending(known, ',"image":"partial"')),
  byOp((known) => ending(known, ',"image":"key-only"')),
  byOp((known) => ending(known, ',"image":"partial"')),
];

/** An UPSERT that is known to have found no row made one. */
export function letterOf({ ops, before, partial }: ChangeBatch, row: number): Letter {
  const op = ops[row]!;
  if (before !== null && (op === RowOp.UPSERT || op === RowOp.UPSERT_IGNORE))
    return before.present[row] === 1 || partial?.[row] === 1 ? 'u' : 'c';
  return LETTERS[op]!;
}

export function endingOf({ ops, partial }: ChangeBatch, row: number): Buffer {
  return (partial === null ? ENDINGS : ENDINGS_OF_PART[partial[row]!]!)[ops[row]!]!;
}

function ending({ name }: KnownOp, more: string): Buffer {
  const sequenceEnd = name === null ? ']' : '\\"]';
  return ascii(`${sequenceEnd}","kudu_op":${JSON.stringify(name)}${more}}}`);
}

function byOp<T>(of: (known: KnownOp) => T): (T | undefined)[] {
  const table: (T | undefined)[] = new Array<T | undefined>(66).fill(undefined);
  for (const known of OPS) table[known.op] = of(known);
  return table;
}
