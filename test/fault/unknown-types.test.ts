import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { ReplicaKeeper } from '../../src/keeping/replica-keeper.ts';
import { ForeignInstallations } from '../../src/kudu-side/foreign-installations.ts';
import { fetchEnds, lookUpSchema, schemaOfTable, tabletFates } from '../../src/kudu-side/kudu-access.ts';
import { KuduCopier } from '../../src/kudu-side/kudu-copier.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import {
  ConnectToMasterResponsePBSchema,
  GetTableLocationsResponsePBSchema,
  GetTableSchemaResponsePBSchema,
  GetTabletLocationsResponsePBSchema,
} from '../../src/kudu/proto/master_pb.ts';
import { GetLastOpIdResponsePBSchema } from '../../src/kudu/proto/consensus_pb.ts';
import { ListTabletsResponsePBSchema } from '../../src/kudu/proto/tserver_pb.ts';
import { keepingLogger } from '../support/loggers.ts';
import { ScriptedKuduServer, type ScriptedCall } from '../support/scripted-kudu-server.ts';

/** An array of Kudu 1.19: no server of today has it. */
const SCHEMA = {
  columns: [
    { id: 10, name: 'id', type: 7, isKey: true },
    { id: 11, name: 'tags', type: 21 },
  ],
};
const PLAIN = { columns: [{ id: 10, name: 'id', type: 7, isKey: true }] };
const TABLES: readonly string[] = ['odd.streams', 'shop.orders'];
const { signal } = new AbortController();

/** A cluster of one server, which has two tables of one tablet; of the first this version does not know a column. */
describe('a table with a column type that this version does not know', () => {
  let server: ScriptedKuduServer;
  let client: KuduClient;
  beforeEach(async () => {
    server = await ScriptedKuduServer.start();
    server.onCall = answer;
    client = await KuduClient.connect({ masters: [server.address], timeoutMs: 5_000, signal });
  });
  afterEach(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  const schemaOf = (table: string) => (table === TABLES[0] ? SCHEMA : PLAIN);
  const locations = (tables: readonly string[]) => {
    const [host, port] = server.address.split(':');
    return {
      tsInfos: [{ permanentUuid: Buffer.from('u'), rpcAddresses: [{ host: host!, port: Number(port) }] }],
      tabletLocations: tables.map((table) => ({
        tabletId: Buffer.from(`t-${table}`),
        internedReplicas: [{ tsInfoIdx: 0, role: 1 }],
      })),
    };
  };

  function answer(call: ScriptedCall): void {
    const asked = TABLES.filter((table) => call.body.includes(table));
    switch (call.header.remoteMethod!.methodName) {
      case 'ConnectToMaster':
        call.answer(ConnectToMasterResponsePBSchema, { role: 1 });
        return;
      case 'GetTableSchema':
        call.answer(GetTableSchemaResponsePBSchema, {
          schema: schemaOf(asked[0]!),
          tableId: Buffer.from(asked[0]!),
          tableName: asked[0]!,
        });
        return;
      case 'GetTableLocations':
        call.answer(GetTableLocationsResponsePBSchema, locations(asked));
        return;
      case 'GetTabletLocations':
        call.answer(GetTabletLocationsResponsePBSchema, {
          ...locations(asked),
          errors: [{ tabletId: Buffer.from('t-gone'), status: { code: 1 } }],
        });
        return;
      case 'ListTablets':
        call.answer(ListTabletsResponsePBSchema, {
          statusAndSchema: TABLES.map((table) => ({
            tabletStatus: { tabletId: `t-${table}`, tableName: table, lastStatus: '', state: 1, tabletDataState: 2 },
            schema: schemaOf(table),
            schemaVersion: 3,
            role: 1,
          })),
        });
        return;
      case 'GetLastOpId':
        call.answer(GetLastOpIdResponsePBSchema, { opid: { term: 1n, index: 7n } });
        return;
      default:
        call.hangUp();
    }
  }

  it('is in the catalog with the others, though its name is one that the tables of Spoor may have', async () => {
    const tables = TABLES.map((name) => ({ tableId: name, name, tablets: [] }));
    assert.deepEqual(await new ForeignInstallations(client).leaveOut(tables, signal), tables);
  });

  it('says by its name and column why its schema cannot be had, and of the others nothing', async () => {
    const unsupported = { code: 'SPOOR_WAL_UNSUPPORTED', message: /odd\.streams: column "tags" has data type 21/ };
    await assert.rejects(lookUpSchema(client, server.address, 't-odd.streams', signal), unsupported);
    assert.equal((await lookUpSchema(client, server.address, 't-shop.orders', signal)).version, 3);
    assert.deepEqual(
      await Promise.all(TABLES.map(async (table) => (await schemaOfTable(client, table, signal)) !== null)),
      [false, true],
    );
    const copier = new KuduCopier({
      client,
      tserver: { address: server.address, uuid: 'u' },
      keeperOf: () => ({ makeCut: () => Promise.reject(new Error('nothing is cut')) }) as unknown as ReplicaKeeper,
      logger: keepingLogger(),
    });
    await assert.rejects(copier.makeCut({ tableId: TABLES[0]!, tabletId: 't-odd.streams' }, 'g', signal), unsupported);
    await assert.rejects(
      copier.makeCut({ tableId: TABLES[1]!, tabletId: 't-shop.orders' }, 'g', signal),
      /nothing is cut/,
    );
  });

  it('has an end where a stream begins, and a fate when it is dropped, as any other', async () => {
    const tables = TABLES.map((name) => ({
      tableId: name,
      name,
      tablets: [{ tabletId: `t-${name}`, partitionKeyStart: Buffer.alloc(0) }],
    }));
    const ends = await fetchEnds(client, tables, AbortSignal.timeout(5_000));
    assert.deepEqual([...ends.keys()], ['t-odd.streams', 't-shop.orders']);
    const fates = tabletFates(client);
    assert.equal(await fates.dropKind({ tableId: TABLES[0]!, tabletId: 't-gone' }, signal), 'range-dropped');
    assert.deepEqual(
      await fates.partitionsOf(TABLES[0]!, signal),
      new Map([['t-odd.streams', 'null']]),
      'not known, and not asked for again at each look',
    );
  });
});
