import type { ChangeBatch } from '../change/change.ts';
import { ascii } from './json-text.ts';
import { WORDS, type OpWords } from './op-words.ts';

/** What stands behind the row's number in `sequence`: the end of the record; and by what {@link ChangeBatch.partial} says. */
const ENDINGS: readonly (Buffer | undefined)[] = byOp('');
const ENDINGS_OF_PART: readonly (readonly (Buffer | undefined)[])[] = [
  ENDINGS,
  byOp(',"image":"partial"'),
  byOp(',"image":"key-only"'),
  byOp(',"image":"partial"'),
];

export function endingOf({ ops, partial }: ChangeBatch, row: number): Buffer {
  return (partial === null ? ENDINGS : ENDINGS_OF_PART[partial[row]!]!)[ops[row]!]!;
}

function ending({ name }: OpWords, more: string): Buffer {
  const sequenceEnd = name === null ? ']' : '\\"]';
  return ascii(`${sequenceEnd}","kudu_op":${JSON.stringify(name)}${more}}}`);
}

function byOp(more: string): (Buffer | undefined)[] {
  return WORDS.map((words) => words && ending(words, more));
}
