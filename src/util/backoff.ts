/** How long to wait before another try. */
export interface Backoff {
  /** After the first failure; twice as long after each further one. */
  readonly baseMs: number;
  /** At most. */
  readonly capMs: number;
}

/** @param failures in a row, 1 or more */
export function backoffMs(failures: number, { baseMs, capMs }: Backoff): number {
  return Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 30));
}
