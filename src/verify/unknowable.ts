import type { Difference } from './comparison.ts';

/** What a row may be otherwise without a fault, where its operations of a kind are left out. */
const BY_LETTER: Readonly<Record<'c' | 'u' | 'd' | 'r', readonly Difference['kind'][]>> = {
  c: ['missing', 'different'],
  u: ['missing', 'different'], // an UPSERT makes rows too
  d: ['extra', 'different'], // what comes after it is told over the row of before
  r: ['missing', 'different'],
};

/** Kinds of differences that tell nothing of a stream which leaves these operations out. */
export function unknowable(skipped: readonly ('c' | 'u' | 'd' | 'r')[]): readonly Difference['kind'][] {
  return [...new Set(skipped.flatMap((letter) => BY_LETTER[letter]))];
}
