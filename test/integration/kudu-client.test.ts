import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import { hybridTimeToMicros } from '../../src/kudu/hybrid-time.ts';
import { encodeKey } from '../../src/kudu/key-encoder.ts';
import { KeyReadCosts } from '../../src/kudu-side/key-read-costs.ts';
import { readByKeys } from '../../src/kudu-side/rows-by-key.ts';
import type { Row } from '../../src/kudu/row-operations.ts';
import type { ScanOptions, TableScan } from '../../src/kudu/scanner.ts';
import { compareOpIds } from '../../src/kudu/opid.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode, SetFlagCode, TserverErrorCode } from '../../src/kudu/status.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import { OpIdType } from '../../src/kudu/tserver-proxy.ts';
import { WriteError } from '../../src/kudu/writer.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** Needs a real cluster: catalog, writes and scans as a stock Kudu 1.18 answers them. */
describe('Kudu client on a real cluster', () => {
  let cluster: KuduCluster;
  let client: KuduClient;
  before(async () => {
    cluster = await startKudu({ tservers: 3 });
    client = await KuduClient.connect({ masters: cluster.masters, timeoutMs: 20_000 });
  });
  after(async () => {
    client[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  /** `n`, a nullable text and an immutable note, in `buckets` tablets. */
  function makeTable(name: string, buckets = 4): Promise<KuduTable> {
    return client.createTable({
      name,
      columns: [
        { name: 'n', type: 'INT32', key: true },
        { name: 'text', type: 'STRING', nullable: true },
        { name: 'note', type: 'STRING', nullable: true, immutable: true },
      ],
      ...(buckets > 1 ? { hash: [{ columns: ['n'], buckets }] } : {}),
    });
  }

  describe('catalog', () => {
    it('makes a table with all that its columns can say, and reads it back', async () => {
      const { description } = await client.createTable({
        name: 'catalog.all',
        columns: [
          { name: 'value', type: 'DECIMAL', precision: 20, scale: 4, default: '1.5', comment: 'euros' },
          { name: 'host', type: 'STRING', key: true, encoding: 2 },
          { name: 'day', type: 'DATE', key: true },
          { name: 'short', type: 'VARCHAR', length: 3, nullable: true, compression: 3 },
          { name: 'fixed', type: 'BOOL', immutable: true, default: false },
        ],
        autoIncrementing: true,
        hash: [{ columns: ['host'], buckets: 2, seed: 7 }],
        range: {
          columns: ['day'],
          partitions: [
            { lower: { day: 0 }, upper: { day: 10 } },
            { lower: { day: 10 }, upper: {} },
          ],
        },
        numReplicas: 1,
        owner: 'somebody',
        comment: 'a table',
        extraConfigs: { 'kudu.table.history_max_age_sec': '600' },
      });
      const shape = description.schema.columns.map((c) => [c.name, c.type, c.isKey, c.nullable, c.immutable]);
      assert.deepEqual(shape, [
        ['host', 8, true, false, false],
        ['day', 20, true, false, false],
        ['auto_incrementing_id', 7, true, false, false],
        ['value', 17, false, false, false],
        ['short', 19, false, true, false],
        ['fixed', 9, false, false, true],
      ]);
      const value = description.schema.columns[3]!;
      assert.deepEqual([value.precision, value.scale, value.comment], [20, 4, 'euros']);
      assert.equal(value.writeDefault!.readBigInt64LE(0), 15000n);
      assert.equal(description.schema.columns[2]!.autoIncrementing, true);
      assert.deepEqual([description.numReplicas, description.owner, description.comment], [1, 'somebody', 'a table']);
      assert.equal(description.extraConfigs['kudu.table.history_max_age_sec'], '600');
      assert.deepEqual(description.partitionSchema.hash, [
        { columnIds: [description.schema.columns[0]!.id], buckets: 2, seed: 7 },
      ]);
      const tablets = await client.getTableLocations({ name: 'catalog.all' });
      assert.equal(tablets.length, 4);
    });

    it('says that a table is there already, and that one is not', async () => {
      await makeTable('catalog.twice', 2);
      await assert.rejects(makeTable('catalog.twice', 2), (error) =>
        KuduError.is(error, 'master', MasterErrorCode.TABLE_ALREADY_PRESENT),
      );
      assert.equal(await client.findTable({ name: 'catalog.none' }), null);
      await assert.rejects(client.openTable({ name: 'catalog.none' }), (error) =>
        KuduError.is(error, 'master', MasterErrorCode.TABLE_NOT_FOUND),
      );
    });

    it('lists tables with their tablets, and the soft-deleted ones apart', async () => {
      const { description } = await makeTable('catalog.soft', 3);
      const listed = (await client.listTables({ withTablets: true })).find(({ name }) => name === 'catalog.soft');
      assert.equal(listed?.tableId, description.tableId);
      assert.equal(listed.tablets?.length, 3);
      await client.deleteTable({ tableId: description.tableId }, { reserveSeconds: 600 });
      const names = async (showSoftDeleted: boolean): Promise<string[]> =>
        (await client.listTables({ showSoftDeleted })).map(({ name }) => name);
      assert.ok(!(await names(false)).includes('catalog.soft'));
      assert.deepEqual(await names(true), ['catalog.soft']);
    });

    it('alters a table: columns, defaults, names, ranges', async () => {
      await client.createTable({
        name: 'catalog.alter',
        columns: [
          { name: 'k', type: 'INT64', key: true },
          { name: 'a', type: 'INT32', nullable: true },
          { name: 'b', type: 'STRING', nullable: true },
        ],
        range: { columns: ['k'], partitions: [{ lower: { k: 0n }, upper: { k: 10n } }] },
      });
      const altered = await client.alterTable(
        { name: 'catalog.alter' },
        {
          steps: [
            { add: { name: 'c', type: 'INT8', default: 5 } },
            { drop: 'b' },
            { rename: 'a', to: 'alpha' },
            { addRange: { lower: { k: 10n }, upper: { k: 19n }, upperInclusive: true } },
          ],
          renameTo: 'catalog.altered',
        },
      );
      assert.equal(altered.name, 'catalog.altered');
      assert.deepEqual(
        altered.schema.columns.map(({ name }) => name),
        ['k', 'alpha', 'c'],
      );
      const changed = await client.alterTable(
        { name: 'catalog.altered' },
        { steps: [{ changeDefault: 'c', value: 9 }] },
      );
      assert.deepEqual(
        [changed.schema.columns[2]!.readDefault![0], changed.schema.columns[2]!.writeDefault![0]],
        [5, 9],
      );
      const table = await client.openTable({ name: 'catalog.altered' });
      assert.equal(await table.insert({ k: 19n }), true);
      const before = await client.getTableLocations({ name: 'catalog.altered' });
      await client.alterTable(
        { name: 'catalog.altered' },
        { steps: [{ dropRange: { lower: { k: 10n }, upper: { k: 20n } } }] },
      );
      const after = await client.getTableLocations({ name: 'catalog.altered' });
      assert.equal(after.length, before.length - 1);
      const dropped = before.find(({ tabletId }) => after.every((tablet) => tablet.tabletId !== tabletId))!;
      const { tablets, missing } = await client.getTabletLocations([dropped.tabletId, after[0]!.tabletId]);
      assert.deepEqual(
        tablets.map(({ tabletId }) => tabletId),
        [after[0]!.tabletId],
      );
      assert.match(missing[0]!.reason, /Partition dropped/);
      await assert.rejects(table.insert({ k: 12n }), (error) => error instanceof KuduError && error.notRun);
    });

    it('hashes each range as that range says, and finds its rows again', async () => {
      // A server refuses a row that belongs into another tablet, so one wrong bucket would be an error here.
      await client.createTable({
        name: 'catalog.custom',
        columns: [
          { name: 'day', type: 'INT32', key: true },
          { name: 'who', type: 'STRING', key: true },
        ],
        hash: [{ columns: ['who'], buckets: 2 }],
        range: {
          columns: ['day', 'who'],
          partitions: [
            { lower: {}, upper: { day: 0 } },
            { lower: { day: 0 }, upper: { day: 10 }, hash: [{ columns: ['who'], buckets: 3, seed: 5 }] },
            { lower: { day: 10 }, upper: { day: 20, who: 'm' }, hash: [{ columns: ['day'], buckets: 4 }] },
          ],
        },
        numReplicas: 1,
      });
      const addRange = { lower: { day: 20, who: 'm' }, upper: {}, hash: [{ columns: ['who', 'day'], buckets: 5 }] };
      await client.alterTable({ name: 'catalog.custom' }, { steps: [{ addRange }] });
      const wider = await client.openTable({ name: 'catalog.custom' });
      assert.equal((await wider.tablets()).length, 2 + 3 + 4 + 5);
      const rows = [-5, -1, 0, 9, 10, 19, 20, 21, 99].flatMap((day) =>
        ['', 'a', 'm', 'zz'].map((who) => ({ day, who })),
      );
      const { rowErrors } = await wider.write(rows.map((row) => ({ type: 'insert', row })));
      assert.deepEqual(rowErrors, []);
      for (const row of rows) {
        const predicates = Object.entries(row).map(([column, value]) => ({ column, is: '=' as const, value }));
        assert.deepEqual(await wider.readAll({ predicates }), [row]);
      }
    });

    it('finds every tablet, however many come in a page, gaps between ranges and all', async () => {
      const partitions = [0, 20, 40, 60].map((k) => ({ lower: { k }, upper: { k: k + 10 } }));
      const own = { lower: { k: 80 }, upper: { k: 90 }, hash: [{ columns: ['k', 'h'], buckets: 2 }] };
      for (const [name, ranges, count] of [
        ['catalog.pages', partitions, 12],
        ['catalog.own-pages', [...partitions, own], 14],
      ] as const) {
        await client.createTable({
          name,
          columns: [
            { name: 'k', type: 'INT32', key: true },
            { name: 'h', type: 'INT32', key: true },
          ],
          hash: [{ columns: ['h'], buckets: 3 }],
          range: { columns: ['k'], partitions: ranges },
          numReplicas: 1,
        });
        for (const pageSize of [1, 2, 3, 5, 1000]) {
          const tablets = await client.getTableLocations({ name }, { pageSize });
          assert.equal(tablets.length, count, `${name} by ${pageSize}`);
          const keys = tablets.map(({ partition }) => partition.start.toString('hex'));
          assert.deepEqual(keys, [...keys].sort());
        }
      }
    });
  });

  describe('tablet server', () => {
    it('says who it is, what it holds and how far it is', async () => {
      const table = await makeTable('tserver.state', 2);
      await table.write(Array.from({ length: 20 }, (_, n) => ({ type: 'upsert' as const, row: { n } })));
      for (const { tabletId, replicas } of await client.getTableLocations({ name: 'tserver.state' })) {
        const leader = replicas.find(({ role }) => role === 'leader')!;
        const server = client.tabletServer(leader.address);
        const status = await server.getStatus();
        assert.equal(status.uuid, leader.uuid);
        assert.match(status.version!, /^1\.\d+\.\d+/);
        const [state] = await server.getConsensusState({
          serverUuid: leader.uuid,
          tabletIds: [tabletId, 'f'.repeat(32)],
        });
        assert.equal(state!.leaderUuid, leader.uuid);
        assert.equal(state!.peers.length, 3);
        assert.deepEqual([...new Set(state!.peers.map(({ memberType }) => memberType))], ['voter']);
        const committed = await server.getLastOpId({ serverUuid: leader.uuid, tabletId, type: OpIdType.COMMITTED });
        const received = await server.getLastOpId({ serverUuid: leader.uuid, tabletId, type: OpIdType.RECEIVED });
        assert.equal(compareOpIds(committed, received) <= 0 && committed.index >= 1n, true);
        // The role comes along without schemas too (tserver/tablet_service.cc ListTablets).
        const plain = (await server.listTablets()).find((tablet) => tablet.tabletId === tabletId)!;
        assert.deepEqual(
          [plain.role, plain.state, plain.dataState, plain.schema],
          ['leader', 'running', 'ready', null],
        );
        const full = (await server.listTablets({ withSchema: true })).find((tablet) => tablet.tabletId === tabletId)!;
        assert.deepEqual([full.schemaVersion, full.schema?.columns.length, full.role], [0, 3, 'leader']);
      }
    });

    it('refuses a call that is meant for another server, or about a tablet that it has not', async () => {
      const server = client.tabletServer(cluster.tservers[0]!.rpc);
      const { uuid } = await server.getStatus();
      await assert.rejects(server.getConsensusState({ serverUuid: 'x'.repeat(32) }), (error) =>
        KuduError.is(error, 'tserver', TserverErrorCode.WRONG_SERVER_UUID),
      );
      await assert.rejects(
        server.getLastOpId({ serverUuid: uuid, tabletId: 'f'.repeat(32), type: OpIdType.COMMITTED }),
        (error) => KuduError.is(error, 'tserver', TserverErrorCode.TABLET_NOT_FOUND),
      );
    });

    it('keeps calls of the service user from any other name', async () => {
      using stranger = await KuduClient.connect({ masters: cluster.masters, user: 'a-stranger' });
      const server = stranger.tabletServer(cluster.tservers[0]!.rpc);
      const { uuid } = await server.getStatus();
      await server.listTablets();
      await assert.rejects(server.getConsensusState({ serverUuid: uuid }), (error) =>
        KuduError.is(error, 'rpc', RpcErrorCode.ERROR_APPLICATION),
      );
    });

    it('reads and sets flags', async () => {
      const server = client.tabletServer(cluster.tservers[1]!.rpc);
      const name = 'log_min_segments_to_retain';
      const old = await server.setFlag({ name, value: '3' });
      assert.deepEqual(await server.getFlags([name]), [{ name, value: '3', isDefault: false }]);
      assert.equal(await server.setFlag({ name, value: old }), '3');
      assert.deepEqual(await server.getFlags([name, 'no_such_flag']), [{ name, value: old, isDefault: true }]);
      for (const [flag, value, code] of [
        ['no_such_flag', '1', SetFlagCode.NO_SUCH_FLAG],
        [name, '0', SetFlagCode.BAD_VALUE],
        [name, 'many', SetFlagCode.BAD_VALUE],
        ['log_segment_size_mb', '2', SetFlagCode.NOT_SAFE],
      ] as const)
        await assert.rejects(server.setFlag({ name: flag, value }), (error) => KuduError.is(error, 'flag', code));
      assert.equal((await server.getFlags([name]))[0]!.value, old);
      using stranger = await KuduClient.connect({ masters: cluster.masters, user: 'a-stranger' });
      const shut = stranger.tabletServer(cluster.tservers[1]!.rpc);
      for (const call of [() => shut.getFlags([name]), () => shut.setFlag({ name, value: '2' })])
        await assert.rejects(call, (error) => error instanceof KuduError && error.notAuthorized);
    });

    it('is listed by the master, with its addresses and its age', async () => {
      const listed = await client.listTabletServers();
      assert.deepEqual(
        listed.map(({ rpcAddresses }) => rpcAddresses[0]).sort(),
        cluster.tservers.map(({ rpc }) => rpc).sort(),
      );
      for (const { rpcAddresses, uuid, instanceSeqno, httpAddresses, version, millisSinceHeartbeat } of listed) {
        const status = await client.tabletServer(rpcAddresses[0]!).getStatus();
        assert.deepEqual(
          [status.uuid, status.instanceSeqno, status.httpAddresses],
          [uuid, instanceSeqno, httpAddresses],
        );
        assert.match(version, /^kudu 1\./);
        assert.equal(millisSinceHeartbeat < 60_000, true);
      }
    });

    it('cuts the keys of a tablet into ranges that together are all of them', async () => {
      const table = await makeTable('tserver.split', 1);
      await table.write(Array.from({ length: 100 }, (_, n) => ({ type: 'insert' as const, row: { n } })));
      const [tablet] = await table.tablets();
      const leader = client.tabletServer(tablet!.replicas.find(({ role }) => role === 'leader')!.address);
      const ranges = await leader.splitKeyRange({
        tabletId: Buffer.from(tablet!.tabletId),
        targetChunkSizeBytes: 1000n,
      });
      assert.equal(ranges[0]!.start.length + ranges.at(-1)!.stop.length, 0);
      let rows = 0;
      for (const { start, stop } of ranges)
        rows += (
          await table
            .scan({ ...(start.length ? { startKey: start } : {}), ...(stop.length ? { stopKey: stop } : {}) })
            .toArray()
        ).length;
      assert.equal(rows, 100);
      const bounds = {
        startKey: encodeKey(table.description.schema.columns.slice(0, 1), { n: 10 }),
        stopKey: encodeKey(table.description.schema.columns.slice(0, 1), { n: 20 }),
      };
      assert.equal((await table.scan(bounds).toArray()).length, 10);
    });

    it('finds rows by their keys, the last of them too, whatever a key ends in', async () => {
      const shapes: [
        name: string,
        types: ('INT8' | 'INT32' | 'INT64' | 'STRING')[],
        keyOf: (n: number) => unknown[],
      ][] = [
        ['int8', ['INT8'], (n) => [127 - n]],
        ['int64', ['INT64'], (n) => [BigInt(n * 3 - 10)]],
        ['string', ['STRING'], (n) => ['a'.repeat(n % 3) + '\0'.repeat(n)]],
        ['int-int', ['INT32', 'INT32'], (n) => [n % 3, n]],
        ['string-int', ['STRING', 'INT64'], (n) => [`x\0${n % 2}`, BigInt(n)]],
      ];
      for (const [name, types, keyOf] of shapes) {
        const names = types.map((_, i) => `k${i}`);
        const table = await client.createTable({
          name: `tserver.by-key-${name}`,
          columns: names.map((column, i) => ({ name: column, type: types[i]!, key: true })),
          hash: [{ columns: ['k0'], buckets: 2 }],
        });
        const rows = Array.from({ length: 24 }, (_, n) =>
          Object.fromEntries(keyOf(n).map((k, i) => [names[i]!, k])),
        ) as Row[];
        await table.write(rows.map((row) => ({ type: 'insert' as const, row })));
        const { schema } = table.description;
        const keys = rows.map((row) => encodeKey(schema.columns, row));
        const found = new Set<string>();
        let scans = 0;
        for (const { tabletId } of await table.tablets()) {
          const read = { keys, schema, columns: schema.columns, places: Int32Array.from(schema.columns.keys()) };
          const scan = (by: ScanOptions): TableScan => {
            scans++;
            return table.scanTablet(tabletId, schema, by);
          };
          for (const key of (await readByKeys({ ...read, scan }, new KeyReadCosts())).keys()) found.add(key);
        }
        assert.equal(scans, 2, 'by one scan for all');
        assert.deepEqual([...found].sort(), keys.map((key) => key.toString('latin1')).sort(), name);
      }
    });

    it('has a clock in hybrid time', async () => {
      const clock = await client.tabletServer(cluster.tservers[0]!.rpc).serverClock();
      assert.ok(Math.abs(Number(hybridTimeToMicros(clock) / 1000n) - Date.now()) < 60_000);
    });
  });

  describe('writes', () => {
    it('tells of each kind of operation what became of it, row by row', async () => {
      const table = await makeTable('writes.kinds');
      const { rowErrors, timestamp } = await table.write([
        { type: 'insert', row: { n: 1, text: 'one', note: 'n' } },
        { type: 'insert', row: { n: 1 } },
        { type: 'insert-ignore', row: { n: 1, text: 'not this' } },
        { type: 'update', row: { n: 2, text: 'nobody' } },
        { type: 'update-ignore', row: { n: 2, text: 'nobody' } },
        { type: 'upsert', row: { n: 3, text: 'three' } },
        { type: 'upsert', row: { n: 3, text: 'drei' } },
        { type: 'update', row: { n: 1, note: 'other' } },
        { type: 'upsert-ignore', row: { n: 1, text: 'eins', note: 'other' } },
        { type: 'delete', row: { n: 4 } },
        { type: 'delete-ignore', row: { n: 4 } },
        { type: 'insert', row: { n: 5 } },
        { type: 'delete', row: { n: 5 } },
      ]);
      assert.deepEqual(
        rowErrors.map(({ index, status }) => [index, status]),
        [
          [1, AppStatus.ALREADY_PRESENT],
          [3, AppStatus.NOT_FOUND],
          [7, AppStatus.IMMUTABLE],
          [9, AppStatus.NOT_FOUND],
        ],
      );
      assert.ok(timestamp! > 0n);
      const rows = await table.readAll();
      assert.deepEqual(
        rows.sort((a, b) => Number(a['n']) - Number(b['n'])),
        [
          { n: 1, text: 'eins', note: 'n' },
          { n: 3, text: 'drei', note: null },
        ],
      );
    });

    it('has single-row calls that say whether the row was there', async () => {
      const table = await makeTable('writes.single', 2);
      assert.deepEqual(
        [await table.insert({ n: 1, text: 'a' }), await table.insert({ n: 1, text: 'b' })],
        [true, false],
      );
      assert.deepEqual(
        [await table.update({ n: 1, text: 'c' }), await table.update({ n: 2, text: 'd' })],
        [true, false],
      );
      await table.upsert({ n: 2 });
      assert.equal((await table.readAll({ predicates: [{ column: 'n', is: '=', value: 1 }] }))[0]!['text'], 'c');
      assert.deepEqual([await table.delete({ n: 1 }), await table.delete({ n: 1 })], [true, false]);
      await assert.rejects(
        table.upsert({ n: 2, text: 'x'.repeat(70_000) }),
        (error) => error instanceof KuduError && error.status === AppStatus.INVALID_ARGUMENT,
      );
    });

    it('keeps the order of operations on one key through batches of several megabytes', async () => {
      const table = await makeTable('writes.order', 1);
      const big = 'x'.repeat(60_000);
      const operations = Array.from({ length: 200 }, (_, i) => ({
        type: 'upsert' as const,
        row: { n: i % 3, text: `${i} ${big}` },
      }));
      assert.deepEqual((await table.write(operations)).rowErrors, []);
      const last = (await table.readAll()).map(({ n, text }) => [n, Number((text as string).split(' ')[0])]);
      assert.deepEqual(last.sort(), [
        [0, 198],
        [1, 199],
        [2, 197],
      ]);
    });

    it('sends nothing when one of the rows cannot be', async () => {
      const table = await makeTable('writes.nothing', 2);
      for (const bad of [{ n: 2, nope: 1 }, { n: 2 ** 40 }, { text: 'no key' }, { n: null }])
        await assert.rejects(
          table.write([
            { type: 'insert', row: { n: 1 } },
            { type: 'insert', row: bad },
          ]),
          (error) => error instanceof KuduError && error.notRun && !(error instanceof WriteError),
        );
      assert.deepEqual(await table.readAll(), []);
    });

    it('is refused as a whole, not misread, when the table was altered under it', async () => {
      const table = await makeTable('writes.altered', 1);
      await client.alterTable({ name: 'writes.altered' }, { steps: [{ drop: 'text' }] });
      await assert.rejects(table.insert({ n: 1, text: 'a' }), (error) =>
        KuduError.is(error, 'tserver', TserverErrorCode.MISMATCHED_SCHEMA),
      );
      const again = await client.openTable({ name: 'writes.altered' });
      assert.equal(await again.insert({ n: 1 }), true);
    });

    it('numbers the rows of a table with an auto-incrementing column', async () => {
      const table = await client.createTable({
        name: 'writes.counted',
        columns: [{ name: 'k', type: 'STRING', key: true }],
        autoIncrementing: true,
        range: { columns: ['k'] },
      });
      await table.write([1, 2, 3].map(() => ({ type: 'insert' as const, row: { k: 'same' } })));
      const rows = await table.readAll();
      assert.deepEqual(
        rows.map((row) => row['auto_incrementing_id']),
        [1n, 2n, 3n],
      );
    });

    it('runs a prebuilt request once when it is sent twice under one id, unknown fields and all', async () => {
      const table = await makeTable('writes.raw', 1);
      const [tablet] = await table.tablets();
      const leader = client.tabletServer(tablet!.replicas.find(({ role }) => role === 'leader')!.address);
      const request = {
        tabletId: Buffer.from(tablet!.tabletId),
        schema: { columns: [{ name: 'n', type: 5, isKey: true }] },
        rowOperations: { rows: Buffer.from([1, 1, 9, 0, 0, 0]) },
      };
      const requestId = {
        $typeName: 'kudu.rpc.RequestIdPB' as const,
        clientId: 'me',
        seqNo: 1n,
        firstIncompleteSeqNo: 1n,
        attemptNo: 0n,
      };
      const first = await leader.write(request, { requestId });
      const second = await leader.write(request, { requestId: { ...requestId, attemptNo: 1n } });
      assert.deepEqual([second.perRowErrors, second.timestamp], [[], first.timestamp]);
      const third = await leader.write(request);
      assert.equal(third.perRowErrors[0]!.error!.code, AppStatus.ALREADY_PRESENT);
    });
  });

  describe('scans', () => {
    let table: KuduTable;
    before(async () => {
      table = await makeTable('scans.rows');
      const operations = Array.from({ length: 1000 }, (_, n) => ({
        type: 'insert' as const,
        row: { n, text: n % 10 === 0 ? null : `t${n % 7}` },
      }));
      await table.write(operations);
    });
    const numbers = async (scan: AsyncIterable<Iterable<Record<string, unknown>>>): Promise<number[]> => {
      const found: number[] = [];
      for await (const block of scan) for (const row of block) found.push(row['n'] as number);
      return found.sort((a, b) => a - b);
    };

    it('filters by every kind of predicate as a filter here would', async () => {
      const all = Array.from({ length: 1000 }, (_, n) => n);
      for (const [predicate, keeps] of [
        [{ column: 'n', is: '=', value: 17 }, (n: number) => n === 17],
        [{ column: 'n', is: '<', value: 5 }, (n: number) => n < 5],
        [{ column: 'n', is: '<=', value: 5 }, (n: number) => n <= 5],
        [{ column: 'n', is: '>', value: 995 }, (n: number) => n > 995],
        [{ column: 'n', is: '>=', value: 995 }, (n: number) => n >= 995],
        [{ column: 'n', is: 'in', values: [] }, () => false],
        [{ column: 'n', is: 'in', values: [700, 3, 3, 5000] }, (n: number) => n === 3 || n === 700],
        [{ column: 'text', is: 'null' }, (n: number) => n % 10 === 0],
        [{ column: 'text', is: 'not-null' }, (n: number) => n % 10 !== 0],
        [{ column: 'text', is: '<=', value: 't1' }, (n: number) => n % 10 !== 0 && n % 7 <= 1],
      ] as const)
        assert.deepEqual(
          await numbers(table.scan({ predicates: [predicate] })),
          all.filter(keeps),
          JSON.stringify(predicate),
        );
      const two = [
        { column: 'n', is: '<', value: 100 },
        { column: 'text', is: '=', value: 't3' },
      ] as const;
      assert.deepEqual(
        await numbers(table.scan({ predicates: two })),
        all.filter((n) => n < 100 && n % 10 !== 0 && n % 7 === 3),
      );
    });

    it('takes the columns that are asked for, in that order, none of them too', async () => {
      const [row] = await table
        .scan({ columns: ['text', 'n'], predicates: [{ column: 'n', is: '=', value: 1 }] })
        .toArray();
      assert.deepEqual(Object.entries(row!), [
        ['text', 't1'],
        ['n', 1],
      ]);
      let count = 0;
      for await (const block of table.scan({ columns: [] })) count += block.rowCount;
      assert.equal(count, 1000);
      assert.throws(() => table.scan({ columns: ['nope'] }), /no column "nope"/);
    });

    it('comes in batches, in key order when asked, up to a limit', async () => {
      const single = await makeTable('scans.order', 1);
      await single.write(
        Array.from({ length: 500 }, (_, n) => ({
          type: 'insert' as const,
          row: { n: (n * 7919) % 500, text: 'x'.repeat(50) },
        })),
      );
      const seen: number[] = [];
      let blocks = 0;
      for await (const block of single.scan({ ordered: true, batchBytes: 2000 })) {
        blocks++;
        for (const row of block) seen.push(row['n'] as number);
      }
      assert.deepEqual(
        seen,
        Array.from({ length: 500 }, (_, n) => n),
      );
      assert.ok(blocks > 2, `${blocks} batches`);
      assert.equal((await single.scan({ limit: 7 }).toArray()).length, 7);
      assert.equal((await table.scan({ limit: 990, batchBytes: 1000 }).toArray()).length, 990, 'over several tablets');
    });

    it('sees the table at a time, its own writes at the present, and the changes in between', async () => {
      const history = await makeTable('scans.history', 2);
      await history.write([1, 2, 3].map((n) => ({ type: 'insert' as const, row: { n, text: 'old' } })));
      const scan = history.scan();
      assert.deepEqual(await numbers(scan), [1, 2, 3]);
      const then = scan.snapshotTimestamp!;
      await history.write([
        { type: 'update', row: { n: 1, text: 'new' } },
        { type: 'delete', row: { n: 2 } },
        { type: 'insert', row: { n: 4 } },
      ]);
      assert.deepEqual(await numbers(history.scan({ read: { mode: 'snapshot', at: then } })), [1, 2, 3]);
      assert.deepEqual(await numbers(history.scan({ read: { mode: 'present' } })), [1, 3, 4]);
      assert.deepEqual(await numbers(history.scan({ read: { mode: 'latest' } })), [1, 3, 4]);
      const now = history.scan();
      assert.deepEqual(await numbers(now), [1, 3, 4]);
      const changes: unknown[] = [];
      for await (const block of history.scan({ read: { mode: 'diff', from: then, to: now.snapshotTimestamp! } }))
        for (let i = 0; i < block.rowCount; i++)
          changes.push([block.row(i)['n'], block.row(i)['text'], block.isDeleted(i)]);
      assert.deepEqual(changes.sort(), [
        [1, 'new', false],
        [2, 'old', true],
        [4, null, false],
      ]);
    });

    it('gives the same rows on each replica at one time', async () => {
      const [tablet] = await table.tablets();
      const reference = table.scan({ tabletIds: [tablet!.tabletId] });
      const expected = await numbers(reference);
      assert.ok(expected.length > 0);
      for (const { uuid } of tablet!.replicas) {
        const read = { mode: 'snapshot', at: reference.snapshotTimestamp! } as const;
        assert.deepEqual(
          await numbers(table.scan({ tabletIds: [tablet!.tabletId], replica: { uuid }, read })),
          expected,
        );
      }
    });

    it('refuses a time that lies too far ahead', async () => {
      const at = (await client.tabletServer(cluster.tservers[0]!.rpc).serverClock()) + (3_600_000_000n << 12n);
      await assert.rejects(table.scan({ read: { mode: 'snapshot', at } }).toArray(), (error) =>
        KuduError.is(error, 'tserver', TserverErrorCode.INVALID_SNAPSHOT),
      );
    });

    it('closes its scanner when the reader leaves early', async () => {
      const openScanners = async (): Promise<number> => {
        const counts = cluster.tservers.map(async ({ rpc }) => {
          const { httpAddresses } = await client.tabletServer(rpc).getStatus();
          const answer = await fetch(`http://${httpAddresses[0]!}/metrics?metrics=active_scanners`);
          const entities = (await answer.json()) as { metrics: { name: string; value: number }[] }[];
          const metrics = entities.flatMap((entity) => entity.metrics);
          return metrics.find(({ name }) => name === 'active_scanners')?.value ?? 0;
        });
        return (await Promise.all(counts)).reduce((sum, count) => sum + count);
      };
      for await (const block of table.scan({ batchBytes: 100 })) {
        assert.ok(block.rowCount < 1000, 'more is to come');
        assert.equal(await openScanners(), 1);
        break;
      }
      await eventually('the scanner is closed', async () => (await openScanners()) === 0);
    });
  });

  it('gives up when its signal aborts, with its reason, and when its time is over', async () => {
    const stop = new AbortController();
    const waiting = client.listTables({ signal: stop.signal });
    stop.abort(new Error('no longer wanted'));
    await assert.rejects(waiting, /no longer wanted/);
    await assert.rejects(client.listTables({ timeoutMs: 0 }), (error) => KuduError.is(error, 'timeout'));
  });

  it('carries many calls at once over one connection', async () => {
    const server = client.tabletServer(cluster.tservers[0]!.rpc);
    const clocks = await Promise.all(Array.from({ length: 40 }, () => server.serverClock()));
    assert.equal(new Set(clocks).size, 40);
  });

  it('fails calls after its end, also those under way', async () => {
    const brief = await KuduClient.connect({ masters: cluster.masters });
    const waiting = brief.createTable({ name: 'brief', columns: [{ name: 'k', type: 'INT8', key: true }] });
    waiting.catch(() => undefined);
    brief[Symbol.dispose]();
    await assert.rejects(waiting, KuduError);
    await assert.rejects(brief.listTables(), /closed/);
  });
});

it('writes and reads where tablet servers enforce access control', async () => {
  await using cluster = await startKudu({ tservers: 1, flags: ['--tserver_enforce_access_control'] });
  using client = await KuduClient.connect({ masters: cluster.masters });
  const table = await client.createTable({
    name: 'guarded',
    columns: [{ name: 'k', type: 'INT8', key: true }],
    numReplicas: 1,
  });
  assert.equal(await table.insert({ k: 1 }), true);
  assert.deepEqual(await table.readAll(), [{ k: 1 }]);
  const fresh = await client.openTable({ name: 'guarded' });
  assert.deepEqual(await fresh.scan().toArray(), [{ k: 1 }], 'a scan asks for its token by itself too');
});

it('works on over connections that servers have closed for being idle', async () => {
  await using cluster = await startKudu({
    tservers: 1,
    flags: ['--rpc_default_keepalive_time_ms=200'],
    masterFlags: ['--rpc_default_keepalive_time_ms=200'],
  });
  using client = await KuduClient.connect({ masters: cluster.masters });
  const table = await client.createTable({
    name: 'idle',
    columns: [{ name: 'k', type: 'INT8', key: true }],
    numReplicas: 1,
  });
  for (const k of [1, 2, 3]) {
    assert.equal(await table.insert({ k }), true);
    assert.equal((await client.listTables()).length, 1);
    await sleep(700); // the servers look for idle connections a few times a second
  }
  assert.equal((await table.readAll()).length, 3);
});
