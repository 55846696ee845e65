import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { GapFiller } from '../source/gap-filler.ts';
import type { Logger } from '../util/logger.ts';
import type { Verdict } from './gap-core.ts';

/** How often the other sidecars are asked for what a gap lacks. */
export const ASK_OTHERS_EVERY_MS = 15_000;

/** Fills gaps in our logs from other replicas': one answer serves all streams of a tablet that wait for it. */
export class GapFilling {
  readonly #gaps: GapFiller;
  readonly #logger: Logger;
  /** What was last asked of a tablet: that is being answered, or is not worth another question before then. */
  readonly #asked = new Map<string, { readonly after: bigint; readonly notBeforeMs: number }>();
  /** Tablets whose gap nobody could fill when they were asked last. */
  readonly #unfilled = new Map<string, Verdict>();

  constructor(gaps: GapFiller, logger: Logger) {
    this.#gaps = gaps;
    this.#logger = logger;
  }

  /** A bounded hold let go of it here: the others have the same limits. */
  neverAskFor(tabletId: string): void {
    this.#unfilled.set(tabletId, 'lost');
  }

  /** Null: the others were not asked yet, or did not come to an answer. */
  verdict(tabletId: string): Verdict | null {
    return this.#unfilled.get(tabletId) ?? null;
  }

  /** The gap is no more: another one is another question. */
  forget(tabletId: string): void {
    this.#unfilled.delete(tabletId);
    this.#asked.delete(tabletId);
  }

  /** Asks for what a tablet's log lacks after `after`, unless that was done lately; null then. @returns whether it was filled */
  start(tabletId: string, after: OpId, signal: AbortSignal): Promise<boolean> | null {
    if (this.#unfilled.get(tabletId) === 'lost') return null;
    const { after: last, notBeforeMs } = this.#asked.get(tabletId) ?? { after: null, notBeforeMs: 0 };
    // What is lacking elsewhere, behind what came, is another question.
    const isAsked = notBeforeMs === Number.POSITIVE_INFINITY || last === after.index;
    if (isAsked && notBeforeMs > performance.now()) return null;
    this.#asked.set(tabletId, { after: after.index, notBeforeMs: Number.POSITIVE_INFINITY }); // however long that takes
    return this.#fill(tabletId, after, signal);
  }

  async #fill(tabletId: string, after: OpId, signal: AbortSignal): Promise<boolean> {
    const log = this.#logger.child({ tabletId, after: formatOpId(after) });
    let askAgainMs = ASK_OTHERS_EVERY_MS;
    try {
      const outcome = await this.#gaps.fill(tabletId, after, signal);
      if (outcome === 'filled') {
        this.#unfilled.delete(tabletId);
        askAgainMs = 0; // where it did not help the next one is asked, and nobody is told twice of the same
        log.info({}, 'there is more held now, reading the log again');
      } else {
        if (this.#unfilled.get(tabletId) !== outcome)
          log.warn({}, `no sidecar ${outcome === 'silent' ? 'that answers ' : ''}has what the log lacks`);
        this.#unfilled.set(tabletId, outcome);
      }
      return outcome === 'filled';
    } catch (error) {
      if (!signal.aborted)
        log.warn({ reason: error instanceof Error ? error.message : String(error) }, 'gap not filled');
      return false;
    } finally {
      this.#asked.set(tabletId, { after: after.index, notBeforeMs: performance.now() + askAgainMs });
    }
  }
}
