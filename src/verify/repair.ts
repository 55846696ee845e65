import { pause } from '../util/pause.ts';
import type { Difference } from './comparison.ts';
import { StreamUnavailableError, VerifyError } from './verify-error.ts';

/** How the sidecars are asked to put rows right. */
export interface Corrector {
  /**
   * Asks for rows of a tablet to be shipped as they are: at a cut of its own each comes whole, or as its delete. Another
   * request for the tablet takes its place.
   * @param keys encoded primary keys
   */
  request(tabletId: string, keys: readonly Buffer[], signal: AbortSignal): Promise<CorrectionAnswer>;
  /** By tablet, the id of the last request that is in the sink. */
  done(signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
}

/** A request is taken as a whole, or not at all. */
export type CorrectionAnswer =
  /** With the id that it has. */
  | { readonly kind: 'taken'; readonly id: string }
  /** Because of these keys, at least one: by their places in the request, why. */
  | { readonly kind: 'refused'; readonly reasons: ReadonlyMap<number, string> };

/** What of a {@link Difference} a repair goes by, and tells of. */
type WrongRow = Pick<Difference, 'table' | 'key' | 'encodedKey'>;

/** A row that stays as it is in the sink. */
export interface SkippedRow extends Pick<Difference, 'table' | 'key' | 'tabletId'> {
  readonly reason: string;
}

export interface RepairOutcome {
  /** Rows that were shipped as they are. */
  readonly repaired: number;
  readonly skipped: readonly SkippedRow[];
}

/** More in one tablet are better served by a copy of all its rows. */
const MAX_KEYS = 20_000;
const KEYS_PER_REQUEST = 200;
/** As base64. */
const BYTES_PER_REQUEST = 16 * 1024;
const POLL_MS = 250;
const TABLETS_AT_A_TIME = 4;

/** The rows that are wrong, by their tablets. Memory is bounded: a tablet with too many is not repaired anyhow. */
export class WrongRows {
  readonly #byTablet = new Map<string, WrongRow[]>();
  readonly #ofNoTablet: SkippedRow[] = [];

  add({ table, key, encodedKey, tabletId }: Difference): void {
    if (tabletId === null) {
      this.#ofNoTablet.push({
        table,
        key,
        tabletId,
        reason: 'no table has it, and its records do not say whose it was',
      });
      return;
    }
    const row = { table, key, encodedKey };
    const known = this.#byTablet.get(tabletId);
    if (!known) this.#byTablet.set(tabletId, [row]);
    else if (known.length <= MAX_KEYS) known.push(row);
  }

  get count(): number {
    return [...this.#byTablet.values()].reduce((sum, rows) => sum + rows.length, this.#ofNoTablet.length);
  }

  tablets(): Iterable<[string, readonly WrongRow[]]> {
    return this.#byTablet;
  }

  /** Nobody can be asked for these. */
  get ofNoTablet(): readonly SkippedRow[] {
    return this.#ofNoTablet;
  }
}

/**
 * Has the rows shipped as they are, in rounds that are each in the sink before the next is asked for. What the sidecars
 * refuse is skipped, and the others go on without it.
 * @throws {VerifyError} a tablet has too many, or a round is not in the sink in time
 */
export async function repair(
  wrong: WrongRows,
  corrector: Corrector,
  options: { readonly timeoutMs: number; readonly progress: (text: string) => void },
  signal: AbortSignal,
): Promise<RepairOutcome> {
  for (const [tabletId, rows] of wrong.tablets())
    if (rows.length > MAX_KEYS)
      throw new VerifyError(
        'failed',
        `tablet ${tabletId} has more than ${MAX_KEYS} rows that are wrong; copy it again: spoor streams resync <stream> --tablet ${tabletId}`,
      );
  const skipped = [...wrong.ofNoTablet];
  let repaired = 0;
  const waiting = [...wrong.tablets()];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [tabletId, rows] = next;
      let done = 0;
      for (const round of rounds(rows)) {
        options.progress(`tablet ${tabletId}: ${done} of ${rows.length} rows put right`);
        const request = await requestRound(tabletId, round, corrector, signal);
        if (request.id !== null) await awaitCorrection(tabletId, request.id, corrector, options.timeoutMs, signal);
        skipped.push(...request.skipped);
        repaired += round.length - request.skipped.length;
        done += round.length;
      }
    }
  };
  await Promise.all(Array.from({ length: TABLETS_AT_A_TIME }, worker));
  return { repaired, skipped };
}

/** Asks for a round, and again without what was refused. @returns a null id where nothing was left to ask for */
async function requestRound(
  tabletId: string,
  round: readonly WrongRow[],
  corrector: Corrector,
  signal: AbortSignal,
): Promise<{ readonly id: string | null; readonly skipped: readonly SkippedRow[] }> {
  const skipped: SkippedRow[] = [];
  for (let rows = round; rows.length > 0;) {
    const keys = rows.map(({ encodedKey }) => encodedKey);
    const answer = await corrector.request(tabletId, keys, signal);
    if (answer.kind === 'taken') return { id: answer.id, skipped };
    const left: WrongRow[] = [];
    for (const [place, row] of rows.entries()) {
      const reason = answer.reasons.get(place);
      if (reason === undefined) left.push(row);
      else skipped.push({ table: row.table, key: row.key, tabletId, reason });
    }
    // Or else it would be asked for ever.
    if (left.length === rows.length)
      throw new VerifyError('failed', `tablet ${tabletId}: a repair was refused for no row`);
    rows = left;
  }
  return { id: null, skipped };
}

/** Waits until a request is in the sink. */
async function awaitCorrection(
  tabletId: string,
  id: string,
  corrector: Corrector,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const start = performance.now();
  const isDone = async (): Promise<boolean> => {
    try {
      return (await corrector.done(signal)).get(tabletId) === id;
    } catch (error) {
      if (error instanceof StreamUnavailableError) return false;
      throw error;
    }
  };
  while (!(await isDone())) {
    if (performance.now() - start > timeoutMs)
      throw new VerifyError('failed', `tablet ${tabletId}: rows were not put right within ${timeoutMs / 1000} s`);
    await pause(POLL_MS, signal);
    signal.throwIfAborted();
  }
}

/** A key that is too long for any round goes alone. */
export function* rounds<Row extends Pick<WrongRow, 'encodedKey'>>(
  rows: readonly Row[],
): Generator<readonly Row[], void, void> {
  let round: Row[] = [];
  let bytes = 0;
  for (const row of rows) {
    const size = 4 * Math.ceil(row.encodedKey.length / 3);
    if (round.length === KEYS_PER_REQUEST || (round.length > 0 && bytes + size > BYTES_PER_REQUEST)) {
      yield round;
      [round, bytes] = [[], 0];
    }
    round.push(row);
    bytes += size;
  }
  if (round.length > 0) yield round;
}
