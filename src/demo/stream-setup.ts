import { setTimeout as sleep } from 'node:timers/promises';
import { DemoError } from './user-error.ts';

const POLL_MS = 200;
const RUNNING_TIMEOUT_MS = 60_000;

interface StreamAnswer {
  readonly tablets: readonly {
    readonly state: string;
    readonly sidecar: string | null;
    readonly error?: { readonly message: string };
  }[];
}

/** Creates a stream of one table over the HTTP API; resolves when each of its tablets is running. */
export async function createStream(
  api: string,
  { name, table, sink, signal }: { name: string; table: string; sink: object; signal: AbortSignal },
): Promise<void> {
  const created = await fetch(`${api}/v1/streams`, {
    method: 'POST',
    signal,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      name,
      tables: [table],
      start: 'now',
      sink,
      format: { type: 'json' },
    }),
  });
  if (created.status !== 201) throw new DemoError(`the stream was not created: ${await created.text()}`);

  const deadline = Date.now() + RUNNING_TIMEOUT_MS;
  for (;;) {
    const answer = await fetch(`${api}/v1/streams/${name}`, { signal });
    const { tablets } = (await answer.json()) as StreamAnswer;
    if (tablets.length > 0 && tablets.every(({ state }) => state === 'running')) return;
    if (Date.now() > deadline) throw new DemoError(`the stream's tablets do not run: ${JSON.stringify(tablets)}`);
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Which of these sidecars ships most tablets of a stream: its place among them. */
export async function busiestSidecar(api: string, stream: string, urls: readonly string[]): Promise<number> {
  const answer = await fetch(`${api}/v1/streams/${stream}`);
  const { tablets } = (await answer.json()) as StreamAnswer;
  const counts = urls.map((url) => tablets.filter(({ sidecar }) => `http://${sidecar ?? ''}` === url).length);
  return counts.indexOf(Math.max(...counts));
}
