import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { KuduError } from '../../src/kudu/errors.ts';
import {
  ScanRequestPBSchema,
  ScanResponsePBSchema,
  ScannerKeepAliveResponsePBSchema,
  type ScanRequestPB,
} from '../../src/kudu/proto/tserver_pb.ts';
import type { ScanOptions } from '../../src/kudu/scanner.ts';
import { AppStatus, RpcErrorCode, TserverErrorCode } from '../../src/kudu/status.ts';
import { ScriptedKuduServer, type ScriptedCall } from '../support/scripted-kudu-server.ts';
import { ScriptedTable } from '../support/scripted-table.ts';

/** Batches are of rows without cells: how many there are and where they come from is all that matters here. */
describe('scans when servers are busy or lost', () => {
  const servers: ScriptedKuduServer[] = [];
  let scripted: ScriptedTable;
  let requests: { server: number; scan: ScanRequestPB }[] = [];
  before(async () => {
    servers.push(await ScriptedKuduServer.start(), await ScriptedKuduServer.start());
  });
  after(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
  beforeEach(() => {
    scripted = new ScriptedTable(servers);
    scripted.dropped.add('high');
    requests = [];
  });
  afterEach(() => {
    scripted[Symbol.dispose]();
  });

  function script(server: number, ...acts: ((call: ScriptedCall) => void)[]): void {
    let count = 0;
    servers[server]!.onCall = (call) => {
      const scan = fromBinary(ScanRequestPBSchema, call.body);
      if (scan.closeScanner) return;
      requests.push({ server, scan });
      acts[Math.min(count++, acts.length - 1)]!(call);
    };
  }
  const rows =
    (numRows: number, more: boolean, lastKey = '') =>
    (call: ScriptedCall): void => {
      call.answer(ScanResponsePBSchema, {
        hasMoreResults: more,
        snapTimestamp: 77n,
        data: { numRows },
        ...(more ? { scannerId: Buffer.from('scanner') } : {}),
        ...(lastKey === '' ? {} : { lastPrimaryKey: Buffer.from(lastKey) }),
      });
    };
  const hangUp = (call: ScriptedCall): void => {
    call.hangUp();
  };
  const busy = (call: ScriptedCall): void => {
    call.refuse(RpcErrorCode.ERROR_SERVER_TOO_BUSY, 'later');
  };
  const fail =
    (code: number) =>
    (call: ScriptedCall): void => {
      call.answer(ScanResponsePBSchema, {
        error: { code, status: { code: AppStatus.NOT_FOUND, message: 'scripted' } },
      });
    };
  const count = async (options: ScanOptions): Promise<number> => {
    let total = 0;
    for await (const block of scripted.table.scan({ columns: [], ...options })) total += block.rowCount;
    return total;
  };

  it('asks for the same batch again when the server was too busy to look at it', async () => {
    script(0, rows(2, true), busy, busy, rows(3, false));
    assert.equal(await count({}), 5);
    assert.deepEqual(
      requests.map(({ scan }) => scan.callSeqId),
      [0, 1, 1, 1],
    );
  });

  it('opens an ordered snapshot scan elsewhere after its last key, at the same time', async () => {
    script(0, rows(2, true, 'key-2'), hangUp);
    script(1, rows(3, true, 'key-5'), rows(1, false, 'key-6'));
    assert.equal(await count({ ordered: true, startKey: Buffer.from('key-0') }), 6);
    const reopened = requests.find(({ server }) => server === 1)!.scan.newScanRequest!;
    assert.deepEqual([Buffer.from(reopened.lastPrimaryKey).toString(), reopened.snapTimestamp], ['key-2', 77n]);
    assert.equal(reopened.startPrimaryKey.length, 0);
  });

  it('does the same when a scanner has expired', async () => {
    script(0, rows(2, true, 'key-2'), fail(TserverErrorCode.SCANNER_EXPIRED), rows(4, false, 'key-6'));
    assert.equal(await count({ ordered: true }), 6);
  });

  it('fails an unordered scan once rows have come, and begins it anew before that', async () => {
    script(0, rows(0, true), hangUp, rows(4, false));
    script(1, rows(4, false));
    assert.equal(await count({}), 4);
    script(0, rows(2, true), hangUp);
    await assert.rejects(count({}), (error) => KuduError.is(error, 'network'));
  });

  it('gives up on scanners that are lost again and again without a row', async () => {
    for (const server of [0, 1]) {
      servers[server]!.onCall = (call) => {
        const { newScanRequest } = fromBinary(ScanRequestPBSchema, call.body);
        if (newScanRequest) rows(0, true)(call);
        else fail(TserverErrorCode.SCANNER_EXPIRED)(call);
      };
    }
    await assert.rejects(count({}), /lost 6 scanners without a row/);
  });

  it('reads the present from the leader alone, however busy it is', async () => {
    script(0, busy, busy, rows(1, false));
    script(1, rows(100, false));
    assert.equal(await count({ read: { mode: 'present' } }), 1);
    assert.equal(
      requests.every(({ server }) => server === 0),
      true,
    );
  });

  it('takes any replica when asked to, and the next one when that is gone', async () => {
    script(0, hangUp);
    script(1, rows(3, false));
    for (let i = 0; i < 5; i++) assert.equal(await count({ replica: 'any' }), 3);
    assert.equal(await count({ replica: { uuid: 'server-1' } }), 3);
  });

  it('fails at once with an error that stays', async () => {
    script(0, fail(TserverErrorCode.INVALID_SNAPSHOT));
    await assert.rejects(count({}), (error) => KuduError.is(error, 'tserver', TserverErrorCode.INVALID_SNAPSHOT));
    assert.equal(requests.length, 1);
  });

  it('keeps a scanner alive while its reader is slow', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    script(0, rows(1, true), rows(1, false));
    const scan = scripted.table.scan({ columns: [] })[Symbol.asyncIterator]();
    await scan.next();
    const kept = new Promise<string>((resolve) => {
      const onScan = servers[0]!.onCall;
      servers[0]!.onCall = (call) => {
        if (call.header.remoteMethod?.methodName !== 'ScannerKeepAlive') {
          onScan(call);
          return;
        }
        resolve(Buffer.from(fromBinary(ScanRequestPBSchema, call.body).scannerId).toString());
        call.answer(ScannerKeepAliveResponsePBSchema, {});
      };
    });
    t.mock.timers.tick(15_000);
    assert.equal(await kept, 'scanner');
    await scan.next();
    assert.equal((await scan.next()).done, true);
  });
});
