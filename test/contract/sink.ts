import { describe, it } from 'node:test';
import { CLOCK_CASES } from './sink-cases/clocks.ts';
import { POSITION_CASES } from './sink-cases/positions.ts';
import { RECORD_CASES } from './sink-cases/records.ts';
import { RESTART_CASES } from './sink-cases/restarts.ts';
import { SCHEDULE_CASES } from './sink-cases/schedules.ts';
import { TROUBLE_CASES } from './sink-cases/troubles.ts';
import { VOLUME_CASES } from './sink-cases/volumes.ts';
import { WRITER_CASES } from './sink-cases/writers.ts';
import { runCase, whyLeftOut, type SinkCase, type SinkPromises, type SinkUnderTest } from './sink-kit.ts';

/*
 * The promises of src/sinks/sink.ts, as cases that any sink runs: docs/write-a-sink.md tells what each failure means. A
 * sink's own test calls `describeSink`; broken-sink.ts is there to show that the suite finds what it is for.
 */

export { assertComplete, openWhenBack } from './sink-checks.ts';
export { type SinkPromises, type SinkUnderTest } from './sink-kit.ts';
export { positionAt, recordAt, tabletOf, type SeenRecord } from './sink-records.ts';

export const SINK_CASES: readonly SinkCase[] = [
  ...RECORD_CASES,
  ...POSITION_CASES,
  ...WRITER_CASES,
  ...RESTART_CASES,
  ...TROUBLE_CASES,
  ...CLOCK_CASES,
  ...SCHEDULE_CASES,
  ...VOLUME_CASES,
];

/** Registers every case with node:test. Each sink runs them, under each delivery that it offers. */
export function describeSink(
  name: string,
  sut: () => SinkUnderTest,
  promises: SinkPromises,
  cases: readonly SinkCase[] = SINK_CASES,
): void {
  describe(`${name} keeps the contract of a sink`, () => {
    for (const one of cases)
      it(one.name, async (t) => {
        const why = whyLeftOut(one, sut(), promises);
        if (why === null) await runCase(one, sut(), promises);
        else t.skip(why);
      });
  });
}
