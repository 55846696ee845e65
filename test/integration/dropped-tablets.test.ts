import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import type { HashSpec } from '../../src/kudu/ddl.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import type { TableFold } from '../support/fold.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';

const PER_DAY = 1500;

/** Rows that go with their range partition or table, without a delete of their own. */
describe('dropped tablets', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let watch: ReplicaWatch;
  let client: KuduClient;
  before(async () => {
    lease = await leaseCluster({ env: { SPOOR_LOG_LEVEL: 'debug' } });
    cluster = lease.cluster;
    watch = await ReplicaWatch.open(cluster);
    client = await KuduClient.connect({ masters: cluster.kudu.masters });
  });
  after(async () => {
    client[Symbol.dispose]();
    watch[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  /** A table of days, two hash buckets each, or as that day says. */
  async function createDays(
    name: string,
    days: readonly number[],
    ownHash: Readonly<Record<number, { readonly hash: readonly HashSpec[] }>> = {},
  ): Promise<void> {
    await client.createTable({
      name,
      columns: [
        { name: 'day', type: 'INT32', key: true },
        { name: 'id', type: 'INT64', key: true },
        { name: 'note', type: 'STRING', nullable: true },
      ],
      hash: [{ columns: ['id'], buckets: 2 }],
      range: {
        columns: ['day'],
        partitions: days.map((day) => ({ lower: { day }, upper: { day: day + 1 }, ...ownHash[day] })),
      },
      numReplicas: 3,
    });
  }

  async function write(table: string, day: number, from = 0, count = PER_DAY): Promise<void> {
    const opened = await client.openTable({ name: table });
    for (let at = from; at < from + count; at += 500)
      await opened.write(
        Array.from({ length: Math.min(500, from + count - at) }, (_, i) => ({
          type: 'insert' as const,
          row: { day, id: BigInt(at + i), note: `${day} ${at + i}` },
        })),
      );
  }

  const dropDay = async (name: string, day: number): Promise<void> => {
    await client.alterTable({ name }, { steps: [{ dropRange: { lower: { day }, upper: { day: day + 1 } } }] });
  };
  /** What the schema topic says of dropped tablets, in the order of their partitions. */
  const told = (fold: TableFold): string[] =>
    fold.events.map(({ event, partition }) => `${event} ${JSON.stringify(plain(partition))}`).sort();
  const OF_TABLE = '{"columns":["id"],"bucket":_,"buckets":2}';
  const range = (event: string, bucket: number, day: number, hash = OF_TABLE): string =>
    `${event} {"hash":[${hash.replace('_', String(bucket))}],"range":{"lower":{"day":${day}},"upper":{"day":${day + 1}}}}`;
  const heldNowhere = async (tabletIds: readonly string[]): Promise<boolean> => {
    for (const number of [0, 1, 2])
      if ((await watch.heldTablets(number)).some((id) => tabletIds.includes(id))) return false;
    return true;
  };

  it('are told with what they had of the table, behind all of their rows (trap 30)', async () => {
    await createDays('drop.days', [1, 2, 3], { 1: { hash: [{ columns: ['day', 'id'], buckets: 3 }] } });
    await cluster.createStream('days', ['drop.days']);
    for (const day of [1, 2]) await write('drop.days', day);
    await cluster.waitForTablets('days', isCaughtUp);
    await sleep(2500); // a tablet that no sidecar has looked at is let go of later: nobody knows whose it was
    const before = await watch.tabletIds('drop.days');
    await dropDay('drop.days', 1);
    await dropDay('drop.days', 3);
    const after = await watch.tabletIds('drop.days');
    await eventually('the end is told', async () => (await cluster.tablets('days')).length === 2);
    await cluster.waitForTablets('days', isCaughtUp);
    const dropped = before.filter((id) => !after.includes(id));
    await eventually('their logs are let go of', () => heldNowhere(dropped));
    const fold = await cluster.foldIsTable('days', 'drop.days');
    assert.equal(fold.records, 2 * PER_DAY, 'all their rows came before');
    const ofItsOwnHash = [0, 1, 2].map((bucket) =>
      range('range-dropped', bucket, 1, '{"columns":["day","id"],"bucket":_,"buckets":3}'),
    );
    assert.deepEqual(told(fold), [...ofItsOwnHash, range('range-dropped', 0, 3), range('range-dropped', 1, 3)].sort());
  });

  it('hand the telling of the schema on: what changes later is told once', async () => {
    await createDays('drop.teller', [1, 2, 3]);
    await cluster.createStream('teller', ['drop.teller']);
    for (const day of [1, 2, 3]) await write('drop.teller', day, 0, 200);
    await cluster.waitForTablets('teller', isCaughtUp);
    let rows = 200; // of the days that are left
    /** Drops the day whose tablet tells the schema; the next one says what is in force where it begins to. */
    const dropTeller = async (day: number): Promise<void> => {
      const tellers = async (): Promise<number> =>
        new Set((await cluster.schemaRecords('teller')).map((record) => record.tablet_id)).size;
      const before = await tellers();
      await dropDay('drop.teller', day);
      await eventually('another tablet tells it', async () => {
        await write('drop.teller', day + 1, rows, 10);
        rows += 10;
        return (await tellers()) > before;
      });
    };
    const addColumn = async (name: string): Promise<void> => {
      await client.alterTable({ name: 'drop.teller' }, { steps: [{ add: { name, type: 'INT32', nullable: true } }] });
    };
    await dropTeller(1);
    await addColumn('first');
    await write('drop.teller', 2, rows, 100);
    await cluster.waitForTablets('teller', isCaughtUp);
    await dropTeller(2); // whose tablet told it in the place of the first
    await addColumn('second');
    await write('drop.teller', 3, rows, 100);
    await cluster.waitForTablets('teller', isCaughtUp);
    const changes = (await cluster.schemaRecords('teller')).filter(({ before }) => before !== null);
    assert.deepEqual(
      changes.map(({ after }) => after?.columns.map(({ name }) => name).slice(3)),
      [['first'], ['first', 'second']],
    );
    await eventually('all ends are told', async () => (await cluster.schemaEvents('teller')).length === 4);
    const fold = await cluster.foldIsTable('teller', 'drop.teller', { records: 3 * 200 + (rows - 200) + 2 * 100 });
    assert.equal(fold.records, 3 * 200 + (rows - 200) + 2 * 100, 'each row once');
  });

  it('of a paused stream ship what was not shipped, and then their end, when it is resumed', async () => {
    await createDays('drop.paused', [1, 2]);
    await cluster.createStream('pause', ['drop.paused']);
    await write('drop.paused', 1);
    await cluster.waitForTablets('pause', isCaughtUp);
    assert.equal((await cluster.api('POST', '/v1/streams/pause/pause')).status, 200);
    await cluster.waitForTablets('pause', ({ state }) => state === 'paused');
    await write('drop.paused', 1, PER_DAY, 300);
    await dropDay('drop.paused', 1);
    await sleep(8000); // longer than what no stream wants is held
    for (const sidecar of cluster.sidecars) await sidecar.restart(); // nobody remembers but by what is on disk
    await write('drop.paused', 2);
    assert.equal((await cluster.api('POST', '/v1/streams/pause/resume')).status, 200);
    await eventually('the end is told', async () => (await cluster.schemaEvents('pause')).length === 2, 90_000);
    await cluster.waitForTablets('pause', isCaughtUp);
    const fold = await cluster.foldIsTable('pause', 'drop.paused');
    assert.equal(fold.records, 2 * PER_DAY + 300);
    assert.deepEqual(told(fold), [range('range-dropped', 0, 1), range('range-dropped', 1, 1)]);
  });

  it('end also when their sidecars were dead; a table of the same name begins with its first operation (trap 31)', async () => {
    await createDays('drop.table', [1]);
    await cluster.createStream('table', ['drop.table']);
    await write('drop.table', 1, 0, 200);
    await cluster.waitForTablets('table', isCaughtUp);
    await cluster.kafka.kill();
    await write('drop.table', 1, 200, 500);
    const before = await watch.tabletIds('drop.table');
    await Promise.all(cluster.sidecars.map((sidecar) => sidecar.kill()));
    await client.deleteTable({ name: 'drop.table' });
    await createDays('drop.table', [1]);
    await write('drop.table', 1, 100, 50);
    await cluster.kafka.restart();
    for (const sidecar of cluster.sidecars) await sidecar.restart();
    await eventually('the end is told', async () => (await cluster.schemaEvents('table')).length === 2, 90_000);
    await cluster.waitForTablets('table', isCaughtUp);
    await eventually('their logs are let go of', () => heldNowhere(before));
    const tabletIds = await watch.tabletIds('drop.table');
    const fold = await cluster.foldIsTable('table', 'drop.table', { tabletIds });
    assert.equal(fold.records, 50);
    const old = await cluster.fold('table', 700, { tabletIds: before });
    assert.equal(old.records, 700, 'what was not shipped came out of the held log');
    assert.deepEqual(told(old), [range('table-dropped', 0, 1), range('table-dropped', 1, 1)]);
  });

  it('are not those of a soft-deleted table, which takes writes still: they go on, and it may come back (trap 32)', async () => {
    await createDays('drop.soft', [1]);
    await cluster.createStream('soft', ['drop.soft']);
    const opened = await client.openTable({ name: 'drop.soft' });
    const { tableId } = opened.description;
    const insert = async (from: number, count: number): Promise<unknown> =>
      opened.write(
        Array.from({ length: count }, (_, i) => ({
          type: 'insert' as const,
          row: { day: 1, id: BigInt(from + i), note: 'soft' },
        })),
      );
    await insert(0, 300);
    await cluster.waitForTablets('soft', isCaughtUp);
    await client.deleteTable({ name: 'drop.soft' }, { reserveSeconds: 600 });
    await sleep(3000); // whatever the sidecars know of the master by then, it is that
    await insert(300, 300);
    await Promise.all(cluster.sidecars.map((sidecar) => sidecar.restart())); // and now they know nothing else
    await insert(600, 300);
    const { records } = await cluster.fold('soft', 900);
    assert.equal(records, 900);
    assert.deepEqual(await cluster.schemaEvents('soft'), []);
    const { exitCode, output } = await cluster.kudu.kuduCli(['table', 'recall', cluster.masters, tableId]);
    assert.equal(exitCode, 0, output);
    await insert(900, 100);
    const fold = await cluster.foldIsTable('soft', 'drop.soft', { records: 1000 });
    assert.equal(fold.records, 1000);
  });
});

/** Lossless JSON as the plain one. */
function plain(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, member]) => [key, plain(member)]));
  if (Array.isArray(value)) return value.map(plain);
  return typeof value === 'bigint' ? Number(value) : value;
}
