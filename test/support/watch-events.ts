import type { ChangeEvent, HistoryView, StateEvent } from '../../src/api/cluster-state.ts';
import { applyChange } from '../../src/page/apply-change.ts';
import { EventParser } from '../../src/page/sse.ts';

export interface WatchedEvents extends AsyncDisposable {
  /** The first whole state. */
  state(): Promise<StateEvent>;
  /** The state as it is after each event, from the next on. */
  next(): Promise<StateEvent>;
  history(): Promise<HistoryView>;
  /** Resolves when the server ends it. */
  readonly ended: Promise<void>;
}

/** Watches a sidecar's events as the page does. */
export async function watchEvents(url: string, token?: string): Promise<WatchedEvents> {
  const abort = new AbortController();
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${url}/v1/events`, { headers, signal: abort.signal });
  if (!response.ok || response.body === null) throw new Error(`events are answered ${response.status}`);
  let state: StateEvent | null = null;
  let history: HistoryView | null = null;
  let waiting: (() => void)[] = [];
  const wake = (): void => {
    const woken = waiting;
    waiting = [];
    for (const each of woken) each();
  };
  const read = async (body: AsyncIterable<Uint8Array>): Promise<void> => {
    const parser = new EventParser();
    const decoder = new TextDecoder();
    for await (const bytes of body)
      for (const { event, data } of parser.push(decoder.decode(bytes, { stream: true }))) {
        if (event === 'state') state = JSON.parse(data) as StateEvent;
        else if (event === 'history') history = JSON.parse(data) as HistoryView;
        else if (state !== null) state = applyChange(state, JSON.parse(data) as ChangeEvent);
        wake();
      }
  };
  const ended = read(response.body as unknown as AsyncIterable<Uint8Array>)
    .catch(() => undefined)
    .finally(wake);
  const woken = (): Promise<void> =>
    new Promise((resolve) => {
      waiting.push(resolve);
    });
  const until = async <T>(ask: () => T | null): Promise<T> => {
    for (;;) {
      const answer = ask();
      if (answer !== null) return answer;
      await woken();
    }
  };
  return {
    state: () => until(() => state),
    next: async () => {
      await woken();
      return until(() => state);
    },
    history: () => until(() => history),
    ended,
    [Symbol.asyncDispose]: async () => {
      abort.abort();
      await ended;
    },
  };
}
