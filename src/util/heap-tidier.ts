import { performance, type EventLoopUtilization } from 'node:perf_hooks';
import { collectGarbage } from './collect-garbage.ts';
import { pause } from './pause.ts';

/** What is seen at one look. */
export interface HeapSight {
  /** Of V8's heap, garbage included, in bytes. */
  readonly heapBytes: number;
  /** Part of the time since the last look in which there was something to do. */
  readonly busyShare: number;
  readonly nowMs: number;
}

/** What is remembered from look to look. */
export interface TidyMemory {
  /** Looks in a row at which there was little to do. */
  readonly quietLooks: number;
  /** What the last one left, and when; null before the first. */
  readonly last: { readonly heapBytes: number; readonly atMs: number } | null;
}

export const NEVER_TIDIED: TidyMemory = { quietLooks: 0, last: null };

const LOOK_EVERY_MS = 10_000;
/** A collection stops everything for some 100 ms where 1,000 tablets are kept: nobody is to wait for it. */
const QUIET_SHARE = 0.1;
const QUIET_LOOKS = 3;
const WORTH_BYTES = 48 << 20;
const NOT_AGAIN_WITHIN_MS = 600_000;

/** Pure. @returns whether it is time to, and what is remembered where it is not */
export function seeHeap(
  memory: TidyMemory,
  sight: HeapSight,
): { readonly isTime: boolean; readonly memory: TidyMemory } {
  const { last } = memory;
  const quietLooks = sight.busyShare <= QUIET_SHARE ? memory.quietLooks + 1 : 0;
  const isWorth = sight.heapBytes - (last?.heapBytes ?? 0) >= WORTH_BYTES;
  const isSoon = last !== null && sight.nowMs - last.atMs < NOT_AGAIN_WITHIN_MS;
  return { isTime: quietLooks >= QUIET_LOOKS && isWorth && !isSoon, memory: { quietLooks, last } };
}

/**
 * Gives back what a start or a storm has left behind. V8 collects when much was allocated, and not when nothing is: a sidecar that is
 * idle beside 1,000 tablets would keep 100 MiB of garbage of its start for hours.
 */
export async function tidyHeap(signal: AbortSignal): Promise<void> {
  let memory = NEVER_TIDIED;
  let before: EventLoopUtilization = performance.eventLoopUtilization();
  while (!signal.aborted) {
    await pause(LOOK_EVERY_MS, signal);
    const now = performance.eventLoopUtilization();
    const { utilization: busyShare } = performance.eventLoopUtilization(now, before);
    before = now;
    const { heapTotal: heapBytes } = process.memoryUsage();
    const seen = seeHeap(memory, { heapBytes, busyShare, nowMs: performance.now() });
    memory = seen.memory;
    if (!seen.isTime) continue;
    collectGarbage();
    collectGarbage(); // the first empties pages, the second moves what is left together
    memory = { quietLooks: 0, last: { heapBytes: process.memoryUsage().heapTotal, atMs: performance.now() } };
  }
}
