import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NewestRecords, RewoundStream, TabletView, TraceView } from '../../src/api/shapes.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { parseOpId } from '../../src/kudu/opid.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { Load } from '../support/load.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';
import { recordsIn } from '../support/topic-reader.ts';

interface EventRecord {
  readonly event: string;
  readonly tablet_id: string;
  readonly term: number;
  readonly index: number;
  readonly rewound?: {
    readonly by: string;
    readonly from_index: number | null;
    readonly from_hybrid_time: string | null;
  };
}

const LOAD_OPS = form(4_000, 60_000);
const LOAD_RATE = 1_000;
/** Of about 40 KB each in three segments of 1 MB and more: the first of them are gone soon. */
const LARGE_OPS = 120;

describe('what a person asks of a tablet that is shipped', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
  });
  after(async () => {
    await lease[Symbol.asyncDispose]();
  });

  const eventsOf = async (stream: string): Promise<EventRecord[]> => {
    const records = await recordsIn(cluster.kafka, `${stream}.schema`, 1);
    return records.map(({ value }) => JSON.parse(value!.toString()) as EventRecord).filter(({ event }) => event);
  };

  /** Of rows, by how often each position came; deletes have a tombstone beside them. */
  const positionsIn = async (topic: string, least: number): Promise<Map<string, number>> => {
    const times = new Map<string, number>();
    for (const { value, headers } of await recordsIn(cluster.kafka, topic, least))
      if (value !== null) times.set(headers['spoor.pos']!, (times.get(headers['spoor.pos']!) ?? 0) + 1);
    return times;
  };

  async function rewind(stream: string, body: object): Promise<void> {
    const { status, body: answer } = await cluster.api<RewoundStream>('POST', `/v1/streams/${stream}/rewind`, body);
    assert.equal(status, 200, JSON.stringify(answer));
    const { tablets } = body as { tablets?: string[] };
    const isDone = ({ tabletId, rewound, copy }: TabletView): boolean =>
      !(tablets?.includes(tabletId) ?? true) || (rewound === answer.rewind && copy === undefined);
    await cluster.waitForTablets(stream, isDone, 120_000);
  }

  const verify = async (stream: string): Promise<string> => {
    const { code, out, err } = await cluster.cli(['verify', stream]);
    return `${code}\n${out}${err}`;
  };

  it('a tablet ships again from an operation on: once each, in order, behind an event that says so', async () => {
    const [stream, table] = ['back', 'back.a'];
    await javaTool('create-table', { masters: cluster.masters, table, shape: 'small', buckets: 2 });
    await cluster.createStream(stream, [table]);
    const first = await writeMixed({ masters: cluster.masters, table, ops: 400, keys: 100 });
    const [tablet] = await cluster.waitForTablets(stream, isCaughtUp);
    const { tabletId, applyOpId } = tablet!;
    const from = parseOpId(applyOpId!).index + 1n;
    const second = await writeMixed({ masters: cluster.masters, table, ops: 400, keys: 100, seed: 8 });
    await cluster.waitForTablets(stream, isCaughtUp);
    const before = await positionsIn(stream, first.applied + second.applied);
    assert.ok([...before.values()].every((times) => times === 1));

    await rewind(stream, { to: `${parseOpId(applyOpId!).term}.${from}`, tablets: [tabletId] });
    const third = await writeMixed({ masters: cluster.masters, table, ops: 100, keys: 100, seed: 9 });
    await cluster.waitForTablets(stream, isCaughtUp);
    const events = await eventsOf(stream);
    assert.equal(events.length, 1, JSON.stringify(events));
    const [{ event, tablet_id: told, rewound, index: upTo }] = events as [EventRecord];
    assert.deepEqual([event, told, rewound?.by, rewound?.from_index], ['rewound', tabletId, 'log', Number(from)]);
    let again = 0;
    for (const [position, times] of await positionsIn(stream, first.applied + second.applied + third.applied)) {
      const [, tablet, index] = /^(\w+)\/\d+\.(\d+)\./.exec(position)!;
      const isAgain = tablet === tabletId && BigInt(index!) >= from && BigInt(index!) < BigInt(upTo);
      if (isAgain) again++;
      assert.equal(times, isAgain ? 2 : 1, position);
    }
    assert.ok(again > 50, `${again} records came again`);
    await cluster.foldIsTable(stream, table, { lenient: true });
    assert.match(await verify(stream), /^0\n/, 'what was asked for is no fault');

    const { body } = await cluster.api<NewestRecords>('GET', `/v1/streams/${stream}/records?last=5`);
    const newest = await recordsIn(cluster.kafka, stream, 5);
    // The end of each partition: a tablet's times rise there, those of several do not.
    const ends = [...new Set(newest.map(({ partition }) => partition))].flatMap((partition) =>
      newest
        .filter((record) => record.partition === partition)
        .sort((x, y) => Number(x.offset - y.offset))
        .slice(-5),
    );
    const times = ends.map(({ timestampMs }) => timestampMs).sort((x, y) => y - x);
    assert.deepEqual(
      body.records.map(({ at }) => Date.parse(at!)),
      times.slice(0, 5),
    );
    const shown = body.records.find(({ value }) => value !== null)!;
    assert.deepEqual([shown.table, shown.place['topic']], [table, stream]);
    assert.ok(
      newest.some(
        ({ headers, offset }) => headers['spoor.pos'] === shown.position && Number(offset) === shown.place['offset'],
      ),
    );
    const path = `/v1/streams/${stream}/trace?position=${encodeURIComponent(shown.position!)}`;
    const steps = await eventually('its marker is in the log', async () => {
      const { body: trace } = await cluster.api<TraceView>('GET', path);
      return trace.steps.every(({ is }) => is === 'done') && trace.steps;
    });
    assert.deepEqual([steps[0]!.step, steps[1]!.facts['offset']], ['log', String(shown.place['offset'])]);
    assert.match(steps[0]!.facts['segment']!, /wal-\d+/);
  });

  it('a stream ships again from a time on, under load, with a sidecar killed meanwhile', async (t) => {
    const [stream, table] = ['back-again', 'back.b'];
    await javaTool('create-table', { masters: cluster.masters, table, shape: 'small', buckets: 3 });
    await cluster.createStream(stream, [table]);
    using load = Load.start(cluster, table, { ops: LOAD_OPS, rate: LOAD_RATE, keys: 2_000, seed: 5 });
    await sleep(1_000);
    const to = new Date().toISOString();
    await sleep(1_500);
    const asked = rewind(stream, { to });
    await sleep(300);
    const sidecar = cluster.sidecars[1]!;
    await sidecar.kill();
    await sleep(500);
    await sidecar.restart();
    await asked;
    const { applied } = await load.finished();
    await cluster.waitForTablets(stream, isCaughtUp, 120_000);
    const rewound = (await eventsOf(stream)).filter(({ event }) => event === 'rewound');
    assert.equal(new Set(rewound.map((each) => each.tablet_id)).size, 3, JSON.stringify(rewound));
    const { records } = await cluster.foldIsTable(stream, table, { lenient: true });
    assert.ok(records > applied, `${records} records of ${applied} operations`);
    t.diagnostic(`${applied} operations, ${records} records`);
    assert.match(await verify(stream), /^0\n/);
  });

  it('where the log does not reach back so far, what changed since then is read from the table', async () => {
    const [stream, table] = ['back-far', 'back.c'];
    await javaTool('create-table', { masters: cluster.masters, table, shape: 'small', buckets: 1 });
    await cluster.createStream(stream, [table]);
    using client = await KuduClient.connect({ masters: cluster.masters.split(',') });
    const opened = await client.openTable({ name: table });
    const note = (): string => randomBytes(20_000).toString('hex'); // the log is compressed
    for (const id of [0n, 1n]) await opened.write([{ type: 'insert', row: { id, amount: 1, note: 'before' } }]);
    await sleep(1_100);
    const to = new Date().toISOString();
    for (let id = 2; id < LARGE_OPS; id++)
      await opened.write([{ type: 'insert', row: { id: BigInt(id), amount: 1, note: note() } }]);
    await opened.write([{ type: 'delete', row: { id: 1n } }]);
    const [{ tabletId } = { tabletId: '' }] = await cluster.waitForTablets(stream, isCaughtUp);
    await eventually(
      'the log of then is gone',
      async () => {
        await opened.write([{ type: 'upsert', row: { id: 3n, amount: 2, note: note() } }]);
        await sleep(100);
        const isGone = ({ walDir }: { readonly walDir: string }): boolean =>
          !existsSync(join(walDir, 'wals', tabletId, 'wal-000000001'));
        const [tablet] = await cluster.tablets(stream);
        return cluster.kudu.tservers.every(isGone) && (tablet!.hold?.index ?? 0) > 10;
      },
      90_000,
    );
    await cluster.waitForTablets(stream, isCaughtUp);
    await rewind(stream, { to });
    const [{ rewound } = { rewound: undefined }] = (await eventsOf(stream)).filter(({ event }) => event === 'rewound');
    const fold = await cluster.foldIsTable(stream, table, { lenient: true });
    assert.match(await verify(stream), /^0\n/);
    assert.equal(rewound?.by, 'history');
    assert.deepEqual([fold.baseRows, fold.baseDeletes], [LARGE_OPS - 2, 1], 'and not what did not change');
  });

  it('an operation that the sink will never take is left out, told and kept, and what follows is shipped', async () => {
    const [stream, table] = ['poisoned', 'back.d'];
    await javaTool('create-table', { masters: cluster.masters, table, shape: 'small', buckets: 1 });
    await cluster.createStream(stream, [table], { sink: { topicConfig: { 'max.message.bytes': '4000' } } });
    using client = await KuduClient.connect({ masters: cluster.masters.split(',') });
    const opened = await client.openTable({ name: table });
    const insert = (id: number, note: string) =>
      opened.write([{ type: 'insert', row: { id: BigInt(id), amount: 1, note } }]);
    await insert(1, 'small');
    await insert(2, 'x'.repeat(9_000));
    await insert(3, 'small');
    const [blocked] = await cluster.waitForTablets(stream, ({ state }) => state === 'blocked');
    const { tabletId, error, applyOpId } = blocked!;
    const opId = /\/(\d+\.\d+)\.\d+/.exec(error!.message)?.[1];
    assert.ok(opId, error!.message);
    const shipped = await cluster.cli(['streams', 'skip', stream, '--tablet', tabletId, '--opid', applyOpId!]);
    assert.equal(shipped.code, 1);
    assert.match(shipped.err, new RegExp(`opId: operation ${applyOpId!} is shipped already`));
    const { code, err } = await cluster.cli(['streams', 'skip', stream, '--tablet', tabletId, '--opid', opId]);
    assert.equal(code, 0, err);
    await cluster.waitForTablets(stream, isCaughtUp);
    const rows = await recordsIn(cluster.kafka, stream, 2);
    assert.deepEqual(rows.map(({ key }) => key!.toString()).sort(), ['{"id":1}', '{"id":3}']);
    const events = await eventsOf(stream);
    assert.deepEqual(
      events.map(({ event, term, index }) => [event, `${term}.${index}`]),
      [['skipped', opId]],
    );
    assert.match(await verify(stream), /\nunseen +1 rows have no record/);
    const audits = await Promise.all(cluster.sidecars.map(async (sidecar) => readFile(sidecar.logFile, 'utf8')));
    assert.match(audits.join(''), new RegExp(`/v1/streams/poisoned/skip.*${opId.replace('.', '\\.')}`));
  });
});
