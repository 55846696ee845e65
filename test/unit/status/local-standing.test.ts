import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { localStatus } from '../../../src/api/cluster-state.ts';
import type { PartHealth } from '../../../src/api/shapes.ts';
import { OwnStanding, type LocalStandingOptions } from '../../../src/status/local-standing.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

const START = 1_800_000_000_000;
const OK: Record<'kudu' | 'kafka' | 'wal', PartHealth> = { kudu: { ok: true }, kafka: { ok: true }, wal: { ok: true } };

function standing(changed: Partial<LocalStandingOptions> = {}) {
  const now = { ms: START };
  const own = new OwnStanding({
    localTablets: () => [tabletView({ lagSeconds: 2 }), tabletView({ tabletId: 'f'.repeat(32), lagSeconds: 1 })],
    holds: () => [],
    space: () => null,
    minFreePercent: 10,
    recordsShipped: () => Promise.resolve(new Map()),
    readiness: () => Promise.resolve(OK),
    mask: (text) => text.replaceAll('secret', '***'),
    nowMs: () => now.ms,
    ...changed,
  });
  return { own, now };
}

describe('what a sidecar says of itself', () => {
  it('has an hour of what it ships: records by the counter of the metrics, lag and held bytes by its tablets', async () => {
    const counter = new Map([['orders', 1000]]);
    const { own, now } = standing({ recordsShipped: () => Promise.resolve(new Map(counter)) });
    await own.sample();
    counter.set('orders', 1500);
    now.ms += 10_000;
    await own.sample();
    assert.deepEqual(own.history(), {
      stepSeconds: 10,
      at: [START / 1000, START / 1000 + 10],
      streams: { orders: { records: [null, 50], lagSeconds: [2, 2], heldBytes: [16_777_216, 16_777_216] } },
    });
    counter.set('orders', 3);
    now.ms += 10_000;
    await own.sample();
    assert.equal(own.history().streams.orders!.records.at(-1), null, 'a counter that began anew says nothing');
  });

  it('counts the held log of a tablet that nobody can ship where it is led, and not beside its other replicas', async () => {
    const blocked = { state: 'blocked', yields: true } as const;
    const { own } = standing({
      localTablets: () => [tabletView(blocked), tabletView({ ...blocked, tabletId: 'f'.repeat(32), role: 'follower' })],
    });
    await own.sample();
    assert.deepEqual(own.history().streams.orders!.heldBytes, [8_388_608]);
  });

  it('counts a held log once, however many streams need it, and names the limit that comes first', async () => {
    const hold = { index: 1, bytes: 700, ageSeconds: 1 };
    const figures = (stream: string, tablet: string, secondsUntilLimit: number | null) => ({
      ...{ stream, table: 't', tablet, hold, secondsUntilLimit, unmarkedOps: 0 },
    });
    const { own } = standing({ holds: () => [figures('a', '1', 90), figures('b', '1', 50), figures('a', '2', null)] });
    const status = localStatus.parse(await own.status());
    assert.equal(status.heldBytes, 1400);
    assert.deepEqual(status.limit, { seconds: 50, stream: 'b', table: 't', tabletId: '1' });
  });

  it('foretells when the disk is full, at the pace of the last minutes', async () => {
    const space = { totalBytes: 1000, freeBytes: 800 };
    const { own, now } = standing({ space: () => ({ ...space }) });
    assert.equal((await own.status()).disk!.secondsUntilFloor, null);
    for (let i = 0; i < 30; i++) {
      assert.equal((await own.status()).disk!.secondsUntilFloor, null, 'one large file is no pace');
      await own.sample();
      now.ms += 10_000;
      space.freeBytes -= 10;
    }
    assert.equal(
      (await own.status()).disk!.secondsUntilFloor,
      400,
      '500 are free, 100 are the bound, one goes a second',
    );
    space.freeBytes = 990;
    assert.equal((await own.status()).disk!.secondsUntilFloor, null);
  });

  it('says since when a part cannot work, and why, without what must not be shown; and answers while it looks', async () => {
    let health: typeof OK = { ...OK, kafka: { ok: false, reason: 'no broker, secret' } };
    let waits: Promise<void> = Promise.resolve();
    const { own, now } = standing({ readiness: () => waits.then(() => health) });
    const since = new Date(START).toISOString();
    assert.deepEqual((await own.status()).readiness.kafka, { ok: false, since, reason: 'no broker, ***' });
    now.ms += 60_000;
    await own.status();
    await new Promise(setImmediate);
    assert.equal((await own.status()).readiness.kafka.since, since);
    now.ms += 60_000;
    waits = new Promise(() => undefined);
    assert.equal((await own.status()).readiness.kafka.ok, false, 'what was seen last, while it takes long');
    health = OK;
  });
});
