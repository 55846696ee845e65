import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeEvent, HistoryView, StateEvent } from '../../../src/api/cluster-state.ts';
import { SpoorError } from '../../../src/errors.ts';
import { ClusterEvents, type EventReader } from '../../../src/status/cluster-events.ts';
import { eventually } from '../../support/eventually.ts';
import { ScriptedCluster, scriptedHour, scriptedStream } from '../../support/scripted-cluster.ts';

interface Told {
  readonly event: 'state' | 'change' | 'history';
  readonly data: unknown;
}

class KeepingReader implements EventReader {
  readonly role: 'read' | 'operate';
  readonly told: Told[] = [];
  takes = true;

  constructor(role: 'read' | 'operate' = 'operate') {
    this.role = role;
  }

  tell(event: Told['event'], data: string): boolean {
    if (this.takes) this.told.push({ event, data: JSON.parse(data) });
    return this.takes;
  }

  of(event: Told['event']): unknown[] {
    return this.told.filter((each) => each.event === event).map(({ data }) => data);
  }
}

const start = () => {
  const cluster = new ScriptedCluster([scriptedStream('orders', [['shop.orders', 3]])]);
  const events = new ClusterEvents({
    looker: { looker: cluster },
    version: '1.2.3',
    paceMs: () => 10,
    mask: (text) => text.replaceAll('secret', '***'),
  });
  return { cluster, events };
};

describe('the events of a cluster', () => {
  it('look at it for all readers together, and not at all while there is none', async () => {
    const { cluster, events } = start();
    await sleep(30);
    assert.equal(cluster.looks, 0);
    const readers = [new KeepingReader(), new KeepingReader(), new KeepingReader()];
    const leave = readers.map((reader) => events.join(reader));
    await eventually('all are told', () => readers.every((reader) => reader.of('change').length >= 3));
    const [first, ...others] = readers.map((reader) => reader.of('change').length);
    assert.ok(others.every((count) => count === first));
    assert.ok(cluster.looks <= first! + 2, `${cluster.looks} looks for ${first!} changes`);
    for (const each of leave) each();
    await sleep(20);
    const looks = cluster.looks;
    await sleep(60);
    assert.equal(cluster.looks, looks);
    assert.equal(events.readerCount, 0);
  });

  it('are the whole state first, with what the reader may do, then an hour, then what changes', async () => {
    const { cluster, events } = start();
    cluster.past = [scriptedHour({ orders: 10 })];
    const [reader, looker] = [new KeepingReader(), new KeepingReader('read')];
    const leave = [events.join(reader), events.join(looker)];
    await eventually(
      'the history is told',
      () => reader.of('history').length === 1 && looker.of('history').length === 1,
    );
    assert.equal(reader.told[0]!.event, 'state');
    const [state, theirs] = [reader.of('state')[0] as StateEvent, looker.of('state')[0] as StateEvent];
    assert.deepEqual([state.role, theirs.role, state.tablets.length, state.version], ['operate', 'read', 3, '1.2.3']);
    assert.deepEqual((reader.of('history')[0] as HistoryView).at.length, 360);
    cluster.change(
      'orders',
      (_, i) => i === 1,
      () => ({ lagSeconds: 7 }),
    );
    const change = await eventually('the change is told', () =>
      (reader.of('change') as ChangeEvent[]).find(({ tablets }) => tablets),
    );
    assert.deepEqual(
      change.tablets!.map(({ lagSeconds }) => lagSeconds),
      [7],
    );
    const late = new KeepingReader();
    leave.push(events.join(late));
    await eventually('who comes later is told all at once', () => late.of('state').length === 1);
    assert.equal((late.of('state')[0] as StateEvent).tablets[1]!.lagSeconds, 7);
    for (const each of leave) each();
  });

  it('are not kept for a reader that does not take them: it is told the whole state when it does again', async () => {
    const { cluster, events } = start();
    const slow = new KeepingReader();
    const leave = events.join(slow);
    await eventually('it is told', () => slow.of('change').length > 0);
    slow.takes = false;
    cluster.change(
      'orders',
      () => true,
      () => ({ lagSeconds: 9 }),
    );
    await sleep(60);
    const before = slow.told.length;
    slow.takes = true;
    await eventually('it is told again', () => slow.told.length > before);
    assert.equal(slow.told[before]!.event, 'state');
    assert.equal((slow.told[before]!.data as StateEvent).tablets[0]!.lagSeconds, 9);
    leave();
  });

  it('say since when and why the cluster cannot be looked at, and what it was like before', async () => {
    const { cluster, events } = start();
    const reader = new KeepingReader();
    const leave = events.join(reader);
    await eventually('it is told', () => reader.of('state').length > 0);
    cluster.failure = new SpoorError('SPOOR_KUDU_UNAVAILABLE', 'no master answers secret');
    const changes = () => reader.of('change') as ChangeEvent[];
    const told = await eventually('it is told that nothing is known', () => changes().find(({ trouble }) => trouble));
    assert.deepEqual(
      [told.trouble!.code, told.trouble!.message, told.verdict!.kind],
      ['SPOOR_KUDU_UNAVAILABLE', 'no master answers ***', 'unknown'],
    );
    assert.deepEqual([told.gone, told.tablets], [undefined, undefined]);
    cluster.failure = null;
    await eventually('all is well again', () =>
      changes().find(({ trouble, verdict }) => trouble === null && verdict?.kind === 'well'),
    );
    leave();
  });

  it('are told by a sidecar that is not at work yet as well', async () => {
    const events = new ClusterEvents({
      looker: {
        get looker(): never {
          throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', 'not at work yet: still connecting');
        },
      },
      version: '1',
      paceMs: () => 10,
    });
    const reader = new KeepingReader();
    const leave = events.join(reader);
    await eventually('it is told', () => reader.of('history').length > 0);
    assert.equal((reader.of('state')[0] as StateEvent).trouble!.message, 'not at work yet: still connecting');
    leave();
  });
});
