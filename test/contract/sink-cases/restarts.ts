import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SinkCase } from '../sink-kit.ts';
import { positionAt } from '../sink-records.ts';
import { assertShipped, outcomeOf, Sidecar, TabletLog } from '../sink-sidecar.ts';
import { STEPS } from './writers.ts';

const END = 20;
/** After how long the process dies: negative, turns of the event loop. */
const DIES_AFTER_MS = [0, -1, -3, 1, 2, 4, 8, 16] as const;

/** A process that dies, at every step; nothing of it is closed. What it wrote is there, and the next one goes on from it. */
export const RESTART_CASES: readonly SinkCase[] = [
  {
    name: 'goes on after a restart at every step, from the position that was written',
    run: async (kit) => {
      const stream = kit.freshStream();
      const logs = Array.from({ length: STEPS.length + 1 }, (_, step) => new TabletLog(stream, step));
      for (const [step, log] of logs.entries()) {
        const before = new Sidecar(kit, stream);
        await before.open(log);
        for (const last of STEPS.slice(0, step)) await before.write(log, last);
        await before.kill();
        const after = new Sidecar(kit, stream);
        const position = await after.open(log);
        const written = step === 0 ? null : positionAt(STEPS[step - 1]!);
        if (kit.promises.exactlyOnce) assert.deepEqual(position, written, `after step ${step}`);
        else assert.ok((position?.opId.index ?? 0n) <= (written?.opId.index ?? 0n), `after step ${step}`);
        await after.ship(log, step % 2 === 0 ? END : END - 1);
        await after.kill();
      }
      await assertShipped(
        kit,
        stream,
        logs.map((log, step) => [log, step % 2 === 0 ? END : END - 1] as const),
      );
    },
  },
  {
    name: 'goes on after a restart in the midst of a write: all of it is there, or what the position says',
    run: async (kit) => {
      const stream = kit.freshStream();
      const logs = DIES_AFTER_MS.map((_, i) => new TabletLog(stream, i));
      for (const [i, log] of logs.entries()) {
        const pauseMs = DIES_AFTER_MS[i]!;
        const before = new Sidecar(kit, stream);
        await before.ship(log, 2);
        const inHand = outcomeOf(before.write(log, 9));
        for (let turn = 0; turn > pauseMs; turn--) await new Promise((resolve) => setImmediate(resolve));
        if (pauseMs > 0) await sleep(pauseMs);
        await before.kill();
        const after = new Sidecar(kit, stream);
        await after.ship(log, END);
        void inHand; // a process that is dead tells nobody
      }
      await assertShipped(
        kit,
        stream,
        logs.map((log) => [log, END] as const),
      );
    },
  },
  {
    name: 'goes on after a clean stop without a repeat',
    run: async (kit) => {
      const stream = kit.freshStream();
      const log = new TabletLog(stream);
      for (let last = 3; last <= 12; last += 3) {
        const life = new Sidecar(kit, stream);
        const position = await life.open(log);
        assert.deepEqual(position, last === 3 ? null : positionAt(last - 3));
        await life.write(log, last);
        await life.stop();
      }
      await assertShipped(kit, stream, [[log, 12]], true);
    },
  },
];
