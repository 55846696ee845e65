import { ERRORS, type ErrorCode } from '../errors.ts';

/** What a person does about it; null for a code of another version. */
export function remedyOf(code: string): string | null {
  return code in ERRORS ? ERRORS[code as ErrorCode].remedy : null;
}
