import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TableDescription, TabletLocation } from '../../../src/kudu/catalog.ts';
import { KuduError } from '../../../src/kudu/errors.ts';
import { encodeKey } from '../../../src/kudu/key-encoder.ts';
import { Deadline } from '../../../src/kudu/rpc/deadline.ts';
import { RowOpType, RowOperationsEncoder } from '../../../src/kudu/row-operations.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { TableLocations } from '../../../src/kudu/table-locations.ts';
import { column } from '../../support/kudu-columns.ts';

const ID = column('id', DataType.INT32, { id: 0, isKey: true });
const DAY = column('day', DataType.INT32, { id: 1, isKey: true });
const SCHEMA = { columns: [ID, DAY] };
const DEADLINE = Deadline.detached(10_000);

function describeTable(hashBuckets: number, custom: TableDescription['partitionSchema']['customHashRanges'] = []) {
  return {
    tableId: 't',
    name: 'table',
    schema: SCHEMA,
    partitionSchema: {
      hash: hashBuckets === 0 ? [] : [{ columnIds: [0], buckets: hashBuckets, seed: 0 }],
      rangeColumnIds: [1],
      customHashRanges: custom,
    },
    numReplicas: 1,
    owner: '',
    comment: '',
    extraConfigs: {},
  } satisfies TableDescription;
}

const dayKey = (day: number): Buffer => encodeKey([DAY], { day });
const bucketKey = (bucket: number): Buffer => Buffer.from([0, 0, 0, bucket]);

function tablet(tabletId: string, hashBuckets: readonly number[], start: Buffer, end: Buffer): TabletLocation {
  return { tabletId, partition: { hashBuckets, start, end }, replicas: [] };
}

/** A master whose answers are a list; it counts the questions. */
class Master {
  asked = 0;
  tablets: readonly TabletLocation[];
  constructor(tablets: readonly TabletLocation[]) {
    this.tablets = tablets;
  }
  getTableLocations(): Promise<readonly TabletLocation[]> {
    this.asked++;
    return Promise.resolve(this.tablets);
  }
  getTabletLocations(ids: readonly string[]): Promise<{ tablets: readonly TabletLocation[] }> {
    return Promise.resolve({ tablets: this.tablets.filter(({ tabletId }) => ids.includes(tabletId)) });
  }
}

describe('table locations', () => {
  // Buckets 0 and 1, each with the ranges [0, 10) and [10, end).
  const tablets = [0, 1].flatMap((bucket) => [
    tablet(
      `${bucket}-low`,
      [bucket],
      Buffer.concat([bucketKey(bucket), dayKey(0)]),
      Buffer.concat([bucketKey(bucket), dayKey(10)]),
    ),
    tablet(
      `${bucket}-high`,
      [bucket],
      Buffer.concat([bucketKey(bucket), dayKey(10)]),
      bucket === 1 ? Buffer.alloc(0) : bucketKey(1),
    ),
  ]);

  it('finds a row by bucket and range, at the bounds too', async () => {
    const locations = new TableLocations(new Master(tablets), describeTable(2));
    const rangeOf = async (day: number): Promise<string | undefined> =>
      (await locations.find({ id: 1, day }, DEADLINE))?.split('-')[1];
    assert.deepEqual(
      [await rangeOf(0), await rangeOf(9), await rangeOf(10), await rangeOf(2 ** 31 - 1)],
      ['low', 'low', 'high', 'high'],
    );
    const buckets = new Set<string>();
    for (let id = 0; id < 20; id++) buckets.add((await locations.find({ id, day: 0 }, DEADLINE))!);
    assert.deepEqual([...buckets].sort(), ['0-low', '1-low']);
  });

  it('asks the master again about a row that nothing covers, then says so', async () => {
    const master = new Master(tablets);
    const locations = new TableLocations(master, describeTable(2));
    assert.equal(await locations.find({ id: 1, day: -1 }, DEADLINE), null);
    assert.equal(master.asked, 2);
    master.tablets = [
      tablet('new', [0], Buffer.alloc(0), bucketKey(1)),
      tablet('new', [1], bucketKey(1), Buffer.alloc(0)),
    ];
    assert.equal(await locations.find({ id: 1, day: -1 }, DEADLINE), 'new');
  });

  it('asks once for many at the same time, and again after a failure', async () => {
    const master = new Master(tablets);
    const locations = new TableLocations(master, describeTable(2));
    await Promise.all([locations.all(DEADLINE), locations.find({ id: 1, day: 1 }, DEADLINE)]);
    assert.equal(master.asked, 1);
    let down = true;
    const flaky = new TableLocations(
      {
        getTableLocations: () => (down ? Promise.reject(new KuduError('network', 'down')) : master.getTableLocations()),
        getTabletLocations: (ids) => master.getTabletLocations(ids),
      },
      describeTable(2),
    );
    await assert.rejects(flaky.all(DEADLINE), /down/);
    down = false;
    assert.equal((await flaky.all(DEADLINE)).length, 4);
  });

  it('narrows a scan to the buckets that equalities leave', async () => {
    const locations = new TableLocations(new Master(tablets), describeTable(2));
    const wanted = (await locations.find({ id: 7, day: 0 }, DEADLINE))!.split('-')[0]!;
    const ids = (await locations.matching({ id: 7 }, DEADLINE)).map(({ tabletId }) => tabletId);
    assert.deepEqual(ids, [`${wanted}-low`, `${wanted}-high`]);
    assert.equal((await locations.matching({ day: 3 }, DEADLINE)).length, 4);
  });

  it('hashes a range that has a hash schema of its own by that', async () => {
    const bounds = new RowOperationsEncoder(SCHEMA);
    bounds.add(RowOpType.RANGE_LOWER_BOUND, { day: 10 });
    bounds.add(RowOpType.RANGE_UPPER_BOUND, {});
    const custom = [{ bounds: bounds.finish(), hash: [{ columnIds: [0], buckets: 3, seed: 1 }] }];
    const own = [0, 1, 2].map((bucket) =>
      tablet(
        `own-${bucket}`,
        [bucket],
        Buffer.concat([bucketKey(bucket), dayKey(10)]),
        bucket === 2 ? Buffer.alloc(0) : bucketKey(bucket + 1),
      ),
    );
    const general = tablet('general', [], dayKey(0), dayKey(10));
    const locations = new TableLocations(new Master([general, ...own]), describeTable(0, custom));
    assert.equal(await locations.find({ id: 1, day: 9 }, DEADLINE), 'general');
    const found = new Set<string | null>();
    for (let id = 0; id < 30; id++) found.add(await locations.find({ id, day: 10 }, DEADLINE));
    assert.deepEqual([...found].sort(), ['own-0', 'own-1', 'own-2']);
    const narrowed = (await locations.matching({ id: 1 }, DEADLINE)).map(({ tabletId }) => tabletId);
    assert.deepEqual(
      narrowed.sort(),
      ['general', await locations.find({ id: 1, day: 10 }, DEADLINE)],
      'each range by its own',
    );
  });

  it('refuses a row without the columns that place it', async () => {
    const locations = new TableLocations(new Master(tablets), describeTable(2));
    await assert.rejects(locations.find({ id: 1 }, DEADLINE), /"day" is not set/);
  });

  it('finds a tablet by its id that was added since the master was asked', async () => {
    const master = new Master([tablet('old', [], dayKey(0), dayKey(10))]);
    const locations = new TableLocations(master, describeTable(0));
    assert.equal((await locations.replicas('old', DEADLINE))?.tabletId, 'old');
    assert.equal(await locations.replicas('new', DEADLINE), null);
    master.tablets = [...master.tablets, tablet('new', [], dayKey(10), dayKey(20))];
    assert.equal((await locations.replicas('new', DEADLINE))?.tabletId, 'new');
  });
});
