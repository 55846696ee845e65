/** What takes tables out again that other patterns take in. */
export const EXCEPT = '!';
const KUDU_SYSTEM_PREFIX = 'kudu_system.';

/** Spoor's own tables and Kudu's transaction table share the log folder and are nobody's data. */
export function isStreamable(tableName: string, systemTablePrefix: string): boolean {
  return !tableName.startsWith(systemTablePrefix) && !tableName.startsWith(KUDU_SYSTEM_PREFIX);
}

/**
 * Whether a table of that name belongs to a stream with these patterns: exact, or with `*` for any characters. What one with
 * `!` in front names is out, wherever that stands.
 */
export function matchTables(patterns: readonly string[], tableName: string): boolean {
  const [out, taken] = [true, false].map((isOut) => patterns.filter((pattern) => pattern.startsWith(EXCEPT) === isOut));
  return (
    taken!.some((pattern) => matchesGlob(pattern, tableName)) &&
    !out!.some((pattern) => matchesGlob(pattern.slice(EXCEPT.length), tableName))
  );
}

/** Greedy and without backtracking over more than the last star, so that no pattern takes more than n x m steps. */
function matchesGlob(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1; // the last star seen, and where its match ends so far
  let starEnd = 0;
  while (n < name.length) {
    if (pattern[p] === '*') [star, starEnd, p] = [p, n, p + 1];
    else if (pattern[p] === name[n]) [p, n] = [p + 1, n + 1];
    else if (star >= 0) [p, starEnd, n] = [star + 1, starEnd + 1, starEnd + 1];
    else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
