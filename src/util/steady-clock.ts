/**
 * Milliseconds since 1970 by the clock that this process began with: it goes on evenly, whatever becomes of the machine's
 * own, which is set by hand, by NTP, or with a machine that is moved. Whatever waits or counts how long goes by it.
 */
export function steadyNow(): number {
  return performance.timeOrigin + performance.now();
}

/** How far the machine's clock was set since, in whole seconds: less is the two calls', not the clock's. */
function setByMs(): number {
  return Math.round((Date.now() - steadyNow()) / 1000) * 1000;
}

/** A moment of {@link steadyNow} as people read it: by the machine's clock as it goes now (ISO 8601). */
export function wallTimeOf(steadyMs: number): string {
  return new Date(steadyMs + setByMs()).toISOString();
}

/**
 * The time to judge a file's age by, which the machine's clock gave it: by that clock or by the steady one, whichever is
 * earlier. A clock that was set ahead makes nothing old, nor does one that was ahead and is set right.
 */
export function fileNow(): number {
  return Math.min(Date.now(), steadyNow());
}
