import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import { partitionForKey } from '../../src/sinks/kafka/murmur2.ts';
import { serversMissing } from '../support/cluster.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { Random } from '../support/random.ts';
import { isCaughtUp, type CliEnd, type SpoorCluster } from '../support/spoor-cluster.ts';
import { recordsIn } from '../support/topic-reader.ts';

type Values = Readonly<Record<string, unknown>>;
interface Envelope {
  readonly op: string;
  readonly before: Values | null;
  readonly after: Values | null;
  readonly source: { readonly image?: string };
}
const WRITES = 150;
const PARTITIONS = 3;

describe('what a stream selects', { skip: await serversMissing(), timeout: 300_000 }, () => {
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

  const createOrders = (name: string): Promise<KuduTable> =>
    client.createTable({
      name,
      columns: [
        { name: 'id', type: 'INT32', key: true },
        { name: 'region', type: 'STRING', key: true },
        { name: 'state', type: 'STRING', nullable: true, default: 'new' },
        { name: 'amount', type: 'DECIMAL', precision: 9, scale: 2, nullable: true },
        { name: 'email', type: 'STRING', nullable: true },
        { name: 'phone', type: 'STRING', nullable: true },
        { name: 'card', type: 'STRING', nullable: true },
      ],
      hash: [{ columns: ['id'], buckets: 2 }],
      numReplicas: 3,
    });

  function verify(...args: readonly string[]): Promise<CliEnd> {
    return cluster.cli(['verify', ...args]);
  }

  it('folds to the selected part of the table, is placed as it says, and is found right by verify', async (t) => {
    const table = await createOrders('shop.orders');
    const random = new Random(13);
    for (let i = 0; i < WRITES / 3; i++) await write(table, random);
    const saltFile = join(cluster.dir, 'salt');
    await writeFile(saltFile, 'pepper\n');
    const where = "state = 'paid' AND amount > 100";
    await cluster.createStream('selected', ['shop.orders'], {
      start: 'snapshot',
      images: 'full',
      where: { 'shop.orders': where },
      columns: {
        'shop.orders': {
          exclude: ['card'],
          mask: { email: '****' },
          truncate: { state: 3 },
          hash: { columns: ['phone', 'region'], saltFile },
        },
      },
      partitionBy: ['region'],
    });
    await cluster.waitForTablets('selected', isCaughtUp); // what follows is none of its copy's
    await cluster.createStream('without-deletes', ['shop.orders'], { images: 'full', skipOperations: ['d'] });
    await cluster.createStream('nothing', ['shop.orders'], { where: { '*': 'id < 0' } });
    for (let i = 0; i < WRITES; i++) await write(table, random);
    for (const stream of ['selected', 'without-deletes', 'nothing']) {
      // The position moves with what is left out as with all else.
      await cluster.waitForTablets(stream, isCaughtUp);
    }

    const records = await recordsIn(cluster.kafka, 'selected', 10);
    const rows = new Map<string, Values>();
    const seen = new Set<string>();
    for (const { key, value, partition } of records) {
      const name = key!.toString();
      const { region } = JSON.parse(name) as { region: string };
      const route = Buffer.from(JSON.stringify({ region }));
      assert.equal(partition, partitionForKey(route, PARTITIONS, 0, route.length));
      if (value === null) continue;
      assert.doesNotMatch(value.toString(), /card-4111|@shop|"\+49/);
      const { op, before: was, after: now } = JSON.parse(value.toString()) as Envelope;
      seen.add(op);
      if (op === 'c') assert.equal(rows.has(name), false);
      if (op === 'u' || op === 'd') assert.deepEqual(was, rows.get(name));
      if (now === null) rows.delete(name);
      else rows.set(name, now);
    }
    assert.deepEqual([...seen].sort(), ['c', 'd', 'r', 'u']);
    const hash = (text: unknown): string => createHmac('sha256', 'pepper').update(String(text)).digest('hex');
    const want = (await table.scan().toArray())
      .filter(({ state, amount }) => state === 'paid' && amount !== null && Number(amount) > 100)
      .map(({ id, region, amount, phone }) => {
        return {
          id,
          region: hash(region),
          state: 'pai',
          amount,
          email: '****',
          phone: phone === null ? null : hash(phone),
        };
      });
    assert.ok(want.length > 3, 'there is something to compare');
    assert.deepEqual(sorted([...rows.values()]), sorted(want));

    const { code, out, err } = await verify('selected');
    t.diagnostic(out.replaceAll(/\s*\n\s*/g, '; '));
    assert.equal(code, 0, out + err);
    assert.match(out, new RegExp(`rows +${want.length} compared`));
    const refused = await verify('selected', '--repair');
    assert.equal(refused.code, 2, refused.out + refused.err);
    assert.match(refused.err, /the stream hashes "region" of their key/);
    await writeFile(saltFile, 'another');
    assert.equal((await verify('selected')).code, 1, 'it does compare');
    const skipped = await verify('without-deletes');
    assert.equal(skipped.code, 0, skipped.out + skipped.err);
    assert.match(skipped.out, /unchecked +[1-9]\d* rows are extra or different: .*skipOperations/);
    const [{ status }, none] = [await cluster.api('GET', '/v1/streams/nothing'), await verify('nothing')];
    assert.deepEqual([status, none.code], [200, 0], none.out + none.err);
  });

  it('blocks the tablets of a table that comes later and does not fit, and no others', async () => {
    await createOrders('later.fits');
    const columns = { 'later.misfit': { exclude: ['nowhere'] } };
    await cluster.createStream('later', ['later.*'], { columns });
    await createOrders('later.misfit');
    const table = await client.openTable({ name: 'later.fits' });
    const misfit = await client.openTable({ name: 'later.misfit' });
    for (const each of [table, misfit])
      await each.write([{ type: 'insert', row: { id: 1, region: 'eu', card: 'card-4111' } }]);
    const tablets = await cluster.waitForTablets('later', ({ table: name, state, lagOps }) =>
      name === 'later.fits' ? state === 'running' && lagOps === 0 : true,
    );
    assert.ok(tablets.length >= 2);
    const isBlocked = ({ table: name, error }: { table: string; error?: { code: string } }): boolean =>
      name === 'later.misfit' && error?.code === 'SPOOR_SELECTION';
    let blocked: readonly { readonly table: string; readonly error?: { readonly message: string } }[] = [];
    for (const endAt = Date.now() + 30_000; blocked.length === 0 && Date.now() < endAt;)
      blocked = (await cluster.tablets('later')).filter(isBlocked);
    assert.match(
      blocked[0]!.error!.message,
      /table "later\.misfit" .*exclude names "nowhere", which the table has not/,
    );
    assert.equal((await recordsIn(cluster.kafka, 'later', 1)).length, 1, 'nothing of it is shipped');
    const { status } = await cluster.api('PATCH', '/v1/streams/later', {
      columns: { 'later.misfit': { exclude: ['card'] } },
    });
    assert.equal(status, 200);
    await cluster.waitForTablets('later', isCaughtUp);
    const records = await recordsIn(cluster.kafka, 'later', 2);
    const ofMisfit = records.filter(({ value }) => value?.includes('later.misfit'));
    assert.deepEqual([records.length, ofMisfit.length, ofMisfit[0]!.value!.includes('card-4111')], [2, 1, false]);
  });

  for (const oversize of ['dead-letter', 'key-only'] as const)
    it(`goes on behind a record that is too large: ${oversize}`, async () => {
      const table = await createOrders(`large.${oversize}`);
      const topic = `large-${oversize}`;
      await cluster.createStream(topic, [`large.${oversize}`], {
        oversize,
        sink: { topicConfig: { 'max.message.bytes': '4000' } },
      });
      await table.write([{ type: 'insert', row: { id: 1, region: 'eu', card: 'small' } }]);
      await table.write([
        { type: 'insert', row: { id: 2, region: 'eu', card: 'x'.repeat(5_000) } },
        { type: 'insert', row: { id: 3, region: 'eu', card: 'small' } },
      ]);
      await cluster.waitForTablets(topic, isCaughtUp);
      const envelopes = (await recordsIn(cluster.kafka, topic, oversize === 'key-only' ? 3 : 2)).map(
        ({ value }) => JSON.parse(value!.toString()) as Envelope,
      );
      const ids = envelopes.map(({ after: row }) => Number(row?.['id'])).sort();
      if (oversize === 'key-only') {
        assert.deepEqual(ids, [1, 2, 3]);
        const large = envelopes.find(({ after: row }) => row?.['id'] === 2)!;
        assert.deepEqual([large.after, large.source.image], [{ id: 2, region: 'eu' }, 'key-only']);
        return;
      }
      assert.deepEqual(ids, [1, 3]);
      const [letter, ...others] = await recordsIn(cluster.kafka, `${topic}.dead-letter`, 1);
      assert.equal(others.length, 0);
      const { key, reason, position } = JSON.parse(letter!.value!.toString()) as Record<string, unknown>;
      assert.deepEqual(key, { id: 2, region: 'eu' });
      assert.match(String(reason), /does not take the record .* raise its max\.message\.bytes/);
      assert.equal(position, letter!.headers['spoor.pos']);
    });
});

async function write(table: KuduTable, random: Random): Promise<void> {
  const id = random.next(40);
  const key = { id, region: id % 3 === 0 ? 'eu' : 'us' };
  const type = random.pick(['insert', 'upsert', 'upsert', 'upsert', 'update', 'update', 'delete'] as const);
  if (type === 'delete') {
    await table.write([{ type, row: key }]);
    return;
  }
  await table.write([
    {
      type,
      row: {
        ...key,
        ...(!random.once(4) && { state: random.pick(['paid', 'paid', 'open', null]) }),
        ...(!random.once(4) && { amount: random.once(5) ? null : `${50 + random.next(300)}.50` }),
        email: `${id}@shop`,
        phone: random.once(4) ? null : `+49 ${random.next(5)}`,
        card: 'card-4111',
      },
    },
  ]);
}

function sorted(rows: readonly Values[]): readonly string[] {
  return rows.map((row) => JSON.stringify(row)).sort();
}
