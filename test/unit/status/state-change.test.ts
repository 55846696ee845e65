import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { StreamView, TabletView } from '../../../src/api/shapes.ts';
import { applyChange } from '../../../src/page/apply-change.ts';
import { composeState } from '../../../src/status/compose-state.ts';
import { changeBetween } from '../../../src/status/state-change.ts';
import { tabletView } from '../../support/memory-control-plane.ts';
import { scriptedSidecar, scriptedStream } from '../../support/scripted-cluster.ts';

const NOW = 1_800_000_000_000;
const sidecars = [scriptedSidecar(0, { lastSeen: '2026-01-01T00:00:00.000Z' }, { recordsShipped: { orders: 10 } })];
const stateOf = (streams: readonly StreamView[], nowMs = NOW) =>
  composeState({ streams, sidecars, leadersOf: new Map() }, '1.2.3', null, nowMs).state;
const byKey = (tablets: readonly TabletView[]) =>
  [...tablets].sort((a, b) => `${a.stream}${a.tabletId}`.localeCompare(`${b.stream}${b.tabletId}`));

describe('a change of the state', () => {
  it('says nothing where nothing changed, though the held log has grown older', () => {
    const stream = scriptedStream('orders', [['shop.orders', 3]]);
    const older = {
      ...stream,
      tablets: stream.tablets.map((each) => tabletView({ ...each, hold: { ...each.hold!, ageSeconds: 99 } })),
    };
    assert.deepEqual(changeBetween(stateOf([stream]), stateOf([older], NOW + 1000)), {
      at: new Date(NOW + 1000).toISOString(),
    });
  });

  it('has only the tablets that changed, and figures alone where nothing else of a stream did', () => {
    const stream = scriptedStream('orders', [['shop.orders', 300]]);
    const [first, ...rest] = stream.tablets;
    const changed = { ...stream, tablets: [tabletView({ ...first, lagSeconds: 2, lagOps: 5 }), ...rest] };
    const change = changeBetween(stateOf([stream]), stateOf([changed]));
    assert.deepEqual(
      [change.tablets?.length, change.streams, Object.keys(change.figures ?? {})],
      [1, undefined, ['orders']],
    );
    assert.equal(change.figures!.orders!.lagSeconds, 2);
    assert.ok(JSON.stringify(change).length < 2000);
  });

  it('makes the one state of the other, for whoever knows the one', () => {
    const tablet = fc.record({
      state: fc.constantFrom('running', 'blocked', 'paused', 'stalled'),
      lagSeconds: fc.nat(3),
    });
    const streams = fc.dictionary(
      fc.constantFrom('a', 'b', 'c'),
      fc.record({ paused: fc.boolean(), tablets: fc.dictionary(fc.constantFrom('1', '2', '3'), tablet) }),
    );
    const made = (
      given: Record<string, { paused: boolean; tablets: Record<string, { state: string; lagSeconds: number }> }>,
    ) =>
      Object.entries(given).map(([name, { paused, tablets }]) => ({
        ...scriptedStream(name, [['t', 1]]),
        paused,
        tablets: Object.entries(tablets).map(([tabletId, changed]) =>
          tabletView({ stream: name, tabletId, ...changed } as Partial<TabletView>),
        ),
      }));
    fc.assert(
      fc.property(streams, streams, (before, after) => {
        const [from, to] = [stateOf(made(before)), stateOf(made(after), NOW + 1000)];
        const change = JSON.parse(JSON.stringify(changeBetween(from, to))) as ReturnType<typeof changeBetween>;
        const got = applyChange({ ...from, role: 'read' }, change);
        assert.deepEqual(byKey(got.tablets), byKey(to.tablets));
        assert.deepEqual(
          [...got.streams].sort((a, b) => a.name.localeCompare(b.name)),
          [...to.streams].sort((a, b) => a.name.localeCompare(b.name)),
        );
        assert.deepEqual([got.verdict, got.at, got.sidecars], [to.verdict, to.at, to.sidecars]);
      }),
    );
  });
});

describe('the state', () => {
  it('counts records a second between two looks, and does not invent them', () => {
    const look = (shipped: number) => ({
      streams: [scriptedStream('orders', [['shop.orders', 2]])],
      sidecars: [
        scriptedSidecar(0, {}, { recordsShipped: { orders: shipped } }),
        scriptedSidecar(1, {}, { recordsShipped: { orders: 5 } }),
      ],
      leadersOf: new Map(),
    });
    const first = composeState(look(100), '1', null, NOW);
    assert.deepEqual(
      [first.state.streams[0]!.figures.recordsShipped, first.state.streams[0]!.figures.recordsPerSecond],
      [105, null],
    );
    const second = composeState(look(300), '1', first.counted, NOW + 2000);
    assert.equal(second.state.streams[0]!.figures.recordsPerSecond, 100);
    const restarted = composeState(look(0), '1', second.counted, NOW + 3000);
    assert.equal(restarted.state.streams[0]!.figures.recordsPerSecond, null);
  });

  it('says who ships what, and for whom', () => {
    const stream = scriptedStream('orders', [['shop.orders', 3]]);
    const tablets = stream.tablets.map((each, i) =>
      tabletView({ ...each, sidecar: '127.0.0.1:8100', role: i === 0 ? 'leader' : 'follower' }),
    );
    const leadersOf = new Map(tablets.map(({ tabletId }) => [`orders/${tabletId}`, 'tserver-2:7050']));
    const { state } = composeState(
      { streams: [{ ...stream, tablets }], sidecars: [scriptedSidecar(0), scriptedSidecar(1)], leadersOf },
      '1',
      null,
      NOW,
    );
    assert.deepEqual(
      state.sidecars.map(({ ships, standsInFor }) => [ships, standsInFor]),
      [
        [3, [{ tserver: 'tserver-2:7050', tablets: 2 }]],
        [0, []],
      ],
    );
  });
});
