import { signal } from '@preact/signals';

const EVERY_MS = 1000;

/** What time it is, to the second: whoever reads it is shown anew each second while the page is seen. */
export const nowMs = signal(Date.now());

setInterval(() => {
  if (!document.hidden) nowMs.value = Date.now();
}, EVERY_MS);
document.addEventListener('visibilitychange', () => {
  nowMs.value = Date.now();
});
