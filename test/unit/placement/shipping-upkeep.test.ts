import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OpId } from '../../../src/kudu/opid.ts';
import type { Shipping } from '../../../src/placement/shipped-tablets.ts';
import { ShippingUpkeep } from '../../../src/placement/shipping-upkeep.ts';
import { opId } from '../../support/log-entries.ts';

const FOREVER = new AbortController().signal;

interface Shipped {
  readonly tabletId: string;
  readonly isBehind?: boolean;
  readonly sinkWorks?: boolean;
  readonly hasSpoken?: boolean;
  readonly schemas?: Shipping['schemas'];
  readonly resolvedMs?: number;
}

/** Tablets of one table for which another one, now gone, has spoken. */
function shipping(...tablets: Shipped[]) {
  const joined = new Map([['table', { name: 't', speakerTabletId: 'gone' }]]);
  const committed: [string, OpId][] = [];
  const running = new Map(
    tablets.map(({ tabletId, resolvedMs, schemas = 'speaks', ...rest }) => {
      const definition = { resolved: resolvedMs === undefined ? undefined : { intervalMs: resolvedMs } };
      const replicator = {
        tabletId,
        tablet: { tableId: 'table', tabletId },
        noteCommitted: (at: OpId) => committed.push([tabletId, at]),
        ...rest,
      };
      return [tabletId, { open: { stored: { definition }, joined }, membership: {}, schemas, replicator }];
    }),
  ) as unknown as ReadonlyMap<string, Shipping>;
  const beats: [string, number][] = [];
  const spoken: string[] = [];
  const upkeep = new ShippingUpkeep(
    {
      keepers: { get: (tabletId) => ({ heartbeat: (ms: number) => beats.push([tabletId, ms]) }) as never },
      streams: {
        setSpeaker: (_, { tabletId }) => {
          spoken.push(tabletId);
          return Promise.resolve();
        },
      },
      tserver: {
        committedOpId: (tabletId) =>
          tabletId === 'stopping' ? Promise.reject(new Error('it is stopping')) : Promise.resolve(opId(1, 7)),
      },
    },
    { running },
  );
  return { upkeep, committed, beats, spoken };
}

describe('what is done now and then for what is shipped', () => {
  it('is to ask how far a tablet is that is behind, and now and then all', async () => {
    const { upkeep, committed } = shipping(
      { tabletId: 'a', isBehind: true },
      { tabletId: 'stopping' },
      { tabletId: 'b' },
    );
    const troubles: unknown[] = [];
    const look = () => upkeep.askCommitted(FOREVER, (error) => troubles.push(error));
    await look();
    assert.deepEqual(committed, [
      ['a', opId(1, 7)],
      ['b', opId(1, 7)],
    ]);
    assert.deepEqual(troubles.map(String), ['Error: it is stopping']);
    await look();
    assert.deepEqual(committed.slice(2), [['a', opId(1, 7)]]);
  });

  it('is to move the log of a tablet whose resolved marks go out', () => {
    const { upkeep, beats } = shipping(
      { tabletId: 'a', resolvedMs: 50, sinkWorks: true },
      { tabletId: 'b', resolvedMs: 50, sinkWorks: false },
      { tabletId: 'c', sinkWorks: true },
    );
    upkeep.beatHearts();
    assert.deepEqual(beats, [['a', 50]]);
  });

  it('is to keep which tablet speaks for its table, once', async () => {
    const { upkeep, spoken } = shipping(
      { tabletId: 'a', schemas: 'takes-over', hasSpoken: false },
      { tabletId: 'b', schemas: 'takes-over', hasSpoken: true },
    );
    await upkeep.keepSpeakers(FOREVER);
    await upkeep.keepSpeakers(FOREVER);
    assert.deepEqual(spoken, ['b']);
  });
});
