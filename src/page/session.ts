import { signal } from '@preact/signals';

const KEY = 'spoor-token';

/** The token of this tab; null for none. It is kept for as long as the tab is, and nowhere else. */
export const token = signal<string | null>(sessionStorage.getItem(KEY));
/** Whether the sidecar asks for one, or for another one than this. */
export const wanted = signal<'no' | 'yes' | 'refused'>('no');

export function keep(given: string): void {
  sessionStorage.setItem(KEY, given);
  token.value = given;
  wanted.value = 'no';
}

export function forget(): void {
  sessionStorage.removeItem(KEY);
  token.value = null;
}

export function authorization(): Record<string, string> {
  return token.value === null ? {} : { authorization: `Bearer ${token.value}` };
}
