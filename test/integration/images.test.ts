import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import type { Row } from '../../src/kudu/row-operations.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import type { RowOperation } from '../../src/kudu/writer.ts';
import { serversMissing } from '../support/cluster.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { Random } from '../support/random.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

const WRITES = 400;
const KEYS = 60;
const MANY = 40;
const KEY_SHAPES: Readonly<Record<string, KeyShape>> = {
  'an INT32': { columns: [{ name: 'k', type: 'INT32' }], keyOf: (i) => ({ k: i }) },
  'an INT8 up to its highest': { columns: [{ name: 'k', type: 'INT8' }], keyOf: (i) => ({ k: 127 - i }) },
  'a STRING': { columns: [{ name: 'n', type: 'STRING' }], keyOf: (i) => ({ n: `key ${i}` }) },
  'a STRING and an INT32': {
    columns: [
      { name: 'n', type: 'STRING' },
      { name: 'k', type: 'INT32' },
    ],
    keyOf: (i) => ({ n: `key ${i % 3}`, k: i }),
  },
};

interface KeyShape {
  readonly columns: readonly { readonly name: string; readonly type: 'INT8' | 'INT32' | 'STRING' }[];
  readonly keyOf: (i: number) => Readonly<Record<string, number | string>>;
}

interface RowRecord {
  readonly op: 'c' | 'u' | 'd' | 'r';
  readonly before: Row | null;
  readonly after: Row | null;
  readonly source: { readonly hybrid_time: string; readonly image?: string; readonly kudu_op: string | null };
}

/** Each record is held against what Kudu itself says of the row just before and just after its operation. */
describe('whole rows', { skip: await serversMissing(), timeout: 240_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let client: KuduClient;
  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
    client = await KuduClient.connect({ masters: cluster.kudu.masters });
  });
  after(async () => {
    client[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  it('are what a scan at the operation shows, with updates of some columns, leaders that change and sidecars that die', async (t) => {
    const table = await client.createTable({
      name: 'images.t',
      columns: [
        { name: 'k', type: 'INT32', key: true },
        { name: 'name', type: 'STRING', key: true },
        { name: 'a', type: 'INT32', nullable: true },
        { name: 's', type: 'STRING', nullable: true, default: 'by default' },
        { name: 'd', type: 'DECIMAL', precision: 9, scale: 2, nullable: true },
        { name: 'm', type: 'INT32', nullable: true, immutable: true },
      ],
      hash: [{ columns: ['k'], buckets: 2 }],
      numReplicas: 3,
    });
    for (const images of ['after', 'full']) await cluster.createStream(`images-${images}`, ['images.t'], { images });
    using watch = await ReplicaWatch.open(cluster);
    const [tabletId] = await watch.tabletIds('images.t');
    const random = new Random(4711);
    let sure = 0;
    for (let i = 0; i < WRITES; i++) {
      const wanted = operations(random);
      const { rowErrors } = await table.write(wanted);
      const refused = new Set(rowErrors.map(({ index }) => index));
      // What an `_IGNORE` operation passes over is told to nobody.
      sure += wanted.filter(({ type }, index) => !refused.has(index) && !type.endsWith('-ignore')).length;
      if (i % 100 === 50) await watch.stepDown(tabletId!);
      if (i === 220) await cluster.sidecars[0]!.kill();
      if (i === 240) await cluster.sidecars[0]!.restart();
    }
    for (const images of ['after', 'full'] as const) {
      await cluster.waitForTablets(`images-${images}`, isCaughtUp);
      const checked = await check(cluster, `images-${images}`, table, images, sure);
      t.diagnostic(`${images}: ${checked} records are as Kudu says, of ${sure} rows at least`);
    }
  });

  // One read gets many rows at once, between a lowest and a highest key: each shape of key has its own bytes above the highest.
  for (const [shape, { columns, keyOf }] of Object.entries(KEY_SHAPES))
    it(`are whole where many are read at once by ${shape}`, async () => {
      const stream = `images-by-${shape.replaceAll(' ', '-').toLowerCase()}`;
      const table = await client.createTable({
        name: stream,
        columns: [
          ...columns.map((column) => ({ ...column, key: true })),
          { name: 'a', type: 'INT32', nullable: true },
          { name: 's', type: 'STRING', nullable: true },
        ],
        hash: [{ columns: [columns[0]!.name], buckets: 2 }],
        numReplicas: 3,
      });
      const rows = Array.from({ length: MANY }, (_, i) => ({ ...keyOf(i), a: i }));
      await table.write(rows.map((row): RowOperation => ({ type: 'insert', row: { ...row, s: 'left alone' } })));
      await cluster.createStream(stream, [stream], { images: 'full' });
      await cluster.waitForTablets(stream, isCaughtUp);
      await table.write(rows.map((row): RowOperation => ({ type: row.a % 2 === 0 ? 'update' : 'upsert', row })));
      assert.equal(await check(cluster, stream, table, 'full', MANY), MANY);
    });
});

/** Of distinct keys, so that a scan tells each apart; some are refused, and make no record. */
function operations(random: Random): RowOperation[] {
  const keys = new Set(Array.from({ length: 1 + random.next(8) }, () => random.next(KEYS)));
  return [...keys].map((k): RowOperation => {
    const type = random.pick([
      'insert',
      'upsert',
      'upsert',
      'update',
      'update',
      'update',
      'delete',
      'upsert-ignore',
      'update-ignore',
    ] as const);
    const key = { k, name: `key ${k % 7}` };
    if (type === 'delete') return { type, row: key };
    const row: Record<string, number | string | null> = { ...key };
    if (random.once(2)) row['a'] = random.once(4) ? null : random.next(1000);
    if (random.once(2)) row['s'] = random.once(4) ? null : 'x'.repeat(random.next(40));
    if (random.once(2)) row['d'] = `${random.next(1000)}.25`;
    if (random.once(6)) row['m'] = random.next(1000);
    return { type, row };
  });
}

async function check(
  cluster: SpoorCluster,
  topic: string,
  table: KuduTable,
  images: 'after' | 'full',
  sure: number,
): Promise<number> {
  const records: RowRecord[] = [];
  const keys = table.description.schema.columns.filter(({ isKey }) => isKey).map(({ name }) => name);
  await using reader = await TopicReader.start({
    brokers: cluster.kafka.brokers,
    topics: [topic],
    onRecord: ({ value }) => value && records.push(JSON.parse(value.toString()) as RowRecord),
  });
  await reader.settle(() => records.length >= sure, { timeoutMs: 60_000 });
  for (const record of records) {
    const { op, source, before: was, after: now } = record;
    assert.equal(source.image, undefined, 'no row is less than whole');
    if (op === 'r') continue;
    const time = BigInt(source.hybrid_time);
    const image = (now ?? was)!;
    const at = async (read: bigint): Promise<Row | null> => {
      const predicates = keys.map((column) => ({ column, is: '=' as const, value: image[column]! }));
      const [row] = await table.scan({ read: { mode: 'snapshot', at: read }, predicates }).toArray();
      return row ?? null;
    };
    const label = JSON.stringify(record);
    assert.deepEqual(now, plain(await at(time + 1n)), label);
    if (images === 'after') continue;
    const before = plain(await at(time));
    assert.deepEqual(was, before, label);
    if (source.kudu_op?.startsWith('UPSERT') === true) assert.equal(op, before === null ? 'c' : 'u', label);
  }
  return records.length;
}

function plain(row: Row | null): Row | null {
  return row && { ...row };
}
