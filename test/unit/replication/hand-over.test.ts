import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { HandOver, type Elsewhere } from '../../../src/replication/hand-over.ts';
import type { TabletView } from '../../../src/replication/views.ts';

const { signal } = new AbortController();

function view(tabletId: string, role: TabletView['role']): TabletView {
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
  };
}

/** A sidecar's part of it, whose questions are answered as the test has it at that moment. */
class World {
  alive: ReadonlySet<string> = new Set();
  elsewhere: Elsewhere = { views: [], isWhole: true };
  isAnnounced = true;
  readonly askedFresh: boolean[] = [];
  readonly handOver = new HandOver({
    selfUuid: 'self',
    isAnnounced: () => this.isAnnounced,
    aliveSidecars: (fresh) => {
      this.askedFresh.push(fresh);
      return Promise.resolve(this.alive);
    },
    shippedElsewhere: () => Promise.resolve(this.elsewhere),
  });
}

describe('a sidecar that has just started', () => {
  it('leaves what it leads to the stand-ins that ship it, or are about to, until they have finished', async () => {
    const world = new World();
    const { handOver } = world;
    world.elsewhere = { views: [view('mine', 'follower'), view('theirs', 'leader')], isWhole: true };
    assert.equal(handOver.claim('s', 'mine', true), false, 'nobody was asked yet');
    await handOver.look(signal);
    assert.equal(handOver.claim('s', 'mine', true), false, 'a stand-in ships it');
    assert.equal(handOver.claim('s', 'another', true), true);
    assert.equal(handOver.claim('other stream', 'mine', true), true);
    world.elsewhere = { views: [view('theirs', 'leader')], isWhole: true };
    await handOver.look(signal);
    assert.equal(handOver.claim('s', 'mine', true), true);
    world.elsewhere = { views: [view('mine', 'follower')], isWhole: true };
    await handOver.look(signal);
    assert.equal(handOver.claim('s', 'mine', true), true, 'once over, it is over');
  });

  it('asks only when the others can know that it lives', async () => {
    const world = new World();
    world.isAnnounced = false;
    await world.handOver.look(signal);
    assert.equal(world.handOver.claim('s', 'mine', true), false);
    world.isAnnounced = true;
    await world.handOver.look(signal);
    assert.equal(world.handOver.claim('s', 'mine', true), true);
  });

  for (const [what, elsewhere, waitsMs] of [
    ['a stand-in', { views: [view('mine', 'follower')], isWhole: true }, 15_000],
    ['one that does not answer', { views: [], isWhole: false }, 5_000],
  ] as const)
    it(`waits for ${what}, and no longer than ${waitsMs / 1000} s`, async () => {
      const clock = mock.method(performance, 'now', () => 0);
      try {
        const world = new World();
        world.elsewhere = elsewhere;
        await world.handOver.look(signal);
        clock.mock.mockImplementation(() => waitsMs);
        assert.equal(world.handOver.claim('s', 'mine', true), false);
        clock.mock.mockImplementation(() => waitsMs + 1);
        assert.equal(world.handOver.claim('s', 'mine', true), true);
      } finally {
        clock.mock.restore();
      }
    });

  it('has what was found of one question although the other fails', async () => {
    const world = new World();
    world.elsewhere = Promise.reject(new Error('no')) as unknown as Elsewhere;
    world.alive = new Set(['other']);
    await assert.rejects(world.handOver.look(signal), /no/);
    assert.deepEqual([...world.handOver.sidecars.alive], ['other']);
  });
});

describe('a stand-in', () => {
  it('begins only by an answer to a question that came behind its claim', async () => {
    const world = new World();
    const { handOver } = world;
    await handOver.look(signal);
    assert.equal(handOver.claim('s', 'tablet', false), false);
    assert.ok(handOver.hasClaim('s', 'tablet'), 'shown to the others meanwhile');
    await handOver.look(signal);
    assert.equal(handOver.claim('s', 'tablet', false), true);
    handOver.dropClaims();
    assert.equal(handOver.claim('s', 'tablet', false), true, 'claimed again at once');
    handOver.dropClaims();
    assert.ok(!handOver.hasClaim('s', 'tablet'));
    handOver.dropClaims();
    assert.equal(handOver.claim('s', 'tablet', false), false, 'for a while it was not shown');
    handOver.dropClaims();
    assert.equal(handOver.claim('s', 'second', false), false);
    await handOver.look(signal);
    assert.equal(handOver.claim('s', 'second', false), true);
    handOver.dropClaims();
    await handOver.look(signal);
    assert.deepEqual(world.askedFresh, [false, true, true, false]);
  });

  it('lets another one finish that stood in before it was there', async () => {
    const world = new World();
    world.elsewhere = { views: [view('tablet', 'follower')], isWhole: true };
    world.handOver.claim('s', 'tablet', false);
    await world.handOver.look(signal);
    assert.equal(world.handOver.claim('s', 'tablet', false), false);
    world.elsewhere = { views: [], isWhole: true };
    await world.handOver.look(signal);
    assert.equal(world.handOver.claim('s', 'tablet', false), true);
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
        shippedElsewhere: () => Promise.resolve({ views: [], isWhole: true }),
      });
      await standIn.look(signal); // it has been there for long
      const own = new HandOver({
        selfUuid: 'a',
        isAnnounced: () => isAnnounced,
        aliveSidecars: () => Promise.resolve(new Set(['b'])),
        shippedElsewhere: () => {
          const shows = ships.standIn || standIn.hasClaim('s', 'tablet');
          return Promise.resolve({ views: shows ? [view('tablet', 'follower')] : [], isWhole: true });
        },
      });
      const standInStep = async (step: number): Promise<void> => {
        if (step % 2 === 1) return standIn.look(signal);
        standIn.dropClaims();
        if (standIn.sidecars.alive.has('a'))
          ships.standIn = false; // it finishes
        else if (!ships.standIn) ships.standIn = standIn.claim('s', 'tablet', false);
      };
      const ownStep = async (step: number): Promise<void> => {
        if (step === 0) isAnnounced = true;
        else if (step % 2 === 1) await own.look(signal);
        else ships.own ||= own.claim('s', 'tablet', true);
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
});

/** All orders of so many steps of one (true) and of another. */
function interleavings(own: number, other: number): boolean[][] {
  if (own === 0 && other === 0) return [[]];
  return [
    ...(own > 0 ? interleavings(own - 1, other).map((rest) => [true, ...rest]) : []),
    ...(other > 0 ? interleavings(own, other - 1).map((rest) => [false, ...rest]) : []),
  ];
}
