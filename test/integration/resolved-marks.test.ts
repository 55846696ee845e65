import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import { encodeKey } from '../../src/kudu/key-encoder.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

const PARTITIONS = 3;
/** What a topic's marks say of one tablet in one partition. */
class Marks {
  /** By `<partition> <tablet>`. */
  readonly last = new Map<string, bigint>();
  readonly faults: string[] = [];
  marks = 0;
  rows = 0;

  take(partition: number, headers: Readonly<Record<string, string>>, key: Buffer | null, value: Buffer | null): void {
    const mark = headers['spoor.resolved'];
    if (mark !== undefined) {
      const [tablet, time] = mark.split('/') as [string, string];
      const json = JSON.parse(String(value)) as { resolved: string; tablet_id: string };
      if (key !== null || json.resolved !== time || json.tablet_id !== tablet) this.faults.push(`a mark of ${mark}`);
      const before = this.last.get(`${partition} ${tablet}`);
      if (before !== undefined && BigInt(time) <= before) this.faults.push(`${mark} after ${before}`);
      this.last.set(`${partition} ${tablet}`, BigInt(time));
      this.marks++;
      return;
    }
    if (value === null) return;
    this.rows++;
    const { source } = JSON.parse(String(value)) as { source: { tablet_id: string; hybrid_time: string } };
    const resolved = this.last.get(`${partition} ${source.tablet_id}`) ?? -1n;
    if (BigInt(source.hybrid_time) <= resolved)
      this.faults.push(`${headers['spoor.pos']!} of ${source.hybrid_time} comes after ${resolved} was resolved`);
  }
}

describe('marks of what is resolved', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let watch: ReplicaWatch;
  let client: KuduClient;
  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
    watch = await ReplicaWatch.open(cluster);
    client = await KuduClient.connect({ masters: cluster.kudu.masters });
  });
  after(async () => {
    client[Symbol.dispose]();
    watch[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  async function read(stream: string, isEnough: (marks: Marks) => boolean): Promise<Marks> {
    const marks = new Marks();
    await using reader = await TopicReader.start({
      brokers: cluster.kafka.brokers,
      topics: [stream],
      onRecord: ({ partition, headers, key, value }) => {
        marks.take(partition, headers, key, value);
      },
    });
    await reader.settle(() => isEnough(marks), { quietMs: 0, timeoutMs: 60_000 });
    return marks;
  }

  it('come behind all that they speak of, in every partition, through a base copy and a leader killed with its sidecar', async () => {
    await javaTool('create-table', { masters: cluster.masters, table: 'marks.t', shape: 'small' });
    {
      using load = Load.start(cluster, 'marks.t', { ops: 3_000, keys: 500 });
      await load.stop();
    }
    using load = Load.start(cluster, 'marks.t', { rate: 1_500, keys: 500 });
    await cluster.createStream('marks', ['marks.t'], { start: 'snapshot', resolved: { intervalMs: 1000 } });
    await cluster.waitForTablets('marks', ({ state }) => state === 'running');
    await sleep(4_000);
    const [, leader] = [...(await watch.leaders())].find(([id]) => id.length > 0)!;
    await Promise.all([cluster.kudu.tservers[leader]!.kill(), cluster.sidecars[leader]!.kill()]);
    await sleep(5_000);
    await cluster.kudu.tservers[leader]!.restart();
    await cluster.sidecars[leader]!.restart();
    await sleep(3_000);
    await load.stop();
    await cluster.waitForTablets('marks', isCaughtUp);
    const tabletIds = await watch.tabletIds('marks.t');
    const marks = await read('marks', ({ last }) => last.size === tabletIds.length * PARTITIONS);
    assert.deepEqual(marks.faults, []);
    assert.ok(marks.rows > 3_000);
  });

  it('go on although nothing is written, and end when they are no more wanted', async () => {
    const nowMs = Date.now();
    const isLate = ({ last }: Marks): boolean =>
      last.size > 0 && [...last.values()].every((time) => Number(time >> 12n) / 1000 > nowMs);
    const marks = await read('marks', isLate);
    assert.deepEqual(marks.faults, []);
    const { status } = await cluster.api('PATCH', '/v1/streams/marks', { resolved: null });
    assert.equal(status, 200);
    await cluster.waitForTablets('marks', isCaughtUp);
    await cluster.foldIsTable('marks', 'marks.t'); // also the copy, and what came after the leader's death
    await sleep(1_500);
    const before = (await cluster.tablets('marks')).map(({ committedOpId }) => committedOpId);
    await sleep(4_000);
    assert.deepEqual(
      (await cluster.tablets('marks')).map(({ committedOpId }) => committedOpId),
      before,
      'an idle log stands still again',
    );
  });

  it('puts named rows right under load: the row as it is, or its delete, and no older value behind a newer one', async () => {
    using load = Load.start(cluster, 'marks.t', { rate: 1_000, keys: 500 });
    const tabletIds = await watch.tabletIds('marks.t');
    const opened = await client.openTable({ name: 'marks.t' });
    const keyColumns = opened.description.schema.columns.filter(({ isKey }) => isKey);
    // 500 and later were never written: what is not there is deleted.
    const ids = Array.from({ length: 20 }, (_, i) => BigInt(490 + i));
    const tabletOf = new Map(
      await Promise.all(ids.map(async (id): Promise<[bigint, string]> => [id, (await opened.tabletOf({ id }))!])),
    );
    const keyOf = (id: bigint): string => encodeKey(keyColumns, { id }).toString('base64');
    const [stray] = ids.filter((id) => tabletOf.get(id) !== tabletIds[0]);
    const refused = await cluster.api<{ detail: string }>('POST', '/v1/streams/marks/resync', {
      tablets: [tabletIds[0]],
      keys: [keyOf(stray!)],
    });
    assert.equal(refused.status, 400, 'a row of another tablet would be deleted');
    for (const tablet of tabletIds) {
      const keys = ids.filter((id) => tabletOf.get(id) === tablet).map(keyOf);
      const { status, body } = await cluster.api<{ correction: string }>('POST', '/v1/streams/marks/resync', {
        tablets: [tablet],
        keys,
      });
      assert.equal(status, 200, JSON.stringify(body));
      await eventually('it is in the sink', async () =>
        (await cluster.tablets('marks')).some(
          ({ tabletId, corrected }) => tabletId === tablet && corrected === body.correction,
        ),
      );
    }
    await load.stop();
    await cluster.waitForTablets('marks', isCaughtUp);
    const fold = await cluster.foldIsTable('marks', 'marks.t');
    assert.ok(fold.baseDeletes >= 10, 'a row that is not there is deleted');
    assert.ok(fold.baseRows > 0);
  });
});
