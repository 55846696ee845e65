import assert from 'node:assert/strict';
import { SinkError } from '../../../src/sinks/sink.ts';
import { assertFenced } from '../sink-checks.ts';
import type { SinkCase } from '../sink-kit.ts';
import { positionAt } from '../sink-records.ts';
import { assertShipped, outcomeOf, Sidecar, TabletLog } from '../sink-sidecar.ts';

/** The steps of a writer: it opens, and writes up to these operations, one after the other. */
export const STEPS = [2, 3, 7, 12] as const;
const END = 20;

/** Who keeps the old writer out, and when: each step of a script is one where another takes over, a tablet for each. */
export const WRITER_CASES: readonly SinkCase[] = [
  {
    name: 'fences an old writer at every step: it adds no record, and does not move the position',
    run: async (kit) => {
      const stream = kit.freshStream();
      const [old, next] = [new Sidecar(kit, stream), new Sidecar(kit, stream)];
      const logs: TabletLog[] = [];
      for (let step = 0; step <= STEPS.length; step++) {
        const log = new TabletLog(stream, step);
        logs.push(log);
        await old.open(log);
        for (const last of STEPS.slice(0, step)) await old.write(log, last);
        const position = await next.open(log);
        const written = step === 0 ? 0 : STEPS[step - 1]!;
        if (kit.promises.exactlyOnce) {
          assert.deepEqual(position, written === 0 ? null : positionAt(written), `after step ${step}`);
          await assertFenced(old.write(log, written + 3));
        }
        await next.write(log, written + 1);
        await assertFenced(old.write(log, written + 4));
        await assertFenced(old.write(log, written + 4));
        const third = new Sidecar(kit, stream);
        const told = await third.open(log);
        if (kit.promises.exactlyOnce) assert.deepEqual(told, positionAt(written + 1), `after step ${step}`);
        await third.ship(log, END);
        await third.stop();
      }
      await assertShipped(
        kit,
        stream,
        logs.map((log) => [log, END] as const),
      );
    },
  },
  {
    name: 'fences a writer of its own process as well',
    run: async (kit) => {
      const stream = kit.freshStream();
      const log = new TabletLog(stream);
      const sink = kit.open(stream);
      const never = new AbortController().signal;
      const old = await sink.openTablet(log.tablet, never);
      await old.write(log.batches(null, 2), positionAt(2), never);
      await using next = await sink.openTablet(log.tablet, never);
      await next.write(log.batches(next.position, 4), positionAt(4), never);
      await assertFenced(old.write(log.batches(positionAt(2), 3), positionAt(3), never));
      await old[Symbol.asyncDispose]();
      await assertShipped(kit, stream, [[log, 4]]);
    },
  },
  {
    name: 'lets the new writer alone when the old one is closed',
    run: async (kit) => {
      const stream = kit.freshStream();
      const log = new TabletLog(stream);
      const [old, next] = [new Sidecar(kit, stream), new Sidecar(kit, stream)];
      await old.ship(log, 3);
      await next.open(log);
      await next.write(log, 4);
      await old.stop();
      await next.write(log, 6);
      await next.stop();
      const third = new Sidecar(kit, stream);
      assert.deepEqual(await third.open(log), positionAt(6));
      await assertShipped(kit, stream, [[log, 6]]);
    },
  },
  {
    name: 'takes over while the old writer has a write in hand: it arrived, or it does not any more',
    run: async (kit) => {
      const stream = kit.freshStream();
      const logs = Array.from({ length: 6 }, (_, i) => new TabletLog(stream, i));
      const [old, next] = [new Sidecar(kit, stream), new Sidecar(kit, stream)];
      for (const [i, log] of logs.entries()) {
        await old.ship(log, 2);
        const inHand = outcomeOf(old.write(log, 9));
        for (let turn = 0; turn < i; turn++) await new Promise((resolve) => setImmediate(resolve));
        const position = await next.open(log);
        const outcome = await inHand;
        if (kit.promises.exactlyOnce) {
          const arrived = position?.opId.index === 9n;
          if (outcome === 'written') assert.ok(arrived, 'it was written before the other opened, or not at all');
          else assert.notEqual(outcome.kind, 'refused', outcome.message);
        }
        await next.ship(log, END);
      }
      await assertShipped(
        kit,
        stream,
        logs.map((log) => [log, END] as const),
      );
    },
  },
  {
    name: 'stands two that take a tablet from each other',
    run: async (kit) => {
      const stream = kit.freshStream();
      const log = new TabletLog(stream);
      const rivals = [new Sidecar(kit, stream), new Sidecar(kit, stream)];
      await rivals[0]!.ship(log, 1);
      for (let last = 2; last <= 10; last++) {
        const rival = rivals[last % 2]!;
        await rival.open(log);
        await rival.write(log, last);
      }
      const lost = await outcomeOf(rivals[1]!.write(log, 12));
      assert.ok(lost instanceof SinkError && lost.kind === 'fenced', String(lost));
      await assertShipped(kit, stream, [[log, 10]]);
    },
  },
];
