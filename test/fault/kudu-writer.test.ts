import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { create, fromBinary } from '@bufbuild/protobuf';
import { SignedTokenPBSchema } from '../../src/kudu/proto/rpc_pb.ts';
import { WriteRequestPBSchema, WriteResponsePBSchema } from '../../src/kudu/proto/tserver_pb.ts';
import { AppStatus, RpcErrorCode, TserverErrorCode } from '../../src/kudu/status.ts';
import { WriteError } from '../../src/kudu/writer.ts';
import { ScriptedKuduServer, type ScriptedCall } from '../support/scripted-kudu-server.ts';
import { ScriptedTable } from '../support/scripted-table.ts';

describe('writes when answers are lost and servers refuse', () => {
  const servers: ScriptedKuduServer[] = [];
  let scripted: ScriptedTable;
  /** `server tablet clientSeqNo/attempt` of every write that arrived. */
  let log: string[] = [];
  before(async () => {
    servers.push(await ScriptedKuduServer.start(), await ScriptedKuduServer.start());
  });
  after(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
  beforeEach(() => {
    scripted = new ScriptedTable(servers);
    log = [];
    script(0, accept);
    script(1, accept);
  });
  afterEach(() => {
    scripted[Symbol.dispose]();
  });

  /** What a server does with each write in turn; the last goes on for ever. */
  function script(server: number, ...acts: ((call: ScriptedCall) => void)[]): void {
    let count = 0;
    servers[server]!.onCall = (call) => {
      const { tabletId } = fromBinary(WriteRequestPBSchema, call.body);
      const id = call.header.requestId!;
      log.push(`${server} ${Buffer.from(tabletId).toString()} ${id.seqNo}/${id.attemptNo}`);
      acts[Math.min(count++, acts.length - 1)]!(call);
    };
  }
  const accept = (call: ScriptedCall): void => {
    call.answer(WriteResponsePBSchema, { timestamp: 5n });
  };
  const loseAnswer = (call: ScriptedCall): void => {
    call.hangUp();
  };
  const refuse =
    (code: number, status: number) =>
    (call: ScriptedCall): void => {
      call.answer(WriteResponsePBSchema, { error: { code, status: { code: status, message: 'scripted' } } });
    };
  const follower = refuse(TserverErrorCode.UNKNOWN_ERROR, AppStatus.ILLEGAL_STATE);
  const mismatched = refuse(TserverErrorCode.MISMATCHED_SCHEMA, AppStatus.INVALID_ARGUMENT);
  const insert = (n: number) => ({ type: 'insert' as const, row: { n } });

  it('sends a write again under the same id when its answer is lost', async () => {
    script(0, loseAnswer, accept);
    scripted.leader = 0;
    await scripted.table.write([insert(1)]);
    assert.deepEqual(log, ['0 low 0/0', '1 low 0/1']);
    await scripted.table.write([insert(2)]);
    assert.deepEqual(log.at(-1), '0 low 1/0', 'the next write has another id');
  });

  it('tries the other replicas when the one that the master names says that it follows', async () => {
    script(0, follower);
    const { timestamp } = await scripted.table.write([insert(1)]);
    assert.deepEqual(log, ['0 low 0/0', '1 low 0/1']);
    assert.equal(timestamp, 5n);
  });

  it('waits for a leader while there is none', async () => {
    script(0, follower, follower, accept);
    script(1, follower);
    await scripted.table.write([insert(1)]);
    assert.equal(log.length, 5);
    assert.equal(new Set(log.map((line) => line.split('/')[0]!.split(' ')[2])).size, 1, 'one id through all attempts');
  });

  it('comes back to a server that is busy', async () => {
    script(
      0,
      (call) => {
        call.refuse(RpcErrorCode.ERROR_SERVER_TOO_BUSY, 'later');
      },
      accept,
    );
    script(1, follower);
    await scripted.table.write([insert(1)]);
    assert.deepEqual(log, ['0 low 0/0', '1 low 0/1', '0 low 0/2']);
  });

  it('says which rows were not written, and what became of the others', async () => {
    const rowError = { rowIndex: 1, error: { code: AppStatus.ALREADY_PRESENT, message: 'there' } };
    servers[0]!.onCall = (call) => {
      const tablet = Buffer.from(fromBinary(WriteRequestPBSchema, call.body).tabletId).toString();
      if (tablet === 'high') mismatched(call);
      else call.answer(WriteResponsePBSchema, { timestamp: 9n, perRowErrors: [rowError] });
    };
    await assert.rejects(scripted.table.write([insert(150), insert(1), insert(2), insert(151)]), (error) => {
      assert.ok(error instanceof WriteError, 'a WriteError');
      assert.deepEqual([error.kind, error.code, error.notRun], ['tserver', TserverErrorCode.MISMATCHED_SCHEMA, true]);
      assert.deepEqual(error.indexes, [0, 3]);
      assert.deepEqual(error.result, {
        rowErrors: [{ index: 2, status: AppStatus.ALREADY_PRESENT, message: 'there' }],
        timestamp: 9n,
      });
      return true;
    });
  });

  it('does not claim that nothing ran when an attempt before may have', async () => {
    script(0, loseAnswer);
    script(1, mismatched);
    await assert.rejects(scripted.table.write([insert(1)]), (error) => error instanceof WriteError && !error.notRun);
  });

  it('gives up in time, without knowing, when answers keep being lost', async () => {
    script(0, loseAnswer);
    script(1, loseAnswer);
    await assert.rejects(
      scripted.table.write([insert(1)], { timeoutMs: 200 }),
      (error) => error instanceof WriteError && error.kind === 'timeout' && !error.notRun,
    );
    assert.equal(log.length > 2, true, log.join());
  });

  it('says that a tablet was dropped, and forgets where rows were', async () => {
    await scripted.table.write([insert(1)]);
    script(0, (call) => {
      scripted.dropped.add('low');
      refuse(TserverErrorCode.TABLET_NOT_FOUND, AppStatus.NOT_FOUND)(call);
    });
    await assert.rejects(
      scripted.table.write([insert(1)]),
      (error) => error instanceof WriteError && error.notRun && /dropped/.test(error.message),
    );
    await assert.rejects(scripted.table.write([insert(1)]), /no partition .* covers/);
    script(0, accept);
    await scripted.table.write([insert(100)]);
  });

  it('shows an authorization token to a server that wants one, and to no other', async () => {
    const tokens: string[] = [];
    const token = (call: ScriptedCall): string => {
      const { authzToken } = fromBinary(WriteRequestPBSchema, call.body);
      return Buffer.from(authzToken?.tokenData ?? []).toString();
    };
    const demand =
      (code: number, wanted: string) =>
      (call: ScriptedCall): void => {
        tokens.push(token(call));
        if (tokens.at(-1) === wanted) accept(call);
        else call.refuse(code, 'scripted');
      };
    const give = (text: string): void => {
      scripted.token = create(SignedTokenPBSchema, { tokenData: Buffer.from(text) });
    };
    give('first');
    script(0, demand(RpcErrorCode.ERROR_INVALID_AUTHORIZATION_TOKEN, ''));
    await scripted.table.write([insert(1)]);
    script(0, demand(RpcErrorCode.ERROR_INVALID_AUTHORIZATION_TOKEN, 'first'));
    await scripted.table.write([insert(2)]);
    await scripted.table.write([insert(3)]);
    assert.deepEqual(tokens, ['', '', 'first', 'first']);
    // It has run out: a new one is fetched.
    give('second');
    script(0, demand(RpcErrorCode.ERROR_INVALID_AUTHORIZATION_TOKEN, 'second'));
    await scripted.table.write([insert(4)]);
    assert.deepEqual(tokens.slice(4), ['first', 'second']);
    script(0, demand(RpcErrorCode.FATAL_UNAUTHORIZED, 'never'));
    await assert.rejects(
      scripted.table.write([insert(5)]),
      (error) => error instanceof WriteError && error.code === RpcErrorCode.FATAL_UNAUTHORIZED && error.notRun,
    );
  });

  it('ends with the reason of the signal', async () => {
    const stop = new AbortController();
    script(0, () => {
      stop.abort(new Error('shutting down'));
    });
    await assert.rejects(scripted.table.write([insert(1)], { signal: stop.signal }), /shutting down/);
  });

  it('gives up at once with a request that the server has forgotten: nobody knows what became of it', async () => {
    script(0, (call) => {
      call.refuse(RpcErrorCode.ERROR_REQUEST_STALE, 'forgotten');
    });
    await assert.rejects(scripted.table.write([insert(1)]), (error) => error instanceof WriteError && !error.notRun);
    assert.equal(log.length, 1);
  });
});
