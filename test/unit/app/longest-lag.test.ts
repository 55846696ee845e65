import assert from 'node:assert/strict';
import { it } from 'node:test';
import { longestLag } from '../../../src/app/longest-lag.ts';
import type { TabletView } from '../../../src/api/shapes.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

it('the lag that more CPU could help is that of tablets at work, not of those that wait for something else', () => {
  const copy = { kind: 'all', hybridTime: '1', rows: 1, totalRows: 9, percent: 1, secondsLeft: 1 } as const;
  const lagOf = (...views: Partial<TabletView>[]): number => longestLag(views.map((view) => tabletView(view)));
  assert.equal(lagOf(), 0);
  assert.equal(lagOf({ lagSeconds: 3 }, { state: 'stalled', lagSeconds: 40 }, { lagSeconds: null }), 40);
  for (const state of ['blocked', 'gap', 'paused', 'starting', 'base-copy', 'resync'] as const)
    assert.equal(lagOf({ state, lagSeconds: 900 }), 0, state);
  assert.equal(lagOf({ state: 'base-copy', lagSeconds: 12, copy }), 12);
  assert.equal(lagOf({ state: 'blocked', lagSeconds: 12, copy }), 0);
});
