import { fault, faultsOr, ok, unknown, type Finding } from './finding.ts';

/** What somebody else says the time is. In milliseconds since 1970, as all below. */
export interface ClockReading {
  /** `tablet server 10.0.0.1:7050` */
  readonly of: string;
  readonly theirMs: number;
  /** By this machine's clock: the answer was made in between. */
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
}

/** More than this is no matter of when an answer was on its way, or of a date header's whole seconds. */
const TOLERANCE_MS = 10_000;
/** Kudu without its hybrid clock counts operations: that is no time of day. */
const EARLIEST_MS = Date.UTC(2010);

/** How far another clock is ahead of this machine's, at least; negative: behind. 0: within what the way of the answer explains. */
export function offsetOf({ theirMs, askedAtMs, answeredAtMs }: ClockReading): number {
  if (theirMs > answeredAtMs) return theirMs - answeredAtMs;
  return theirMs < askedAtMs ? theirMs - askedAtMs : 0;
}

export function judgeClocks(readings: readonly ClockReading[]): readonly Finding[] {
  if (readings.length === 0) return [unknown('clock', 'nobody has said what time it is')];
  const faults = readings.flatMap((reading): Finding[] => {
    if (reading.theirMs < EARLIEST_MS)
      return [
        fault(
          'clock',
          `${reading.of} counts operations and has no time of day`,
          'Start masters and tablet servers with --use_hybrid_clock=true, which is the default.',
        ),
      ];
    const offsetMs = offsetOf(reading);
    if (Math.abs(offsetMs) < TOLERANCE_MS) return [];
    return [
      fault(
        'clock',
        `this machine's clock is ${describe(offsetMs)} that of ${reading.of}`,
        'Let NTP (chrony, ntpd or systemd-timesyncd) keep the clocks of both machines: timedatectl says whether it does.',
      ),
    ];
  });
  const names = readings.map((reading) => reading.of).join(', ');
  return faultsOr(faults, ok('clock', `agrees with ${names}`));
}

/** @param offsetMs how far the other one is ahead */
function describe(offsetMs: number): string {
  const seconds = Math.round(Math.abs(offsetMs) / 1000);
  const amount =
    seconds < 120
      ? `${seconds} s`
      : seconds < 7200
        ? `${Math.round(seconds / 60)} min`
        : `${Math.round(seconds / 3600)} h`;
  return `${amount} ${offsetMs > 0 ? 'behind' : 'ahead of'}`;
}
