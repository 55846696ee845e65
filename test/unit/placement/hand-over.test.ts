import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { HandOver } from '../../../src/placement/hand-over.ts';
import { type SidecarWord, type TabletView } from '../../../src/api/shapes.ts';

const { signal } = new AbortController();

function view(tabletId: string, role: TabletView['role'], more: Partial<TabletView> = {}): TabletView {
  return {
    stream: 's',
    tabletId,
    table: 't',
    sidecar: 'other:1',
    role,
    state: 'running',
    applyOpId: '1.1',
    committedOpId: '1.1',
    lagOps: 0,
    lagSeconds: 0,
    hold: null,
    ...more,
  };
}
const said = (...views: readonly TabletView[]): readonly SidecarWord[] => [{ tserverUuid: 'other', views }];
const SILENCE: readonly SidecarWord[] = [{ tserverUuid: 'other', views: null }];

/** A sidecar's part of it, whose questions are answered as the test has it at that moment. */
class World {
  alive: ReadonlySet<string> = new Set(['other']);
  elsewhere: readonly SidecarWord[] | Error = said();
  isAnnounced = true;
  readonly askedFresh: boolean[] = [];
  readonly handOver = new HandOver({
    selfUuid: 'self',
    isAnnounced: () => this.isAnnounced,
    aliveSidecars: (fresh) => {
      this.askedFresh.push(fresh);
      return Promise.resolve(this.alive);
    },
    exceptionsElsewhere: () =>
      this.elsewhere instanceof Error ? Promise.reject(this.elsewhere) : Promise.resolve(this.elsewhere),
  });
}

describe('a sidecar that has just started', () => {
  it('leaves what it leads to the stand-ins that ship it, or are about to, until they have finished', async () => {
    const world = new World();
    const { handOver } = world;
    world.elsewhere = said(view('mine', 'follower'), view('theirs', 'leader'));
    assert.equal(handOver.core.mayLead('s', 'mine', null), false, 'nobody was asked yet');
    await handOver.look(signal);
    assert.equal(handOver.core.mayLead('s', 'mine', null), false, 'a stand-in ships it');
    assert.equal(handOver.core.mayLead('s', 'another', null), true);
    assert.equal(handOver.core.mayLead('other stream', 'mine', null), true);
    world.elsewhere = said(view('theirs', 'leader'));
    await handOver.look(signal);
    assert.equal(handOver.core.mayLead('s', 'mine', null), true);
    world.elsewhere = said(view('mine', 'follower'));
    await handOver.look(signal);
    assert.equal(handOver.core.mayLead('s', 'mine', null), true, 'once over, it is over');
  });

  it('asks only when the others can know that it lives', async () => {
    const world = new World();
    world.isAnnounced = false;
    await world.handOver.look(signal);
    assert.equal(world.handOver.core.mayLead('s', 'mine', null), false);
    world.isAnnounced = true;
    await world.handOver.look(signal);
    assert.equal(world.handOver.core.mayLead('s', 'mine', null), true);
  });

  for (const [what, elsewhere, waitsMs] of [
    ['a stand-in', said(view('mine', 'follower')), 15_000],
    ['one that does not answer', SILENCE, 5_000],
  ] as const)
    it(`waits for ${what}, and no longer than ${waitsMs / 1000} s`, async () => {
      const clock = mock.method(performance, 'now', () => 0);
      try {
        const world = new World();
        world.elsewhere = elsewhere;
        await world.handOver.look(signal);
        clock.mock.mockImplementation(() => waitsMs);
        assert.equal(world.handOver.core.mayLead('s', 'mine', null), false);
        clock.mock.mockImplementation(() => waitsMs + 1);
        assert.equal(world.handOver.core.mayLead('s', 'mine', null), true);
      } finally {
        clock.mock.restore();
      }
    });

  it('has what was found of one question although the other fails', async () => {
    const world = new World();
    world.elsewhere = new Error('no');
    world.alive = new Set(['third']);
    await assert.rejects(world.handOver.look(signal), /no/);
    assert.deepEqual([world.handOver.core.lives('third'), world.handOver.core.lives('other')], [true, false]);
  });
});

describe('a stand-in', () => {
  it('begins only by an answer to a question that came behind its claim', async () => {
    const world = new World();
    const { handOver } = world;
    await handOver.look(signal);
    assert.equal(handOver.core.mayStandIn('s', 'tablet'), false);
    assert.ok(handOver.core.hasClaim('s', 'tablet'), 'shown to the others meanwhile');
    await handOver.look(signal);
    assert.equal(handOver.core.mayStandIn('s', 'tablet'), true);
    handOver.core.dropClaims();
    assert.equal(handOver.core.mayStandIn('s', 'tablet'), true, 'claimed again at once');
    handOver.core.dropClaims();
    assert.ok(!handOver.core.hasClaim('s', 'tablet'));
    handOver.core.dropClaims();
    assert.equal(handOver.core.mayStandIn('s', 'tablet'), false, 'for a while it was not shown');
    handOver.core.dropClaims();
    assert.equal(handOver.core.mayStandIn('s', 'second'), false);
    await handOver.look(signal);
    assert.equal(handOver.core.mayStandIn('s', 'second'), true);
    handOver.core.dropClaims();
    await handOver.look(signal);
    assert.deepEqual(world.askedFresh, [false, true, true, false]);
  });

  it('lets another one finish that stood in before it was there', async () => {
    const world = new World();
    world.elsewhere = said(view('tablet', 'follower'));
    world.handOver.core.mayStandIn('s', 'tablet');
    await world.handOver.look(signal);
    assert.equal(world.handOver.core.mayStandIn('s', 'tablet'), false);
    world.elsewhere = said();
    await world.handOver.look(signal);
    assert.equal(world.handOver.core.mayStandIn('s', 'tablet'), true);
  });

  it('never begins beside the sidecar that it stands in for, in whatever order the two take their steps', async () => {
    const seen = { own: 0, standIn: 0, both: 0 };
    const orders = interleavings(6, 6);
    for (const order of orders) {
      let isAnnounced = false;
      const ships = { own: false, standIn: false };
      const standIn = new HandOver({
        selfUuid: 'b',
        isAnnounced: () => true,
        aliveSidecars: () => Promise.resolve(new Set(isAnnounced ? ['a'] : [])),
        exceptionsElsewhere: () => Promise.resolve([]),
      });
      await standIn.look(signal); // it has been there for long
      const own = new HandOver({
        selfUuid: 'a',
        isAnnounced: () => isAnnounced,
        aliveSidecars: () => Promise.resolve(new Set(['b'])),
        exceptionsElsewhere: () => {
          const shows = ships.standIn || standIn.core.hasClaim('s', 'tablet');
          return Promise.resolve([{ tserverUuid: 'b', views: shows ? [view('tablet', 'follower')] : [] }]);
        },
      });
      const standInStep = async (step: number): Promise<void> => {
        if (step % 2 === 1) return standIn.look(signal);
        standIn.core.dropClaims();
        if (standIn.core.lives('a'))
          ships.standIn = false; // it finishes
        else if (!ships.standIn) ships.standIn = standIn.core.mayStandIn('s', 'tablet');
      };
      const ownStep = async (step: number): Promise<void> => {
        if (step === 0) isAnnounced = true;
        else if (step % 2 === 1) await own.look(signal);
        else ships.own ||= own.core.mayLead('s', 'tablet', null);
      };
      const steps = { own: 0, standIn: 0 };
      for (const isOwn of order) {
        await (isOwn ? ownStep(steps.own++) : standInStep(steps.standIn++));
        for (const who of ['own', 'standIn', 'both'] as const)
          if (who === 'both' ? ships.own && ships.standIn : ships[who]) seen[who]++;
      }
    }
    assert.equal(seen.both, 0);
    assert.ok(seen.own > 900 && seen.standIn > 900, JSON.stringify(seen));
  });

  it('never begins beside a living sidecar that can ship again, in whatever order the two take their steps', async () => {
    const seen = { own: 0, standIn: 0, both: 0 };
    for (const order of interleavings(6, 6)) {
      let yields = true;
      const ships = { own: false, standIn: false };
      const alive = Promise.resolve(new Set(['a', 'b']));
      const standIn = new HandOver({
        selfUuid: 'b',
        isAnnounced: () => true,
        aliveSidecars: () => alive,
        exceptionsElsewhere: () =>
          Promise.resolve([{ tserverUuid: 'a', views: yields ? [view('tablet', 'leader', { yields })] : [] }]),
      });
      const own = new HandOver({
        selfUuid: 'a',
        isAnnounced: () => true,
        aliveSidecars: () => alive,
        exceptionsElsewhere: () => {
          const shows = ships.standIn || standIn.core.hasClaim('s', 'tablet');
          return Promise.resolve([{ tserverUuid: 'b', views: shows ? [view('tablet', 'follower')] : [] }]);
        },
      });
      for (const one of [standIn, own]) await one.look(signal);
      let { since } = own.core;
      const standInStep = async (step: number): Promise<void> => {
        if (step % 2 === 1) return standIn.look(signal);
        standIn.core.dropClaims();
        if (standIn.core.words('s', 'tablet').get('a') !== 'yields')
          ships.standIn = false; // it finishes
        else ships.standIn ||= standIn.core.mayStandIn('s', 'tablet');
      };
      const ownStep = async (step: number): Promise<void> => {
        if (step === 0) {
          yields = false;
          ({ since } = own.core);
          own.core.mayLead('s', 'tablet', since);
        } else if (step % 2 === 1) await own.look(signal);
        else ships.own ||= own.core.mayLead('s', 'tablet', since);
      };
      const steps = { own: 0, standIn: 0 };
      for (const isOwn of order) {
        await (isOwn ? ownStep(steps.own++) : standInStep(steps.standIn++));
        for (const who of ['own', 'standIn', 'both'] as const)
          if (who === 'both' ? ships.own && ships.standIn : ships[who]) seen[who]++;
      }
    }
    assert.equal(seen.both, 0);
    assert.ok(seen.own > 900 && seen.standIn > 900, JSON.stringify(seen));
  });

  it('hears from one of an older version by what that ships, and forgets what nobody repeats', async () => {
    const clock = mock.method(performance, 'now', () => 0);
    try {
      const world = new World();
      const { handOver } = world;
      world.elsewhere = said(view('ships', 'follower'), view('claims', 'follower', { committedOpId: null }));
      await handOver.look(signal);
      const words = (): unknown[] =>
        ['ships', 'claims'].map((tabletId) => handOver.core.words('s', tabletId).get('other'));
      assert.deepEqual(words(), ['ships', 'claims']);
      world.elsewhere = SILENCE;
      clock.mock.mockImplementation(() => 15_000);
      await handOver.look(signal);
      assert.deepEqual(words(), ['ships', 'claims']);
      clock.mock.mockImplementation(() => 21_000);
      await handOver.look(signal);
      assert.deepEqual(words(), [undefined, undefined]);
    } finally {
      clock.mock.restore();
    }
  });
});

/** All orders of so many steps of one (true) and of another. */
function interleavings(own: number, other: number): boolean[][] {
  if (own === 0 && other === 0) return [[]];
  return [
    ...(own > 0 ? interleavings(own - 1, other).map((rest) => [true, ...rest]) : []),
    ...(other > 0 ? interleavings(own, other - 1).map((rest) => [false, ...rest]) : []),
  ];
}
