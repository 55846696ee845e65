import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { KuduError } from '../../src/kudu/errors.ts';
import { MasterClient } from '../../src/kudu/master-client.ts';
import {
  ConnectToMasterResponsePBSchema,
  CreateTableResponsePBSchema,
  ListTablesResponsePBSchema,
} from '../../src/kudu/proto/master_pb.ts';
import { SecurityContext } from '../../src/kudu/security/security-context.ts';
import { Deadline } from '../../src/kudu/rpc/deadline.ts';
import { Messenger } from '../../src/kudu/rpc/messenger.ts';
import { MasterService } from '../../src/kudu/services.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode } from '../../src/kudu/status.ts';
import { ScriptedKuduServer, type ScriptedCall } from '../support/scripted-kudu-server.ts';

describe('master client', () => {
  const servers: ScriptedKuduServer[] = [];
  let messenger: Messenger;
  let masters: MasterClient;
  /** Which master leads; null for none. */
  let leader: number | null = 0;
  /** `master method` of every call but the search for the leader. */
  let log: string[] = [];
  before(async () => {
    for (let i = 0; i < 3; i++) servers.push(await ScriptedKuduServer.start());
  });
  after(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
  beforeEach(() => {
    messenger = new Messenger(new SecurityContext({ user: 'tester' }));
    masters = new MasterClient(
      messenger,
      servers.map(({ address }) => address),
    );
    leader = 0;
    log = [];
    script(() => undefined);
  });
  afterEach(() => {
    messenger[Symbol.dispose]();
  });

  /** `act` answers a call of the catalog, or leaves it to the usual answer. */
  function script(act: (call: ScriptedCall, master: number, count: number) => true | undefined): void {
    for (const [master, server] of servers.entries()) {
      server.onCall = (call) => {
        const method = call.header.remoteMethod!.methodName;
        if (method === 'ConnectToMaster') {
          call.answer(ConnectToMasterResponsePBSchema, { role: master === leader ? 1 : 0 });
          return;
        }
        log.push(`${master} ${method}`);
        if (act(call, master, log.length)) return;
        if (master !== leader) answerError(call, MasterErrorCode.NOT_THE_LEADER, AppStatus.ILLEGAL_STATE);
        else if (method === 'ListTables') call.answer(ListTablesResponsePBSchema, {});
        else call.answer(CreateTableResponsePBSchema, { tableId: Buffer.from('id') });
      };
    }
  }
  const answerError = (call: ScriptedCall, code: number, status: number): true => {
    call.answer(ListTablesResponsePBSchema, { error: { code, status: { code: status, message: 'scripted' } } });
    return true;
  };
  const list = (timeoutMs = 5000) => masters.call(MasterService.listTables, {}, Deadline.from({}, timeoutMs));
  const create = (timeoutMs = 5000) =>
    masters.call(MasterService.createTable, { name: 't', schema: { columns: [] } }, Deadline.from({}, timeoutMs));

  it('asks all masters at once and then only the one that leads', async () => {
    leader = 2;
    await list();
    await list();
    assert.deepEqual(log, ['2 ListTables', '2 ListTables']);
  });

  it('looks again when the leader says that it is not any more, for changes too', async () => {
    await list();
    leader = 1;
    await create();
    assert.deepEqual(log, ['0 ListTables', '0 CreateTable', '1 CreateTable']);
  });

  it('waits for an election', async () => {
    leader = null;
    const waiting = list();
    setTimeout(() => (leader = 1), 50);
    await waiting;
    leader = null;
    masters = new MasterClient(
      messenger,
      servers.map(({ address }) => address),
    );
    await assert.rejects(list(100), (error) => KuduError.is(error, 'timeout') && error.notRun);
  });

  it('repeats a question whose answer is lost, but never a change', async () => {
    script((call, _, count) => {
      if (count !== 1) return undefined;
      call.hangUp();
      return true;
    });
    await list();
    assert.equal(log.length, 2);
    log = [];
    await assert.rejects(create(), (error) => KuduError.is(error, 'network') && !error.notRun);
    assert.equal(log.length, 1);
  });

  it('repeats a change that the master was too busy to begin', async () => {
    script((call, _, count) => {
      if (count > 2) return undefined;
      call.refuse(RpcErrorCode.ERROR_SERVER_TOO_BUSY, 'later');
      return true;
    });
    await create();
    assert.equal(log.length, 3);
  });

  it('hands on what the catalog answers, without asking twice', async () => {
    script((call) => answerError(call, MasterErrorCode.TABLE_NOT_FOUND, AppStatus.NOT_FOUND));
    await assert.rejects(list(), (error) => KuduError.is(error, 'master', MasterErrorCode.TABLE_NOT_FOUND));
    assert.equal(log.length, 1);
  });

  it('takes addresses with and without a port, and none without a host', () => {
    assert.deepEqual(new MasterClient(messenger, ['a', 'b:1', '[::1]']).addresses, ['a:7051', 'b:1', '[::1]:7051']);
    assert.throws(() => new MasterClient(messenger, []), /at least one/);
    assert.throws(() => new MasterClient(messenger, [':1']), /host:port/);
  });
});
