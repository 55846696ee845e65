import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { KuduError } from '../../src/kudu/errors.ts';
import { ServerClockResponsePBSchema } from '../../src/kudu/proto/server_pb.ts';
import { WriteResponsePBSchema } from '../../src/kudu/proto/tserver_pb.ts';
import { SecurityContext } from '../../src/kudu/security/security-context.ts';
import { Deadline } from '../../src/kudu/rpc/deadline.ts';
import { Messenger } from '../../src/kudu/rpc/messenger.ts';
import { GenericService, TabletServerService } from '../../src/kudu/services.ts';
import { RpcErrorCode } from '../../src/kudu/status.ts';
import { ScriptedKuduServer, type ScriptedCall } from '../support/scripted-kudu-server.ts';

describe('messenger', () => {
  let server: ScriptedKuduServer;
  let messenger: Messenger;
  let calls: ScriptedCall[] = [];
  before(async () => {
    server = await ScriptedKuduServer.start();
  });
  after(() => server[Symbol.asyncDispose]());
  beforeEach(() => {
    messenger = new Messenger(new SecurityContext({ user: 'somebody' }));
    calls = [];
    server.mechanism = 'PLAIN';
    server.onCall = (call) => {
      calls.push(call);
      answerClock(call, BigInt(calls.length));
    };
    server.closeConnections();
  });

  afterEach(() => {
    messenger[Symbol.dispose]();
  });

  const answerClock = (call: ScriptedCall, timestamp: bigint): void => {
    call.answer(ServerClockResponsePBSchema, { timestamp });
  };
  const clock = async (options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<bigint> => {
    const deadline = Deadline.from(options, 5000);
    return (await messenger.call(server.address, GenericService.serverClock, {}, { deadline })).message.timestamp;
  };
  const write = async (): Promise<unknown> => {
    const deadline = Deadline.from({}, 5000);
    return messenger.call(server.address, TabletServerService.write, { tabletId: Buffer.from('t') }, { deadline });
  };
  const fails = (kind: string, notRun: boolean) => (error: unknown) =>
    error instanceof KuduError && error.kind === kind && error.notRun === notRun;

  it('logs in by the given name, once for all calls', async () => {
    const before = server.users.length;
    await Promise.all([clock(), clock(), clock()]);
    await clock();
    assert.deepEqual(server.users.slice(before), ['somebody']);
    assert.deepEqual(
      calls.map(({ header }) => header.callId),
      [0, 1, 2, 3],
    );
    assert.equal(calls[0]!.header.remoteMethod?.serviceName, 'kudu.server.GenericService');
  });

  it('gives each call its own answer, whatever order they come in', async () => {
    server.onCall = (call) => {
      calls.push(call);
      if (calls.length === 3) for (const late of calls.reverse()) answerClock(late, BigInt(late.header.callId));
    };
    assert.deepEqual(await Promise.all([clock(), clock(), clock()]), [0n, 1n, 2n]);
  });

  it('sends a call again that only asks, when a connection from before turns out to be closed', async () => {
    await clock();
    let hungUp = 0;
    server.onCall = (call) => {
      if (hungUp++ === 0) call.hangUp();
      else answerClock(call, 7n);
    };
    assert.equal(await clock(), 7n);
  });

  it('does not send a write again by itself: it may have run', async () => {
    await clock();
    server.onCall = (call) => {
      calls.push(call);
      call.hangUp();
    };
    calls = [];
    await assert.rejects(write(), fails('network', false));
    assert.equal(calls.length, 1);
  });

  it('reports a fresh connection that breaks, instead of trying for ever', async () => {
    server.onCall = (call) => {
      calls.push(call);
      call.hangUp();
    };
    await assert.rejects(clock(), fails('network', false));
    assert.equal(calls.length, 1);
    server.onCall = (call) => {
      answerClock(call, 9n);
    };
    assert.equal(await clock(), 9n, 'the next call connects anew');
  });

  it('says that nothing ran when nobody listens', async () => {
    const gone = await ScriptedKuduServer.start();
    const { address } = gone;
    await gone[Symbol.asyncDispose]();
    const deadline = Deadline.from({}, 5000);
    await assert.rejects(messenger.call(address, GenericService.serverClock, {}, { deadline }), fails('network', true));
  });

  it('drops an answer that comes too late, and keeps the connection', async () => {
    await clock();
    let late: ScriptedCall | null = null;
    server.onCall = (call) => {
      late = call;
    };
    await assert.rejects(clock({ timeoutMs: 20 }), fails('timeout', false));
    server.onCall = (call) => {
      answerClock(late!, 1n);
      answerClock(call, 2n);
    };
    const logins = server.users.length;
    assert.equal(await clock(), 2n);
    assert.equal(server.users.length, logins);
  });

  it('gives up a connection on which nothing has come for long, at the next call that times out', async (t) => {
    await clock();
    server.onCall = () => undefined;
    const logins = server.users.length;
    let skippedMs = 0;
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + skippedMs);
    await assert.rejects(clock({ timeoutMs: 20 }), fails('timeout', false));
    skippedMs = 11_000; // as if it had been asked in vain for so long
    await assert.rejects(clock({ timeoutMs: 20 }), fails('timeout', false));
    server.onCall = (call) => {
      answerClock(call, 8n);
    };
    assert.equal(await clock(), 8n);
    assert.equal(server.users.length, logins + 1);
  });

  it('closes a connection that is idle before the server would, and opens another when needed', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    let skippedMs = 0;
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + skippedMs);
    messenger[Symbol.dispose]();
    messenger = new Messenger(new SecurityContext({ user: 'somebody' }));
    await clock();
    const logins = server.users.length;
    skippedMs = 50_000;
    t.mock.timers.tick(5000);
    await clock();
    assert.equal(server.users.length, logins, 'not idle for long enough');
    skippedMs = 110_000;
    t.mock.timers.tick(5000);
    await clock();
    assert.equal(server.users.length, logins + 1);
  });

  it('tells the server how long the caller waits', async () => {
    await clock({ timeoutMs: 1234 });
    const { timeoutMillis } = calls[0]!.header;
    assert.equal(timeoutMillis > 500 && timeoutMillis <= 1234, true, `${timeoutMillis} ms`);
  });

  it('gives a call up when its signal aborts, and only that one', async () => {
    const waiting: ScriptedCall[] = [];
    server.onCall = (call) => {
      waiting.push(call);
      if (waiting.length === 2) stop.abort(new Error('enough'));
    };
    const stop = new AbortController();
    const aborted = assert.rejects(clock({ signal: stop.signal }), /enough/);
    const other = clock();
    await aborted;
    for (const call of waiting) answerClock(call, 5n);
    assert.equal(await other, 5n);
  });

  it('keeps the connection after an error of one call, and closes it after a fatal one', async () => {
    server.onCall = (call) => {
      call.refuse(RpcErrorCode.ERROR_SERVER_TOO_BUSY, 'later');
    };
    const logins = server.users.length;
    await assert.rejects(clock(), (error) => KuduError.is(error, 'rpc', RpcErrorCode.ERROR_SERVER_TOO_BUSY));
    server.onCall = (call) => {
      call.refuse(RpcErrorCode.FATAL_INVALID_RPC_HEADER, 'no');
    };
    await assert.rejects(clock(), (error) => KuduError.is(error, 'rpc', RpcErrorCode.FATAL_INVALID_RPC_HEADER));
    assert.equal(server.users.length, logins + 1);
    server.onCall = (call) => {
      answerClock(call, 3n);
    };
    assert.equal(await clock(), 3n);
    assert.equal(server.users.length, logins + 2);
  });

  it('does not log in where PLAIN is not taken', async () => {
    server.mechanism = 'GSSAPI';
    await assert.rejects(
      clock(),
      (error) => fails('security', true)(error) && /Kerberos/.test((error as Error).message),
    );
  });

  it('refuses a request that servers would close the connection for, before sending it', async () => {
    const deadline = Deadline.from({}, 5000);
    const huge = { tabletId: Buffer.alloc(51 * 1024 * 1024) };
    await assert.rejects(
      messenger.call(server.address, TabletServerService.write, huge, { deadline }),
      fails('usage', true),
    );
    server.onCall = (call) => {
      call.answer(WriteResponsePBSchema, { timestamp: 1n });
    };
    await write();
  });

  it('fails what is under way when it is closed, and all that comes after', async () => {
    let arrived = (): void => undefined;
    const atServer = new Promise<void>((resolve) => (arrived = resolve));
    server.onCall = () => {
      arrived();
    };
    const waiting = assert.rejects(clock(), /closed/);
    await atServer;
    messenger[Symbol.dispose]();
    await waiting;
    await assert.rejects(clock(), fails('usage', true));
  });
});
