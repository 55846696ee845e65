import type { ApplyMarker } from '../change/apply-marker.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';

/** Puts markers into the logs of tablets. */
export interface MarkerWriter {
  /**
   * Resolves once a majority of the tablet's replicas has the marker in its log, with the time of that operation.
   * Errors: {@link MarkerError}; the signal's reason when that aborts. After any of them the marker may be in the log
   *         all the same, or get there later: it stays true.
   */
  write(
    tablet: { readonly tableId: string; readonly tabletId: string },
    marker: ApplyMarker,
    signal: AbortSignal,
  ): Promise<HybridTime>;
}

/**
 * - `retry`: something that passes: a busy server, a lost connection, a schema that changes just now.
 * - `not-leader`: no replica of the tablet took it as the leader in time: an election, or no majority. (Where some
 *   replicas are dead, it depends on who was asked last whether it is this or `retry`.)
 * - `locked`: a multi-row transaction holds the tablet; it takes no other write before that has ended. Try seldom: the
 *   server tries for a second before it says so, and the transaction's own writes to the tablet wait behind that.
 * - `refused`: a person must act, or nobody can: no right to write, or the tablet is dropped.
 */
export type MarkerErrorKind = 'retry' | 'not-leader' | 'locked' | 'refused';

export class MarkerError extends Error {
  override readonly name = 'MarkerError';
  readonly kind: MarkerErrorKind;

  constructor(kind: MarkerErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}
