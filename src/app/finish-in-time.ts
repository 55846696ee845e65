/** How long tablets may take to finish their batch in hand when the sidecar stops; the rest of the 10 s is for closing. */
const FINISH_BATCHES_MS = 7000;

/** Aborts some time after `signal` does: how long a batch in hand may take at a stop. */
export function finishInTime(signal: AbortSignal): AbortSignal {
  const hurry = new AbortController();
  signal.addEventListener(
    'abort',
    () => {
      setTimeout(() => {
        hurry.abort(new Error('the sidecar stops'));
      }, FINISH_BATCHES_MS).unref();
    },
    { once: true },
  );
  return hurry.signal;
}
