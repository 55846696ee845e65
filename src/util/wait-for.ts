import { setMaxListeners } from 'node:events';

/** Resolves as `work` does, or rejects at once with the signal's reason; what `work` does later is then nobody's concern. */
export async function waitFor<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => undefined);
    throw asError(signal.reason);
  }
  setMaxListeners(0, signal); // 200 tablets may wait on one
  let stop: () => void;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      reject(asError(signal.reason));
    };
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop!);
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
