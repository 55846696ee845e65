import { ERRORS, type ErrorCode } from '../errors.ts';

export function counted(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}

/** What a person does about it; null for a code of another version. */
export function remedyOf(code: string): string | null {
  return code in ERRORS ? ERRORS[code as ErrorCode].remedy : null;
}
