import { judgeClocks, type ClockReading } from './clocks.ts';
import type { Probe } from './examine.ts';

/** Somebody who can be asked what time it is. It may fail: why is told where it is looked at itself. */
export type ClockSource = (signal: AbortSignal) => Promise<readonly ClockReading[]>;

export function clockProbe(sources: readonly ClockSource[]): Probe {
  return {
    check: 'clock',
    look: async (signal) => {
      const readings = await Promise.all(sources.map((source) => source(signal).catch(() => [])));
      return judgeClocks(readings.flat());
    },
  };
}
