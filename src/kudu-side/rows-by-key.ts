import { encodedKey } from '../change/copied-rows.ts';
import { keyColumnsOf } from '../kudu/key-columns.ts';
import { keyCells } from '../kudu/key-encoder.ts';
import type { Predicate } from '../kudu/predicate.ts';
import type { ScanOptions } from '../kudu/scanner.ts';
import type { RowBlock } from '../kudu/row-block.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { RowAt } from '../source/table-copier.ts';
import type { KeyReadCosts } from './key-read-costs.ts';

/** Rows of one tablet that are asked for by their encoded primary keys. */
export interface KeyedRead {
  readonly keys: readonly Buffer[];
  /** As it was where the keys are from. */
  readonly schema: TableSchema;
  /** The columns as they are called now, and where in a block each column of `schema` is. */
  readonly columns: TableSchema['columns'];
  readonly places: Int32Array;
  readonly scan: (
    options: Pick<ScanOptions, 'predicates' | 'startKey' | 'limit' | 'ordered'>,
  ) => AsyncIterable<RowBlock>;
}

/** So many rows are asked for at a time, each by a scan of its own. */
const POINTS_AT_A_TIME = 16;

/**
 * Reads rows by their keys. Kudu has no call for that, and two ways: a scan for each row, which goes straight to it; or one that
 * is given all values of each key column, and passes over the rows between the first and the last of them. Many keys of a
 * tablet of a million rows come ten times as fast in the second way (some 60,000 rows a second, not 6,000), few keys of a large
 * one in the first. Which is the better is learnt from what they took.
 *
 * @returns by key, as latin1; what is not in it is not in the table
 */
export async function readByKeys(read: KeyedRead, costs: KeyReadCosts): Promise<Map<string, RowAt>> {
  const found = new Map<string, RowAt>();
  const wanted = new Set(read.keys.map((key) => key.toString('latin1')));
  const patienceMs = costs.listPatienceMs(wanted.size);
  if (patienceMs > 0) {
    const beganMs = performance.now();
    const isWhole = await readAsList(read, wanted, found, beganMs + patienceMs);
    costs.noteList(performance.now() - beganMs, isWhole);
    if (isWhole) return noteWidth(found, costs);
  }
  const left = [...wanted].filter((key) => !found.has(key));
  const beganMs = performance.now();
  const next = left[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: Math.min(POINTS_AT_A_TIME, left.length) }, async () => {
      for (const key of next) await readOne(read, key, found);
    }),
  );
  costs.notePoints(performance.now() - beganMs, left.length);
  return noteWidth(found, costs);
}

function noteWidth(found: Map<string, RowAt>, costs: KeyReadCosts): Map<string, RowAt> {
  const blocks = new Set([...found.values()].map(({ block }) => block));
  let bytes = 0;
  for (const { rows, indirect } of blocks) bytes += rows.length + indirect.length;
  if (found.size > 0) costs.noteWidth(Math.max(1, bytes / found.size));
  return found;
}

/** @returns false where it was given up, since it took too long */
async function readAsList(
  { keys, schema, columns, places, scan }: KeyedRead,
  wanted: ReadonlySet<string>,
  found: Map<string, RowAt>,
  untilMs: number,
): Promise<boolean> {
  const key = keyColumnsOf(schema);
  const rows = keys.map((each) => keyCells(key.columns, each));
  const predicates = key.places.map((place, i): Predicate => ({
    column: columns[places[place]!]!.name,
    is: 'in',
    cells: rows.map((cells) => cells[i]!),
  }));
  // Where to begin and to stop Kudu sees in the values. With a start key alone it goes on to the end of the tablet.
  for await (const block of scan({ predicates })) {
    for (let row = 0; row < block.rowCount; row++) {
      const name = encodedKey(schema, block, places, row).toString('latin1');
      if (wanted.has(name)) found.set(name, { block, places, row }); // it may have one row's value in one key column, another's in the next
    }
    if (performance.now() > untilMs) return false;
  }
  return true;
}

async function readOne({ schema, places, scan }: KeyedRead, latin1: string, found: Map<string, RowAt>): Promise<void> {
  const key = Buffer.from(latin1, 'latin1');
  for await (const block of scan({ startKey: key, limit: 1, ordered: true }))
    if (block.rowCount > 0 && encodedKey(schema, block, places, 0).equals(key))
      found.set(latin1, { block, places, row: 0 });
}
