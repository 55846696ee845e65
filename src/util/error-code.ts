/** The system's or Node's name of an error, such as `ENOSPC` or `ECONNREFUSED`; empty where it has none. */
export function errorCodeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
