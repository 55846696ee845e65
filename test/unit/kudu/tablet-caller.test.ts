import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ReplicaLocation, TabletLocation } from '../../../src/kudu/catalog.ts';
import { KuduError } from '../../../src/kudu/errors.ts';
import { Deadline } from '../../../src/kudu/rpc/deadline.ts';
import { callReplica, type ReplicaLocator } from '../../../src/kudu/tablet-caller.ts';

const TABLET = 'tablet';

function ledBy(leader: string): TabletLocation {
  const replica = (uuid: string): ReplicaLocation => ({
    uuid,
    address: uuid,
    role: uuid === leader ? 'leader' : 'follower',
  });
  return {
    tabletId: TABLET,
    partition: { hashBuckets: [], start: Buffer.alloc(0), end: Buffer.alloc(0) },
    replicas: ['a', 'b'].map(replica),
  };
}

/** A master that says who leads, and a memory of what it said last. */
class Locator implements ReplicaLocator {
  readonly doubted = new Set<string>();
  leader = 'a';
  known = ledBy('a');
  asked = 0;

  replicas(): Promise<TabletLocation> {
    return Promise.resolve(this.known);
  }

  refresh(): Promise<TabletLocation> {
    this.asked++;
    this.known = ledBy(this.leader);
    return Promise.resolve(this.known);
  }
}

/** The answer of a server: its name; of the one that hangs, none before its caller gives up. */
async function answer(address: string, deadline: Deadline, hangs: string): Promise<string> {
  if (address !== hangs) return address;
  return deadline.race(
    new Promise<never>(() => undefined),
    () => new KuduError('timeout', 'the caller is less patient than this'),
  );
}

describe('calling a replica', () => {
  it('asks the master anew after a caller has given up on a server that hangs', async () => {
    const locator = new Locator();
    const call = (signal?: AbortSignal): Promise<string> =>
      callReplica(locator, TABLET, 'leader', Deadline.from({ signal }, 10_000), (address, deadline) =>
        answer(address, deadline, 'a'),
      );
    const patience = new AbortController();
    const first = call(patience.signal);
    setImmediate(() => {
      patience.abort(new Error('no time'));
    });
    await assert.rejects(first, /no time/);
    locator.leader = 'b';
    assert.equal(await call(), 'b');
    assert.equal(locator.asked, 1);
    assert.equal(await call(), 'b');
    assert.equal(locator.asked, 1, 'once is enough');
  });
});
