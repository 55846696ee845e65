import { computed, signal } from '@preact/signals';

export type Route =
  | { readonly kind: 'overview' }
  | { readonly kind: 'new' }
  | { readonly kind: 'stream'; readonly name: string; readonly query: URLSearchParams };

const hash = signal(location.hash);
addEventListener('hashchange', () => {
  hash.value = location.hash;
});

/** What the page shows, by what stands behind the # of its address: it can be linked to, and gone back from. */
export const route = computed((): Route => {
  const [path = '', query = ''] = hash.value.replace(/^#/, '').split('?');
  if (path === '/new') return { kind: 'new' };
  const name = /^\/streams\/([^/]+)$/.exec(path)?.[1];
  return name === undefined
    ? { kind: 'overview' }
    : { kind: 'stream', name: decodeURIComponent(name), query: new URLSearchParams(query) };
});

export function streamLink(name: string, query: Readonly<Record<string, string>> = {}): string {
  const asked = new URLSearchParams(query).toString();
  return `#/streams/${encodeURIComponent(name)}${asked === '' ? '' : `?${asked}`}`;
}
