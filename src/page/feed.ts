import { computed, signal } from '@preact/signals';
import type { ChangeEvent, HistoryView, StateEvent } from '../api/cluster-state.ts';
import { applyChange, withSample } from './apply-change.ts';
import { problemOf } from './api.ts';
import * as session from './session.ts';
import { EventParser, type ServerEvent } from './sse.ts';

/** The cluster as it was told last; null before. */
export const cluster = signal<StateEvent | null>(null);
/** The last hour; null before it was told. */
export const history = signal<HistoryView | null>(null);

export type Connection =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'lost'; readonly sinceMs: number; readonly why: string; readonly retryAtMs: number };
export const connection = signal<Connection>({ kind: 'connecting' });

/** The server says at least every 15 s that it is there. */
const SILENT_MS = 40_000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

let current: AbortController | null = null;

/** Watches the cluster for as long as the page is open; called again it begins anew, as with another token. */
export function watch(): void {
  current?.abort();
  current = new AbortController();
  void follow(current.signal);
}

async function follow(stopped: AbortSignal): Promise<void> {
  const goesOn = (): boolean => !stopped.aborted;
  for (let failures = 0; goesOn(); failures++) {
    let why = 'The sidecar ended the connection.';
    try {
      await readEvents(stopped, () => {
        failures = 0;
        connection.value = { kind: 'live' };
      });
    } catch (error) {
      if (error instanceof Refused) {
        if (error.status === 401) {
          session.wanted.value = session.token.value === null ? 'yes' : 'refused';
          return;
        }
        why = error.message;
      } else
        why =
          error instanceof Error && error.name === 'AbortError'
            ? 'The sidecar went silent.'
            : 'The sidecar cannot be reached.';
    }
    if (!goesOn()) return;
    const waitMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.75 + Math.random() / 2);
    const sinceMs = connection.value.kind === 'lost' ? connection.value.sinceMs : Date.now();
    connection.value = { kind: 'lost', sinceMs, why, retryAtMs: Date.now() + waitMs };
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

class Refused extends Error {
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

async function readEvents(stopped: AbortSignal, isLive: () => void): Promise<void> {
  const abort = new AbortController();
  const stop = (): void => {
    abort.abort();
  };
  stopped.addEventListener('abort', stop);
  let silence = setTimeout(stop, SILENT_MS);
  try {
    const response = await fetch('/v1/events', {
      headers: { accept: 'text/event-stream', ...session.authorization() },
      signal: abort.signal,
      cache: 'no-store',
    });
    if (!response.ok) throw new Refused(response.status, problemOf(response.status, await response.text()).detail);
    if (response.body === null) throw new TypeError('an answer without a body');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(stop, SILENT_MS);
      const events = parser.push(value);
      for (const event of events) take(event);
      if (events.length > 0) isLive();
    }
  } finally {
    clearTimeout(silence);
    stopped.removeEventListener('abort', stop);
    abort.abort();
  }
}

/** What comes is of the same build as this page, or of one that says the same: the shapes are those of the API. */
function take({ event, data }: ServerEvent): void {
  if (event === 'state') cluster.value = JSON.parse(data) as StateEvent;
  else if (event === 'history') history.value = JSON.parse(data) as HistoryView;
  else if (event === 'change' && cluster.value !== null) {
    const change = JSON.parse(data) as ChangeEvent;
    cluster.value = applyChange(cluster.value, change);
    if (change.sample && history.value) history.value = withSample(history.value, change.sample);
  }
}

/* Slices of the state: who reads one is not shown anew when only another one changed. */
export const verdict = computed(() => cluster.value?.verdict ?? null);
export const streams = computed(() => cluster.value?.streams ?? NONE);
export const tablets = computed(() => cluster.value?.tablets ?? NONE);
export const sidecars = computed(() => cluster.value?.sidecars ?? NONE);
/** Whether the reader may change things now. */
export const operates = computed(() => cluster.value?.role === 'operate' && connection.value.kind === 'live');

const NONE: readonly never[] = [];
