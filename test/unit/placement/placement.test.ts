import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HandOver } from '../../../src/placement/hand-over.ts';
import { type SidecarWord, isException, type TabletView } from '../../../src/api/shapes.ts';
import { Placement } from '../../../src/placement/placement.ts';
import { SinkChecks } from '../../../src/placement/sink-checks.ts';
import { HOPE_CAP_MS, TROUBLE_MS } from '../../../src/placement/placement-core.ts';
import { SIDECAR_ALIVE_MS } from '../../../src/sidecars/sidecar-registry.ts';
import { SinkError, type Sink } from '../../../src/sinks/sink.ts';
import { Random } from '../../simulation/random.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

const { signal } = new AbortController();
const TICK_MS = 1000;
const BEAT_MS = 5000;
const KEY = 'stream/g/tablet';
const FAULT = { code: 'SPOOR_SINK_UNAVAILABLE', message: 'no' };
/** Of a writer that has to be opened anew, since the sink cannot be reached. */
const LOST = -1;

/** A tablet's replicas with a sidecar beside each, and one sink; the real Placement and HandOver decide. */
class World {
  nowMs = 0;
  leader: string;
  readonly uuids: readonly string[];
  readonly sites = new Map<string, Site>();
  /** Who opened the sink's writer last. */
  writer: { readonly uuid: string; readonly epoch: number } | null = null;
  /** Writers that were fenced while they worked. */
  fences = 0;
  begins: string[] = [];
  /** Pairs `asker>asked` where no answer comes. */
  readonly cut = new Set<string>();

  constructor(uuids: readonly string[], old: readonly string[] = []) {
    this.uuids = uuids;
    this.leader = uuids[0]!;
    for (const uuid of uuids) this.sites.set(uuid, new Site(this, uuid, old.includes(uuid)));
  }

  site(uuid: string): Site {
    return this.sites.get(uuid)!;
  }

  /** One look of each, in some order. */
  async tick(order = this.uuids): Promise<void> {
    for (const uuid of order) await this.site(uuid).step();
    this.nowMs += TICK_MS;
  }

  async until(what: () => boolean, withinMs: number): Promise<number> {
    const sinceMs = this.nowMs;
    while (!what()) {
      assert.ok(this.nowMs - sinceMs < withinMs, `not within ${withinMs} ms: ${this.describe()}`);
      await this.tick();
    }
    return this.nowMs - sinceMs;
  }

  async forMs(ms: number, check: () => void = () => undefined): Promise<void> {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      await this.tick();
      check();
    }
  }

  /** Those whose records get into the sink. */
  get effective(): readonly string[] {
    return this.uuids.filter((uuid) => this.site(uuid).works);
  }

  describe(): string {
    const sites = this.uuids.map((uuid) => {
      const site = this.site(uuid);
      const faults = (['isUp', 'serverRuns', 'replicaRuns', 'reads', 'reaches', 'accepts'] as const).filter(
        (part) => !site[part],
      );
      const said = site.views().map(({ state, yields }) => `${state}${yields === true ? ' (yields)' : ''}`);
      return `${uuid}${uuid === this.leader ? '*' : ''} not ${faults.join()}: ${said.join() || '-'}`;
    });
    return sites.join('; ');
  }
}

/** A tablet server and the sidecar beside it. */
class Site {
  /** The sidecar's process. */
  isUp = true;
  serverRuns = true;
  replicaRuns = true;
  /** Whether its log can be read, and has been. */
  reads = true;
  /** Whether the sink can be reached from it, */
  reaches = true;
  /** and takes what it is given. */
  accepts = true;
  epoch: number | null = null;
  beatMs = 0;
  /** Its log was given up: where that matters shows when it is shipped. */
  isDamaged = false;
  readonly isOld: boolean;
  readonly #world: World;
  readonly #uuid: string;
  #handOver!: HandOver;
  #placement!: Placement;
  #begunMs = 0;
  readonly #sink: Sink;

  constructor(world: World, uuid: string, isOld: boolean) {
    this.#world = world;
    this.#uuid = uuid;
    this.isOld = isOld;
    this.#sink = {
      openTablet: () => Promise.reject(new Error('never')),
      check: () => (this.reaches ? Promise.resolve() : Promise.reject(new SinkError('unavailable', 'out of reach'))),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    this.start();
  }

  start(): void {
    const now = (): number => this.#world.nowMs;
    this.isUp = true;
    this.beatMs = now();
    this.#handOver = new HandOver(
      {
        selfUuid: this.#uuid,
        isAnnounced: () => true,
        aliveSidecars: () => Promise.resolve(this.#alive()),
        exceptionsElsewhere: () => Promise.resolve(this.#ask()),
      },
      now,
    );
    this.#placement = new Placement(this.#handOver.core, new SinkChecks(() => undefined, now), now);
  }

  kill(): void {
    this.isUp = false;
    this.epoch = null;
  }

  /** What it ships gets into the sink. */
  get works(): boolean {
    return this.epoch !== null && this.#world.writer?.epoch === this.epoch && this.#gets;
  }

  get #gets(): boolean {
    return this.reads && this.reaches && this.accepts && this.serverRuns;
  }

  #alive(): Set<string> {
    const { uuids, nowMs } = this.#world;
    return new Set(uuids.filter((uuid) => nowMs - this.#world.site(uuid).beatMs < SIDECAR_ALIVE_MS));
  }

  #ask(): SidecarWord[] {
    const others = [...this.#alive()].filter((uuid) => uuid !== this.#uuid);
    return others.map((uuid) => {
      const { isUp, isOld, views } = this.#world.site(uuid);
      if (this.#world.cut.has(`${this.#uuid}>${uuid}`)) return { tserverUuid: uuid, views: null };
      const said = isUp ? views() : [];
      return { tserverUuid: uuid, views: isOld ? said : said.filter(isException) };
    });
  }

  readonly views = (): readonly TabletView[] => {
    if (!this.isUp) return [];
    const role = this.#world.leader === this.#uuid ? ('leader' as const) : ('follower' as const);
    const inability = this.isOld ? null : this.#placement.inabilityOf(KEY);
    const yields = inability === null ? {} : { yields: true };
    const state = this.#gets ? ('running' as const) : ('blocked' as const);
    const shown = { stream: 'stream', tabletId: 'tablet', role };
    if (this.epoch !== null) return [tabletView({ ...shown, state, ...yields })];
    const standing = { ...shown, state: 'starting' as const, committedOpId: null };
    if (inability !== null) return [tabletView({ ...standing, state: 'blocked', yields: true })];
    return this.#handOver.core.hasClaim('stream', 'tablet') ? [tabletView(standing)] : [];
  };

  async step(): Promise<void> {
    const { nowMs, writer, leader, uuids } = this.#world;
    if (!this.isUp) return;
    if (nowMs - this.beatMs >= BEAT_MS) this.beatMs = nowMs;
    if (this.epoch === LOST) this.#open();
    else if (this.epoch !== null && !this.reaches) this.epoch = LOST;
    else if (this.epoch !== null && writer?.epoch !== this.epoch) {
      this.epoch = null;
      this.#placement.ended(KEY, 'fenced', nowMs - this.#begunMs);
    }
    await this.#handOver.look(signal);
    if (this.serverRuns) this.#placement.heardServer();
    this.#handOver.core.dropClaims();
    this.#placement.beginRound();
    const replica = {
      tabletId: 'tablet',
      isLeader: leader === this.#uuid,
      isRunning: this.replicaRuns,
      leaderUuid: leader,
      voterUuids: uuids,
    };
    const shipping = this.epoch === null ? null : { works: this.#gets, fault: this.#gets ? null : FAULT };
    const unreadable = this.isDamaged ? { code: 'SPOOR_WAL_CORRUPT', message: 'does not check' } : null;
    const placed = {
      key: KEY,
      stream: 'stream',
      replica,
      sink: this.#sink,
      caughtUp: this.reads,
      unreadable,
      shipping,
    };
    const ships = this.isOld ? this.#shipsAsBefore(replica) : this.#placement.ships(placed);
    if (!ships) this.epoch = null;
    else if (this.epoch === null) this.#begin();
    // What a check has found out.
    await Promise.resolve().then(() => Promise.resolve());
  }

  #begin(): void {
    this.#world.begins.push(this.#uuid);
    this.#begunMs = this.#world.nowMs;
    this.#open();
  }

  #open(): void {
    const { writer } = this.#world;
    if (!this.reaches) {
      this.epoch = LOST;
      return;
    }
    if (writer && this.#world.site(writer.uuid).works) this.#world.fences++;
    this.epoch = (writer?.epoch ?? 0) + 1;
    this.#world.writer = { uuid: this.#uuid, epoch: this.epoch };
  }

  /** The rule of the version before: the first that lives. */
  #shipsAsBefore({ isLeader, isRunning }: { isLeader: boolean; isRunning: boolean }): boolean {
    if (!isRunning || !this.reads) return false;
    if (isLeader) return this.#handOver.core.mayLead('stream', 'tablet', null);
    const alive = this.#alive();
    if (alive.has(this.#world.leader)) return false;
    const first = this.#world.uuids.find((uuid) => uuid === this.#uuid || alive.has(uuid));
    return first === this.#uuid && (this.epoch !== null || this.#handOver.core.mayStandIn('stream', 'tablet'));
  }
}

/** A second for each look that it takes, an old answer of another sidecar, and what comes at random. */
const SLACK_MS = 8_000;

async function begun(uuids: readonly string[] = ['a', 'b', 'c'], old: readonly string[] = []): Promise<World> {
  const world = new World(uuids, old);
  await world.until(() => world.site('a').works, 10_000);
  world.begins = [];
  return world;
}
const only = (world: World, uuid: string) => (): boolean =>
  world.effective.length === 1 &&
  world.site(uuid).works &&
  world.uuids.every((u) => u === uuid || !isShipping(world, u));
const isShipping = (world: World, uuid: string): boolean => world.site(uuid).epoch !== null;

describe('a stand-in', () => {
  for (const [what, breakIt] of [
    ['whose tablet server is down', (site: Site) => (site.serverRuns = false)],
    ['whose replica does not run', (site: Site) => (site.replicaRuns = false)],
    ['whose log was not read to its end', (site: Site) => (site.reads = false)],
    ['whose log is damaged', (site: Site) => (site.isDamaged = true)],
    ['that cannot reach the sink', (site: Site) => (site.reaches = false)],
  ] as const)
    it(`is not the first that lives, ${what}, but the first that can`, async () => {
      const world = await begun();
      breakIt(world.site('b'));
      await world.forMs(12_000);
      world.site('a').kill();
      const tookMs = await world.until(only(world, 'c'), SIDECAR_ALIVE_MS + SLACK_MS);
      assert.ok(tookMs > 5000, 'a silence is waited for');
      assert.deepEqual(world.begins, ['c']);
    });

  it('gives up what it cannot ship although it reaches the sink, and goes on when nobody else can', async () => {
    const world = await begun();
    world.site('b').accepts = false;
    world.site('a').kill();
    await world.until(only(world, 'c'), SIDECAR_ALIVE_MS + TROUBLE_MS + 2 * SLACK_MS);
    assert.deepEqual(world.begins, ['b', 'c']);
    world.site('c').accepts = false;
    await world.forMs(600_000);
    assert.ok(world.begins.length < 16, `goes round ${world.begins.length} times in ten minutes`);
    world.site('c').accepts = true;
    await world.until(only(world, 'c'), HOPE_CAP_MS + TROUBLE_MS + SLACK_MS);
  });

  it('of an older version counts as able, but is waited for no longer than its turn', async () => {
    const world = await begun(['a', 'b', 'c'], ['b']);
    world.site('a').kill();
    await world.until(only(world, 'b'), SIDECAR_ALIVE_MS + SLACK_MS);
    world.site('b').replicaRuns = false; // it stands back, and says nothing
    await world.until(only(world, 'c'), SLACK_MS);
  });
});

describe("a new leader's sidecar", () => {
  it('asks nobody and begins with its next look, and the one before ends with its own', async () => {
    const world = await begun();
    world.leader = 'b';
    await world.tick(['b', 'c', 'a']);
    assert.ok(world.site('b').works);
    await world.tick();
    assert.ok(only(world, 'b')());
    assert.deepEqual(world.begins, ['b']);
  });
});

describe("a leader's living sidecar that cannot ship", () => {
  for (const [what, breakIt, mendIt] of [
    ['whose log cannot be read', (site: Site) => (site.reads = false), (site: Site) => (site.reads = true)],
    ['that alone cannot reach the sink', (site: Site) => (site.reaches = false), (site: Site) => (site.reaches = true)],
    ['whom the sink refuses', (site: Site) => (site.accepts = false), (site: Site) => (site.accepts = true)],
  ] as const)
    it(`is stood in for, ${what}, and takes over again when it can`, async () => {
      const world = await begun();
      breakIt(world.site('a'));
      await world.until(() => world.site('b').works, TROUBLE_MS + 2 * SLACK_MS);
      await world.until(only(world, 'b'), SLACK_MS);
      assert.ok(world.site('a').views()[0]?.yields, 'it says so');
      if (what !== 'whom the sink refuses')
        await world.forMs(120_000, () => {
          assert.ok(world.site('b').works);
        });
      const { fences } = world;
      mendIt(world.site('a'));
      await world.until(only(world, 'a'), 60_000);
      assert.equal(world.fences, fences, 'the stand-in finishes first');
      await world.forMs(120_000, () => {
        assert.ok(world.site('a').works);
      });
    });

  it('that has it refused again and again comes back more and more seldom', async () => {
    const world = await begun();
    world.site('a').accepts = false;
    await world.forMs(3_600_000);
    const tries = world.begins.filter((uuid) => uuid === 'a').length;
    assert.ok(tries >= 5 && tries <= 20, `${tries} tries in an hour`);
    assert.ok(world.fences <= 1, `${world.fences} fences`);
  });

  it('of the start is left to whoever stands in until it has read its log', async () => {
    const world = await begun();
    world.site('a').kill();
    await world.until(only(world, 'b'), SIDECAR_ALIVE_MS + SLACK_MS);
    world.site('a').reads = false;
    world.site('a').start();
    await world.forMs(60_000, () => {
      assert.ok(world.site('b').works);
    });
    world.site('a').reads = true;
    await world.until(only(world, 'a'), 2 * SLACK_MS);
    assert.equal(world.fences, 0);
  });

  it('of an older version does not say so, and is left alone', async () => {
    const world = await begun(['a', 'b', 'c'], ['a']);
    world.site('a').reaches = false;
    await world.forMs(60_000, () => {
      assert.deepEqual(world.effective, []);
    });
    assert.deepEqual(world.begins, []);
  });
});

describe('a sink that is away for everybody', () => {
  it("moves no tablet: the leader's sidecar goes on trying, says so, and ships at once when it is back", async () => {
    const world = await begun();
    for (const site of world.sites.values()) site.reaches = false;
    await world.forMs(600_000, () => {
      assert.deepEqual(
        world.uuids.filter((uuid) => isShipping(world, uuid)),
        ['a'],
      );
    });
    assert.deepEqual(world.begins, []);
    assert.deepEqual(
      world
        .site('a')
        .views()
        .map(({ state, yields }) => [state, yields]),
      [['blocked', true]],
    );
    for (const site of world.sites.values()) site.reaches = true;
    await world.until(only(world, 'a'), 1001);
    await world.forMs(60_000, () => {
      assert.ok(world.site('a').works);
    });
    assert.deepEqual(world.begins, []);
  });

  it('goes round seldom where it answers and takes nothing', async () => {
    const world = await begun();
    for (const site of world.sites.values()) site.accepts = false;
    await world.forMs(600_000);
    assert.ok(world.begins.length < 24, `${world.begins.length} times in ten minutes`);
    for (const site of world.sites.values()) site.accepts = true;
    await world.until(() => world.effective.length === 1, 30_000);
    await world.until(only(world, 'a'), HOPE_CAP_MS);
  });
});

describe('random worlds', () => {
  /** Silence, all turns, one try of each that looks able, and the longest hope. */
  const BOUND_MS = SIDECAR_ALIVE_MS + HOPE_CAP_MS + 5 * (TROUBLE_MS + SLACK_MS);
  const WORLDS = Number(process.env['PLACEMENT_WORLDS'] ?? 150);

  function trouble(world: World, random: Random): void {
    const site = world.site(random.pick(world.uuids));
    const flip = random.below(8);
    if (flip === 0) world.leader = random.pick(world.uuids.filter((uuid) => world.site(uuid).serverRuns));
    else if (flip === 1) {
      if (site.isUp) site.kill();
      else if (site.serverRuns) site.start();
    } else if (flip === 2 && world.uuids.filter((uuid) => world.site(uuid).serverRuns).length > 2)
      site.serverRuns = false;
    else if (flip === 3) site.serverRuns = true;
    else if (flip === 4) site.replicaRuns = !site.replicaRuns;
    else if (flip === 5 && !site.isOld) site.reads = !site.reads;
    else if (flip === 6 && !site.isOld) site.reaches = !site.reaches;
    else if (flip === 7 && !site.isOld) site.accepts = !site.accepts;
    const [asker, asked] = [random.pick(world.uuids), random.pick(world.uuids)];
    if (random.chance(0.1)) world.cut.add(`${asker}>${asked}`);
    if (random.chance(0.3)) world.cut.clear();
    // Who leads is there.
    const leads = (uuid: string): boolean => world.site(uuid).serverRuns && world.site(uuid).replicaRuns;
    if (leads(world.leader)) return;
    world.leader = world.uuids.find(leads) ?? world.uuids.find((uuid) => world.site(uuid).serverRuns)!;
    world.site(world.leader).replicaRuns = true;
  }
  const isAble = ({ isUp, serverRuns, replicaRuns, reads, reaches, accepts }: Site): boolean =>
    isUp && serverRuns && replicaRuns && reads && reaches && accepts;

  it(`ship within a bound of time if anybody can, and then only one does: ${WORLDS} of them`, async (t) => {
    let [settled, longestMs, standIns] = [0, 0, 0];
    for (let seed = 1; seed <= WORLDS; seed++) {
      const random = new Random(seed);
      const uuids = ['a', 'b', 'c', 'd', 'e'].slice(0, random.pick([3, 3, 5]));
      const world = new World(uuids, random.chance(0.3) ? [random.pick(uuids)] : []);
      for (let i = 0; i < 150; i++) {
        if (random.chance(0.2)) trouble(world, random);
        await world.tick(random.shuffled(uuids));
      }
      world.cut.clear();
      for (const site of world.sites.values()) {
        for (const part of ['serverRuns', 'replicaRuns', 'reads', 'reaches', 'accepts'] as const)
          site[part] ||= site.isOld || random.chance(0.6);
        if (site.serverRuns && !site.isUp && random.chance(0.5)) site.start();
      }
      // One of an older version stands in for nobody that lives.
      const leads = (uuid: string): boolean => uuid === world.leader;
      const able = uuids.filter((uuid) => isAble(world.site(uuid)) && (leads(uuid) || !world.site(uuid).isOld));
      if (able.length === 0) continue;
      settled++;
      const where = (): string => `seed ${seed}: ${world.describe()}`;
      const sinceMs = world.nowMs;
      // It may go round among those who look able, but whoever can ships in the end and stays.
      let quietMs = 0;
      while (quietMs < 40_000) {
        assert.ok(world.nowMs - sinceMs < BOUND_MS, where());
        const before = world.begins.length;
        await world.tick(random.shuffled(uuids));
        quietMs = world.effective.length === 1 && world.begins.length === before ? quietMs + TICK_MS : 0;
      }
      longestMs = Math.max(longestMs, world.nowMs - sinceMs - quietMs);
      const shippers = uuids.filter((uuid) => isShipping(world, uuid) && world.site(uuid).reaches);
      assert.equal(shippers.length, 1, where());
      const [shipper] = world.effective;
      if (shipper !== world.leader) standIns++;
      if (able.includes(world.leader)) assert.equal(shipper, world.leader, where());
    }
    t.diagnostic(`${settled} worlds, the longest took ${longestMs / 1000} s; in ${standIns} another one stands in`);
    assert.ok(settled > WORLDS / 2 && standIns > WORLDS / 10);
  });
});
