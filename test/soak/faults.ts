import type { Random } from '../support/random.ts';
import type { World } from './world.ts';

/** Something that goes wrong, and is put right again when it resolves. */
export type Fault = (world: World, random: Random) => Promise<void>;

/** A series of faults, one after the other; several series run at a time. */
export interface Series {
  readonly faults: Readonly<Record<string, Fault>>;
  /** Between two of them. */
  readonly pauseMs: readonly [from: number, to: number];
}

const SERVERS = [0, 1, 2, 3] as const;

const MAX_COLUMNS = 20;
const MANY_TABLETS = 8;

function between(random: Random, [from, to]: readonly [from: number, to: number]): number {
  return from + random.next(to - from + 1);
}

/** Makes faults of a series until the chaos is over. */
export async function runSeries(world: World, series: Series, random: Random): Promise<void> {
  const names = Object.keys(series.faults);
  await world.pause(between(random, series.pauseMs));
  while (!world.isOver) {
    const name = random.pick(names);
    world.count(name);
    await series.faults[name]!(world, random);
    await world.pause(between(random, series.pauseMs));
  }
}

const downServer =
  (how: 'kill' | 'stop'): Fault =>
  async (world, random) => {
    const number = random.pick(SERVERS);
    await world.impair([number], async () => {
      world.note(`server ${number}: ${how}`);
      await world.cluster.kudu.tservers[number]![how]();
      await world.pause(between(random, [0, 6000]));
      await world.startServer(number);
    });
  };

export const SERVER_FAULTS: Series = {
  pauseMs: [500, 2500],
  faults: {
    'server killed': downServer('kill'),
    'server stopped': downServer('stop'),
    'server frozen': async (world, random) => {
      const number = random.pick(SERVERS);
      await world.impair([number], async () => {
        world.note(`server ${number}: frozen`);
        const server = world.cluster.kudu.tservers[number]!;
        await server.freeze();
        await world.pause(between(random, [500, 6000]));
        server.thaw();
        world.note(`server ${number}: thawed`);
        await world.whole();
      });
    },
    'leader killed with its sidecar': async (world, random) => {
      const tablet = await world.pickTablet(random);
      if (tablet === null) return;
      const { leader } = tablet;
      await world.impair([leader], async () => {
        world.note(`server ${leader} and its sidecar: kill`);
        const { sidecars, kudu } = world.cluster;
        await Promise.all([sidecars[leader]!.kill(), kudu.tservers[leader]!.kill()]);
        await world.pause(between(random, [0, 8000]));
        await world.startServer(leader);
        await world.startSidecar(leader);
      });
    },
    'master killed': async (world, random) => {
      world.note('master: kill');
      await world.cluster.kudu.master.kill();
      await world.pause(between(random, [0, 6000]));
      await world.cluster.kudu.master.restart();
      world.note('master is back');
    },
    'leader steps down': async (world, random) => {
      const tablet = await world.pickTablet(random);
      if (tablet === null) return;
      const said = await world.watch.stepDown(tablet.tabletId);
      world.note(`leader of ${tablet.tabletId} steps down${said === null ? '' : `: ${said}`}`);
    },
    'replica moved': async (world, random) => {
      const tablet = await world.pickTablet(random);
      if (tablet === null) return;
      const { tabletId, leader, others } = tablet;
      const to = SERVERS.find((number) => number !== leader && !others.includes(number));
      if (to === undefined) return;
      const from = random.pick([leader, ...others]);
      const said = await world.watch.move(tabletId, from, to);
      world.note(`replica of ${tabletId} moves from ${from} to ${to}${said === null ? '' : `: ${said}`}`);
      await world.watch.waitUntilMoved(tabletId, from, to).catch(() => {
        world.note('it has not moved in time');
      });
    },
    'replica copied again': async (world, random) => {
      const tablet = await world.pickTablet(random);
      if (tablet === null || tablet.others.length === 0) return;
      const number = random.pick(tablet.others);
      const said = await world.watch.tombstone(number, tablet.tabletId);
      world.note(`replica of ${tablet.tabletId} at ${number}: tombstoned${said === null ? '' : `: ${said}`}`);
      await world.whole();
    },
  },
};

const downSidecar =
  (how: 'kill' | 'stop'): Fault =>
  async (world, random) => {
    const number = random.pick(SERVERS);
    await world.impair([number], async () => {
      world.note(`sidecar ${number}: ${how}`);
      await world.cluster.sidecars[number]![how]();
      await world.pause(between(random, [0, 1]) === 0 ? 0 : between(random, [0, 20_000]));
      await world.startSidecar(number);
    });
  };

export const SIDECAR_FAULTS: Series = {
  pauseMs: [200, 2000],
  faults: {
    'sidecar killed': downSidecar('kill'),
    'sidecar stopped': downSidecar('stop'),
    'sidecar frozen': async (world, random) => {
      const number = random.pick(SERVERS);
      await world.impair([number], async () => {
        world.note(`sidecar ${number}: frozen`);
        const sidecar = world.cluster.sidecars[number]!;
        world.cluster.frozen.add(sidecar.url);
        await sidecar.freeze();
        await world.pause(between(random, [500, 25_000]));
        world.thawSidecar(number);
        world.note(`sidecar ${number}: thawed`);
        await world.pause(1000);
      });
    },
    'sidecars of all but the leader killed': async (world, random) => {
      const tablet = await world.pickTablet(random);
      if (tablet === null) return;
      const { others } = tablet;
      await world.impair(others, async () => {
        world.note(`sidecars ${others.join(' and ')}: kill`);
        await Promise.all(others.map((number) => world.cluster.sidecars[number]!.kill()));
        await world.pause(between(random, [0, 15_000]));
        for (const number of others) await world.startSidecar(number);
      });
    },
    'column added': async (world) => {
      if (world.columnsAdded >= MAX_COLUMNS) return;
      const add = async (): Promise<void> => {
        const name = `added_${++world.columnsAdded}`;
        world.note(`column ${name} is added`);
        await world.watch.addColumn(world.table, name).catch((error: unknown) => {
          world.note(String(error)); // the master may be away
        });
      };
      // A server that starts just then ends itself (see World), and with many tablets one of them is always just there.
      await (world.tabletIds.length > MANY_TABLETS ? world.whileNothingIsImpaired(add) : add());
    },
    'stream paused': async (world, random) => {
      const stream = random.pick(world.streams);
      world.note(`stream ${stream}: pause`);
      await setPaused(world, stream, true);
      await world.pause(between(random, [500, 8000]));
      await setPaused(world, stream, false);
      world.note(`stream ${stream}: resumed`);
    },
  },
};

/** Kudu may not answer just now: then the chaos goes on as it is; the end puts it right. */
async function setPaused(world: World, stream: string, paused: boolean): Promise<void> {
  try {
    const { status } = await world.cluster.api('POST', `/v1/streams/${stream}/${paused ? 'pause' : 'resume'}`);
    if (status !== 200) world.note(`HTTP ${status}`);
  } catch (error) {
    world.note(String(error));
  }
}

const downBroker =
  (how: 'kill' | 'stop'): Fault =>
  async (world, random) => {
    world.note(`broker: ${how}`);
    await world.cluster.kafka[how]();
    await world.pause(between(random, [0, 15_000]));
    await world.cluster.kafka.restart();
    world.note('broker is back');
  };

export const BROKER_FAULTS: Series = {
  pauseMs: [4000, 20_000],
  faults: {
    'broker killed': downBroker('kill'),
    'broker stopped': downBroker('stop'),
    'broker frozen': async (world, random) => {
      world.note('broker: frozen');
      await world.cluster.kafka.freeze();
      await world.pause(between(random, [500, 25_000]));
      world.cluster.kafka.thaw();
      world.note('broker: thawed');
    },
  },
};
