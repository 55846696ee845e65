import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { HandOver } from '../../../src/replication/hand-over.ts';
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

describe('a hand-over', () => {
  it('leaves what it leads to the stand-ins that ship it, until they have finished', async () => {
    let elsewhere = [view('mine', 'follower'), view('theirs', 'leader')];
    const handOver = new HandOver({
      selfUuid: 'self',
      aliveSidecars: () => Promise.resolve(new Set(['other'])),
      shippedElsewhere: () => Promise.resolve(elsewhere),
    });
    assert.equal(handOver.mayBegin('s', 'mine', true), false, 'nobody was asked yet');
    await handOver.look(signal);
    assert.equal(handOver.mayBegin('s', 'mine', true), false, 'a stand-in ships it');
    assert.equal(handOver.mayBegin('s', 'another', true), true);
    assert.equal(handOver.mayBegin('other stream', 'mine', true), true);
    elsewhere = [view('theirs', 'leader')];
    await handOver.look(signal);
    assert.equal(handOver.mayBegin('s', 'mine', true), true);
    elsewhere = [view('mine', 'follower')];
    await handOver.look(signal);
    assert.equal(handOver.mayBegin('s', 'mine', true), true, 'once over, it is over');
  });

  it('waits for nobody longer than a stand-in may take', async () => {
    const clock = mock.method(performance, 'now', () => 0);
    try {
      const handOver = new HandOver({
        selfUuid: 'self',
        aliveSidecars: () => Promise.resolve(new Set(['other'])),
        shippedElsewhere: () => Promise.resolve([view('mine', 'follower')]),
      });
      await handOver.look(signal);
      assert.equal(handOver.mayBegin('s', 'mine', true), false);
      clock.mock.mockImplementation(() => 15_001);
      assert.equal(handOver.mayBegin('s', 'mine', true), true);
    } finally {
      clock.mock.restore();
    }
  });

  it('begins to stand in only by an answer from just now', async () => {
    const asked: boolean[] = [];
    const handOver = new HandOver({
      selfUuid: 'self',
      aliveSidecars: (fresh) => {
        asked.push(fresh);
        return Promise.resolve(new Set<string>());
      },
      shippedElsewhere: () => Promise.resolve([]),
    });
    await handOver.look(signal);
    assert.equal(handOver.mayBegin('s', 'tablet', false), false, 'that answer may be an old one');
    await handOver.look(signal);
    assert.equal(handOver.mayBegin('s', 'tablet', false), true);
    handOver.expire();
    assert.equal(handOver.mayBegin('s', 'second', false), false);
    await handOver.look(signal);
    assert.equal(handOver.mayBegin('s', 'second', false), true);
    await handOver.look(signal);
    assert.deepEqual(asked, [false, true, true, false]);
  });
});
