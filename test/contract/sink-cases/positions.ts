import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import type { TabletPosition } from '../../../src/change/position.ts';
import { SinkError, type SinkTablet } from '../../../src/sinks/sink.ts';
import { eventually } from '../../support/eventually.ts';
import { batches } from '../../support/record-batches.ts';
import { isOfKind } from '../sink-checks.ts';
import type { SinkCase, SinkKit } from '../sink-kit.ts';
import { never, positionAt, recordAt, tabletOf } from '../sink-records.ts';
import { assertShipped, Sidecar, TabletLog } from '../sink-sidecar.ts';

const OTHER = 'ffffffffffffffffffffffffffffffff';

/** What a writer says of where it stands. */
export const POSITION_CASES: readonly SinkCase[] = [
  {
    name: 'has no position at the first start, and says the last one after that',
    run: async (kit) => {
      const stream = kit.freshStream();
      await within(kit, tabletOf(stream), async ({ writer, write }) => {
        assert.equal(writer.position, null);
        await write(positionAt(1), recordAt(1));
        await writer.write(batches([recordAt(2)], [recordAt(3)]), positionAt(3), never);
      });
      assert.deepEqual(await positionIn(kit, tabletOf(stream)), positionAt(3));
    },
  },
  {
    name: 'tells whenever the position moves that a successor would be told, where it has such',
    run: async (kit) => {
      const stream = kit.freshStream();
      let told: TabletPosition | null = null;
      const tablet = tabletOf(stream, { onSaved: (position) => (told = position) });
      await using writer = await kit.open(stream).openTablet(tablet, never);
      for (let index = 1; index <= 3; index++) await writer.write(batches([recordAt(index)]), positionAt(index), never);
      const last = writer.saved === undefined ? null : positionAt(3);
      await eventually('it is told', () => isDeepStrictEqual(told, last), 10_000);
      assert.deepEqual(writer.saved ?? null, last);
    },
  },
  {
    name: 'moves the position without a record, however far',
    run: async (kit) => {
      const stream = kit.freshStream();
      const far: TabletPosition = {
        opId: { term: 1n << 40n, index: (1n << 62n) + 1n },
        tableName: 'shop.orders',
        schemaVersion: 7,
      };
      await within(kit, tabletOf(stream), ({ writer }) => writer.write([], far, never));
      assert.deepEqual(await positionIn(kit, tabletOf(stream)), far);
    },
  },
  {
    name: 'gives back all that a position says',
    run: async (kit) => {
      const stream = kit.freshStream();
      const copying: TabletPosition = {
        ...positionAt(5),
        named: 3,
        time: (1n << 60n) + 5n,
        resync: 'r-1',
        corrected: 'c-1',
        copy: {
          cut: 5n,
          at: 1n << 60n,
          since: 1n << 59n,
          rows: 1200,
          key: { after: Buffer.from([0, 255, 10]), rows: 1000 },
          replaces: true,
          replayAfter: { term: 2n, index: 3n },
        },
      };
      const sliced: TabletPosition = { ...positionAt(6), upTo: { index: 7n, row: 123_456 } };
      const ended: TabletPosition = { ...positionAt(8), copy: 'wanted', ended: true };
      for (const position of [copying, sliced, ended]) {
        await within(kit, tabletOf(stream), ({ writer }) => writer.write([], position, never));
        assert.deepEqual(await positionIn(kit, tabletOf(stream)), position);
      }
    },
  },
  {
    name: 'keeps tablets apart',
    run: async (kit) => {
      const stream = kit.freshStream();
      const [one, two] = [new TabletLog(stream, 0), new TabletLog(stream, 1)];
      const first = new Sidecar(kit, stream);
      await Promise.all([first.ship(one, 1), first.ship(two, 9)]);
      await first.ship(one, 2);
      await first.stop();
      const second = new Sidecar(kit, stream);
      assert.deepEqual([await second.open(one), await second.open(two)], [positionAt(2), positionAt(9)]);
      await Promise.all([second.ship(one, 12), second.ship(two, 10)]);
      await assertShipped(kit, stream, [
        [one, 12],
        [two, 10],
      ]);
    },
  },
  {
    name: 'keeps streams apart that have the same tablet',
    run: async (kit) => {
      const stream = kit.freshStream();
      const other = `${stream}-2`;
      await within(kit, tabletOf(stream), ({ write }) => write(positionAt(4), recordAt(4)));
      assert.equal(await positionIn(kit, tabletOf(other)), null);
      await within(kit, tabletOf(other), ({ write }) => write(positionAt(2), recordAt(2)));
      assert.deepEqual(await positionIn(kit, tabletOf(stream)), positionAt(4));
    },
  },
  {
    name: 'knows nothing of a stream of the same name that was deleted',
    run: async (kit) => {
      const stream = kit.freshStream();
      const again = tabletOf(stream, { streamGeneration: 'second' });
      await within(kit, tabletOf(stream), ({ write }) => write(positionAt(8), recordAt(8)));
      await within(kit, again, async ({ writer, write }) => {
        assert.equal(writer.position, null);
        await write(positionAt(2), recordAt(2));
      });
      assert.deepEqual(await positionIn(kit, again), positionAt(2));
    },
  },
  {
    name: 'goes on behind a table that was renamed, and has a place for any name or refuses it',
    run: async (kit) => {
      const stream = kit.freshStream();
      for (const [i, tableName] of ['shop.orders_new', 'ümlaut::a b', '../../up', '.', 'x'.repeat(250)].entries()) {
        const tablet = tabletOf(stream, { tabletId: OTHER, tableName });
        const position = { ...positionAt(i + 1), tableName };
        try {
          const record = recordAt(i + 1, 1, { table: tableName, position: `${OTHER}/3.${i + 1}.0` });
          await within(kit, tablet, ({ write }) => write(position, record));
          assert.deepEqual(await positionIn(kit, tablet), position);
        } catch (error) {
          if (!isOfKind(error, 'refused')) throw error;
        }
      }
    },
  },
  {
    name: 'says of one store the same id in every life',
    run: async (kit) => {
      const stream = kit.freshStream();
      const ids: (string | undefined)[] = [];
      for (let index = 1; index <= 2; index++)
        await within(kit, tabletOf(stream), async ({ writer, write }) => {
          await write(positionAt(index), recordAt(index));
          ids.push(writer.sinkId);
        });
      assert.equal(ids[0], ids[1]);
      if (ids[0] !== undefined) assert.match(ids[0], /^[a-z]+:\S+$/s);
    },
  },
  {
    name: 'names what is wrong in SinkErrors, a stop before anything as well',
    run: async (kit) => {
      const stream = kit.freshStream();
      const sink = kit.open(stream);
      const stopped = AbortSignal.abort(new Error('stopped'));
      await assert.rejects(sink.openTablet(tabletOf(stream), stopped), SinkError);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      await assert.rejects(writer.write(batches([recordAt(1)]), positionAt(1), stopped), SinkError);
    },
  },
];

interface Within {
  readonly writer: Awaited<ReturnType<ReturnType<SinkKit['open']>['openTablet']>>;
  readonly write: (position: TabletPosition, record: ReturnType<typeof recordAt>) => Promise<void>;
}

/** One life of a process with one writer. */
async function within(kit: SinkKit, tablet: SinkTablet, work: (life: Within) => Promise<void>): Promise<void> {
  const sink = kit.open(tablet.streamName);
  {
    await using writer = await sink.openTablet(tablet, never);
    await work({ writer, write: (position, record) => writer.write(batches([record]), position, never) });
  }
  await kit.close(sink);
}

async function positionIn(kit: SinkKit, tablet: SinkTablet): Promise<TabletPosition | null> {
  let position: TabletPosition | null = null;
  await within(kit, tablet, ({ writer }) => {
    position = writer.position;
    return Promise.resolve();
  });
  return position;
}
