import assert from 'node:assert/strict';
import { ShiftedClock } from '../shifted-clock.ts';
import type { SinkCase } from '../sink-kit.ts';
import { positionAt } from '../sink-records.ts';
import { assertShipped, Sidecar, TabletLog } from '../sink-sidecar.ts';

const HOUR_MS = 3_600_000;

/** The clock is set: by a person, by NTP, or by a machine that slept. */
export const CLOCK_CASES: readonly SinkCase[] = [
  {
    name: 'loses and refuses nothing when the clock jumps by hours, back or forth',
    run: async (kit) => {
      const stream = kit.freshStream();
      const log = new TabletLog(stream);
      using clock = new ShiftedClock();
      let sidecar = new Sidecar(kit, stream);
      await sidecar.open(log);
      let last = 0;
      for (const hours of [0, -1, 1, 25, 0, -24]) {
        clock.offsetMs = hours * HOUR_MS;
        await sidecar.write(log, (last += 2));
      }
      for (const hours of [25, -1]) {
        clock.offsetMs = hours * HOUR_MS;
        const next = new Sidecar(kit, stream);
        const position = await next.open(log);
        if (kit.promises.exactlyOnce) assert.deepEqual(position, positionAt(last));
        await next.ship(log, (last += 3));
        await sidecar.kill();
        sidecar = next;
      }
      await assertShipped(kit, stream, [[log, last]]);
    },
  },
];
