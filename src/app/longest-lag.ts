import type { Lateness } from '../api/shapes.ts';

/**
 * How late the latest of the tablets is that more CPU could help, in seconds: those that ship, or whose rows are being
 * copied. One that waits for its sink, its turn or a person is none of them.
 */
export function longestLag(tablets: readonly Lateness[]): number {
  let longest = 0;
  for (const { state, copy, lagSeconds } of tablets) {
    const isAtWork = state === 'running' || state === 'stalled' || (copy !== undefined && !STANDS.has(state));
    if (isAtWork && lagSeconds !== null) longest = Math.max(longest, lagSeconds);
  }
  return longest;
}

const STANDS: ReadonlySet<Lateness['state']> = new Set(['starting', 'blocked', 'gap', 'paused', 'no-sidecar']);
