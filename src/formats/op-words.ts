import { CopyOp, RowOp, type ChangeBatch } from '../change/change.ts';

/** Debezium's letters: created, updated, deleted, read. */
export type OpLetter = 'c' | 'u' | 'd' | 'r';

export interface OpWords {
  readonly letter: OpLetter;
  /** `kudu_op`; null for a row of a copy: no operation of Kudu made it. */
  readonly name: string | null;
}

/** By the number of the operation. An UPSERT is an update here: see {@link opWords}. */
export const WORDS: readonly (OpWords | undefined)[] = tableOf([
  [RowOp.INSERT, { letter: 'c', name: 'INSERT' }],
  [RowOp.INSERT_IGNORE, { letter: 'c', name: 'INSERT_IGNORE' }],
  [RowOp.UPDATE, { letter: 'u', name: 'UPDATE' }],
  [RowOp.UPDATE_IGNORE, { letter: 'u', name: 'UPDATE_IGNORE' }],
  [RowOp.UPSERT, { letter: 'u', name: 'UPSERT' }],
  [RowOp.UPSERT_IGNORE, { letter: 'u', name: 'UPSERT_IGNORE' }],
  [RowOp.DELETE, { letter: 'd', name: 'DELETE' }],
  [RowOp.DELETE_IGNORE, { letter: 'd', name: 'DELETE_IGNORE' }],
  [CopyOp.ROW, { letter: 'r', name: null }],
  [CopyOp.DELETED, { letter: 'd', name: null }],
]);
const CREATING = tableOf([
  [RowOp.UPSERT, { letter: 'c', name: 'UPSERT' }],
  [RowOp.UPSERT_IGNORE, { letter: 'c', name: 'UPSERT_IGNORE' }],
]);

/** What a record of the row says of its operation. An UPSERT made the row where it is known that there was none. */
export function opWords(
  { ops, before, partial }: Pick<ChangeBatch, 'ops' | 'before' | 'partial'>,
  row: number,
): OpWords {
  const op = ops[row]!;
  const isNew = before !== null && before.present[row] !== 1 && partial?.[row] !== 1;
  const words = (isNew ? CREATING[op] : undefined) ?? WORDS[op];
  if (!words) throw new RangeError(`a row operation ${op}`);
  return words;
}

/** The letter of {@link opWords}. */
export function letterOf(batch: Pick<ChangeBatch, 'ops' | 'before' | 'partial'>, row: number): OpLetter {
  return opWords(batch, row).letter;
}

/** Every name that `kudu_op` may have. */
export const OP_NAMES: readonly string[] = WORDS.flatMap((words) => words?.name ?? []);

function tableOf(entries: readonly (readonly [number, OpWords])[]): (OpWords | undefined)[] {
  const table: (OpWords | undefined)[] = new Array<OpWords | undefined>(66).fill(undefined);
  for (const [op, words] of entries) table[op] = words;
  return table;
}
