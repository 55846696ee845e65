import assert from 'node:assert/strict';
import type { TabletPosition } from '../../../src/change/position.ts';
import { RecordBatch } from '../../../src/change/record-batch.ts';
import { SinkError, type TabletWriter } from '../../../src/sinks/sink.ts';
import { batches } from '../../support/record-batches.ts';
import { assertComplete, assertUnavailable, assertWithin, isOfKind, openWhenBack } from '../sink-checks.ts';
import type { SinkCase } from '../sink-kit.ts';
import { never, positionAt, recordAt, tabletOf } from '../sink-records.ts';
import { assertShipped, outcomeOf, Sidecar, TabletLog } from '../sink-sidecar.ts';
import { STEPS } from './writers.ts';

/** A stop does not wait for a sink that is away. */
const STOPS_WITHIN_MS = 2_000;
/** A sink that never gives up keeps a tablet from being reported as blocked. */
const GIVES_UP_WITHIN_MS = 60_000;

/** What goes wrong between a writer and its store, or before it. */
export const TROUBLE_CASES: readonly SinkCase[] = [
  {
    name: 'writes once what it tries again after a lost answer, at every step',
    needs: 'loseAnswer',
    run: async (kit) => {
      const stream = kit.freshStream();
      const log = new TabletLog(stream);
      const sidecar = new Sidecar(kit, stream);
      await sidecar.open(log);
      for (const last of STEPS) {
        kit.sut.loseAnswer!(stream);
        await sidecar.ship(log, last);
      }
      await assertShipped(kit, stream, [[log, STEPS.at(-1)!]]);
    },
  },
  {
    name: 'writes once what another process goes on with after a lost answer',
    needs: 'loseAnswer',
    run: async (kit) => {
      const stream = kit.freshStream();
      const log = new TabletLog(stream);
      for (const last of STEPS) {
        const sidecar = new Sidecar(kit, stream);
        await sidecar.ship(log, last - 1);
        kit.sut.loseAnswer!(stream);
        const outcome = await outcomeOf(sidecar.write(log, last));
        if (outcome instanceof SinkError) assert.equal(outcome.kind, 'unavailable', outcome.message);
        await sidecar.kill();
      }
      await new Sidecar(kit, stream).ship(log, 15);
      await assertShipped(kit, stream, [[log, 15]]);
    },
  },
  {
    name: 'rejects at once when it is told to stop, and the next writer goes on from what is there',
    run: async (kit) => {
      const stream = kit.freshStream();
      const sink = kit.open(stream);
      let stopped: TabletWriter | null = await sink.openTablet(tabletOf(stream), never);
      await stopped.write(batches([recordAt(1)]), positionAt(1), never);
      const stop = new AbortController();
      function* slices(): Generator<RecordBatch> {
        yield RecordBatch.of([recordAt(2)]);
        stop.abort();
        yield RecordBatch.of([recordAt(3)]);
      }
      await assert.rejects(stopped.write(slices(), positionAt(3), stop.signal), SinkError);
      await stopped[Symbol.asyncDispose]();
      stopped = null;
      await using writer = await sink.openTablet(tabletOf(stream), never);
      // What was on its way may have got there: all of it, or nothing.
      if (writer.position?.opId.index !== 3n) {
        assert.deepEqual(writer.position, positionAt(1));
        await writer.write(batches([recordAt(2), recordAt(3)]), positionAt(3), never);
      }
      assertComplete(await kit.sut.read(stream, 3), 3, kit.promises);
    },
  },
  {
    name: 'says that the store cannot be reached, and loses nothing when it is back',
    run: async (kit) => {
      const stream = kit.freshStream();
      const sink = kit.open(stream);
      await sink.check(never);
      const cut = await sink.openTablet(tabletOf(stream), never);
      await cut.write(batches([recordAt(1, 0)]), positionAt(1), never);
      await kit.sut.duringOutage(async () => {
        await assertUnavailable(cut.write(batches([recordAt(2, 0)]), positionAt(2), never));
        await assertUnavailable(sink.openTablet(tabletOf(stream), never));
        await assertUnavailable(sink.check(never));
        await assertWithin(10_000, 'a writer is closed while the store is away', cut[Symbol.asyncDispose]());
      });
      await using writer = await openWhenBack(sink, tabletOf(stream));
      const arrived = Number(writer.position?.opId.index ?? 0n);
      for (let index = arrived + 1; index <= 4; index++)
        await writer.write(batches([recordAt(index, 0)]), positionAt(index), never);
      assertComplete(await kit.sut.read(stream, 4), 4, kit.promises);
      await sink.check(never);
    },
  },
  {
    name: 'rejects what an encoder cannot do, keeps nothing of it that the position does not say, and goes on with other tablets',
    run: async (kit) => {
      const stream = kit.freshStream();
      const [sick, sound] = [new TabletLog(stream, 0), new TabletLog(stream, 1)];
      const sidecar = new Sidecar(kit, stream);
      await sidecar.ship(sound, 2);
      for (const [taken, kind] of [
        [0, 'refused'],
        [2, 'refused'],
        [3, null],
      ] as const) {
        await sidecar.close(sick);
        const writer = await openWhenBack(sidecar.sink, sick.tablet);
        const cause = kind === null ? new TypeError('no such cell') : new SinkError(kind, 'the registry says no');
        const write = writer.write(poisonedAfter(sick, writer.position, taken, cause), positionAt(9), never);
        // What the sink does not know it passes on, or takes for something that may be over soon.
        const poisoned = assert.rejects(write, (error) => error === cause || isOfKind(error, kind ?? 'unavailable'));
        await Promise.all([poisoned, sidecar.ship(sound, sidecar.indexOf(sound) + 3)]);
        await writer[Symbol.asyncDispose]();
      }
      await sidecar.ship(sick, 9);
      await sidecar.ship(sound, 14);
      await assertShipped(kit, stream, [
        [sick, 9],
        [sound, 14],
      ]);
    },
  },
  {
    name: 'refuses a record that is too large, says which row it is, and takes what comes in its place',
    needs: 'tooLargeBytes',
    run: async (kit) => {
      const stream = kit.freshStream();
      const [log, sound] = [new TabletLog(stream, 0), new TabletLog(stream, 1)];
      const sidecar = new Sidecar(kit, stream);
      await sidecar.ship(log, 2);
      const value = Buffer.alloc(kit.sut.tooLargeBytes!, '1');
      const { tabletId } = log.tablet;
      const large = recordAt(3, 77, { value, position: `${tabletId}/3.3.0` });
      await sidecar.close(log);
      const writer = await openWhenBack(sidecar.sink, log.tablet);
      const refused = writer.write(batches([large]), positionAt(3), never).then(
        () => assert.fail('it was taken'),
        (error: unknown) => error,
      );
      const [error] = await Promise.all([refused, sidecar.ship(sound, 5)]);
      assert.ok(error instanceof SinkError && error.kind === 'refused', String(error));
      assert.match(error.message, /77/, 'the row is named by its key: those of a copy have one position');
      await writer[Symbol.asyncDispose]();
      await sidecar.ship(log, 6);
      await assertShipped(kit, stream, [
        [log, 6],
        [sound, 5],
      ]);
    },
  },
  {
    name: 'gives up on a store that says nothing, stops at once when it is told to, and writes nothing late that it must not',
    needs: 'duringFreeze',
    run: async (kit) => {
      const stream = kit.freshStream();
      const [log, other] = [new TabletLog(stream, 0), new TabletLog(stream, 1)];
      const sidecar = new Sidecar(kit, stream);
      await sidecar.ship(log, 3);
      await sidecar.ship(other, 3);
      await kit.sut.duringFreeze!(async () => {
        const stop = new AbortController();
        const [silent, stopped] = [sidecar.write(log, 6), sidecar.write(other, 6, stop.signal)];
        stop.abort(new Error('stopped'));
        await assertWithin(STOPS_WITHIN_MS, 'a write stops', assert.rejects(stopped, SinkError));
        await assertWithin(GIVES_UP_WITHIN_MS, 'a write gives up', assertUnavailable(silent));
      });
      for (const one of [log, other]) {
        await sidecar.close(one);
        await sidecar.ship(one, 9);
      }
      await assertShipped(kit, stream, [
        [log, 9],
        [other, 9],
      ]);
    },
  },
  {
    name: 'is right with a store that is slow, and says what it waits for in words',
    needs: 'whileSlow',
    run: async (kit) => {
      const stream = kit.freshStream();
      const logs = [new TabletLog(stream, 0), new TabletLog(stream, 1)];
      const sidecar = new Sidecar(kit, stream);
      await kit.sut.whileSlow!(async () => {
        await Promise.all(logs.map((log) => sidecar.ship(log, 4)));
        await using writer = await sidecar.sink.openTablet(new TabletLog(stream, 2).tablet, never);
        const written = writer.write([], positionAt(1), never);
        const { waits } = writer;
        if (waits) assert.ok(waits.for !== '' && waits.sinceMs >= 0, JSON.stringify(waits));
        await written;
      });
      const next = new Sidecar(kit, stream);
      for (const log of logs) await next.ship(log, 8);
      await assertShipped(
        kit,
        stream,
        logs.map((log) => [log, 8] as const),
      );
    },
  },
];

/** Some batches of a log, and then what its encoder throws. */
function* poisonedAfter(
  log: TabletLog,
  from: TabletPosition | null,
  taken: number,
  cause: Error,
): Generator<RecordBatch> {
  let left = taken;
  for (const batch of log.batches(from, 9)) {
    if (left-- === 0) break;
    yield batch;
  }
  throw cause;
}
