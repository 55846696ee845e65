import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { create, fromBinary } from '@bufbuild/protobuf';
import { KuduMarkerWriter } from '../../src/kudu-side/marker-writer.ts';
import type { TableDescription } from '../../src/kudu/catalog.ts';
import type { KuduClient } from '../../src/kudu/client.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import { ExtensionWriter, type ExtensionSource } from '../../src/kudu/extension-writer.ts';
import { SignedTokenPBSchema, type SignedTokenPB } from '../../src/kudu/proto/rpc_pb.ts';
import { WriteRequestPBSchema, WriteResponsePBSchema, type WriteRequestPB } from '../../src/kudu/proto/tserver_pb.ts';
import { SecurityContext } from '../../src/kudu/security/security-context.ts';
import { Deadline } from '../../src/kudu/rpc/deadline.ts';
import { Messenger } from '../../src/kudu/rpc/messenger.ts';
import { RequestTracker } from '../../src/kudu/rpc/request-tracker.ts';
import { DataType, type ColumnSchema } from '../../src/kudu/schema.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode, TserverErrorCode } from '../../src/kudu/status.ts';
import { ClusterClock } from '../../src/kudu/cluster-clock.ts';
import { ObservedTime } from '../../src/kudu/table-context.ts';
import { TabletServerProxy } from '../../src/kudu/tserver-proxy.ts';
import { encodeMarker } from '../../src/change/apply-marker.ts';
import { MarkerError, type MarkerErrorKind } from '../../src/keeping/marker-writing.ts';
import { column } from '../support/kudu-columns.ts';
import { ScriptedKuduServer, type ScriptedCall } from '../support/scripted-kudu-server.ts';

const TABLET = { tableId: 'table', tabletId: 'tablet' };
const MARKER = { sidecar: 'here', streams: [] };
type Act = (call: ScriptedCall) => void;

/** A master of one table with one tablet on all the servers; counts what it is asked. */
class ScriptedMaster implements ExtensionSource {
  columns: readonly ColumnSchema[] = [column('k', DataType.INT32, { id: 0, isKey: true })];
  leader = 0;
  token: SignedTokenPB | null = null;
  /** Instead of the answer. */
  failure: Error | null = null;
  isDropped = false;
  asked = { table: 0, tablet: 0, token: 0 };
  readonly #servers: readonly ScriptedKuduServer[];

  constructor(servers: readonly ScriptedKuduServer[]) {
    this.#servers = servers;
  }

  async getTable(): Promise<TableDescription> {
    this.asked.table++;
    await Promise.resolve();
    if (this.failure) throw this.failure;
    return {
      tableId: 'table',
      name: 'scripted',
      schema: { columns: this.columns },
      partitionSchema: { hash: [], rangeColumnIds: [0], customHashRanges: [] },
      numReplicas: this.#servers.length,
      owner: '',
      comment: '',
      extraConfigs: {},
    };
  }

  getTabletLocations: ExtensionSource['getTabletLocations'] = () => {
    this.asked.tablet++;
    const replicas = this.#servers.map(({ address }, i) => ({
      uuid: `server-${i}`,
      address,
      role: i === this.leader ? ('leader' as const) : ('follower' as const),
    }));
    const partition = { hashBuckets: [], start: Buffer.alloc(0), end: Buffer.alloc(0) };
    return Promise.resolve({ tablets: this.isDropped ? [] : [{ tabletId: 'tablet', partition, replicas }] });
  };

  getAuthorizationToken(): Promise<SignedTokenPB | null> {
    this.asked.token++;
    return Promise.resolve(this.token);
  }
}

describe('writing an extension when servers refuse and answers are lost', () => {
  const servers: ScriptedKuduServer[] = [];
  let master: ScriptedMaster;
  let messenger: Messenger;
  let extensions: ExtensionWriter;
  /** Every write that arrived: by server, with its request. */
  let log: { readonly server: number; readonly request: WriteRequestPB; readonly hasId: boolean }[] = [];
  before(async () => {
    servers.push(await ScriptedKuduServer.start(), await ScriptedKuduServer.start());
  });
  after(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
  beforeEach(() => {
    master = new ScriptedMaster(servers);
    messenger = new Messenger(new SecurityContext({ user: 'tester' }));
    const context = {
      tracker: new RequestTracker(),
      observed: new ObservedTime(),
      clock: new ClusterClock(),
      timeoutMs: 5000,
      tabletServer: (address: string) => new TabletServerProxy(messenger, address, 5000),
    };
    extensions = new ExtensionWriter(context, master);
    log = [];
    script(0, accept);
    script(1, accept);
  });
  afterEach(() => {
    messenger[Symbol.dispose]();
  });

  /** What a server does with each write in turn; the last goes on for ever. */
  function script(server: number, ...acts: Act[]): void {
    let count = 0;
    servers[server]!.onCall = (call) => {
      log.push({
        server,
        request: fromBinary(WriteRequestPBSchema, call.body),
        hasId: call.header.requestId !== undefined,
      });
      acts[Math.min(count++, acts.length - 1)]!(call);
    };
  }
  const accept: Act = (call) => {
    call.answer(WriteResponsePBSchema, { timestamp: 5n });
  };
  const refuse =
    (code: number, status: number): Act =>
    (call) => {
      call.answer(WriteResponsePBSchema, { error: { code, status: { code: status, message: 'scripted' } } });
    };
  const follower = refuse(TserverErrorCode.UNKNOWN_ERROR, AppStatus.ILLEGAL_STATE);
  const mismatched = refuse(TserverErrorCode.MISMATCHED_SCHEMA, AppStatus.INVALID_ARGUMENT);
  const locked = refuse(TserverErrorCode.TXN_LOCKED_ABORT, AppStatus.ABORTED);
  const unauthorized: Act = (call) => {
    call.refuse(RpcErrorCode.ERROR_INVALID_AUTHORIZATION_TOKEN, 'no token');
  };
  const send = (timeoutMs = 3000, extension = Buffer.from('ours')): Promise<bigint> =>
    extensions.write(TABLET, extension, Deadline.from({ timeoutMs }, 0));
  const sent = (): readonly number[] => log.map(({ server }) => server);
  const columnsSent = (): readonly string[] =>
    log.map(({ request }) => request.schema!.columns.map(({ name }) => name).join());

  it('sends no rows, no ids and no token, and asks the master once for many', async () => {
    assert.deepEqual(await Promise.all([send(), send(), send()]), [5n, 5n, 5n]);
    await send();
    assert.deepEqual(master.asked, { ...master.asked, table: 1, token: 0 });
    for (const { request, hasId } of log) {
      assert.equal(Buffer.from(request.extension).toString(), 'ours');
      assert.equal(request.rowOperations, undefined);
      assert.equal(request.authzToken, undefined);
      assert.equal(hasId, false);
    }
    const asked = master.asked.tablet;
    await send();
    assert.equal(master.asked.tablet, asked, 'the place is kept as well');
  });

  it('finds the leader when it is another than the master says, and keeps to it', async () => {
    script(0, follower);
    await send();
    assert.deepEqual(sent(), [0, 1]);
    master.leader = 1;
    await send();
    await send();
    assert.deepEqual(sent().slice(-1), [1]);
  });

  it('does not wait long for a server that hangs, and longer for one that is slow', async () => {
    script(0, () => undefined);
    const began = performance.now();
    assert.equal(await send(), 5n);
    assert.ok(performance.now() - began < 2500);
    const slowly: Act = (call) => {
      setTimeout(() => {
        accept(call);
      }, 1800);
    };
    script(0, slowly);
    script(1, slowly);
    assert.equal(await send(6000), 5n);
  });

  it('sends again when an answer is lost: twice is harmless', async () => {
    script(0, (call) => {
      call.hangUp();
    });
    assert.equal(await send(), 5n);
    assert.deepEqual(sent(), [0, 1]);
  });

  it('fetches the schema anew when it no longer fits', async () => {
    await send();
    script(0, mismatched, accept);
    master.columns = [column('key', DataType.INT32, { isKey: true }), column('v', DataType.INT8)];
    await send();
    assert.deepEqual(columnsSent(), ['k', 'k', 'key,v']);
    await send();
    assert.equal(master.asked.table, 2);

    script(0, mismatched, mismatched, mismatched, accept);
    await send(); // the master tells of an ALTER later than the tablet that has it
    script(0, mismatched);
    const asked = master.asked.table;
    await assert.rejects(send(), (e) => KuduError.is(e, 'tserver', TserverErrorCode.MISMATCHED_SCHEMA) && e.notRun);
    assert.equal(master.asked.table, asked + 4, 'it gives up at last');
  });

  it('lets many that meet the same ALTER share one look at the schema', async () => {
    await send();
    script(0, mismatched, mismatched, mismatched, accept);
    master.columns = [column('key', DataType.INT32, { isKey: true })];
    await Promise.all([send(), send(), send()]);
    assert.equal(master.asked.table, 2);
  });

  it('attaches a token once a server wants one, and a new one when that is over', async () => {
    master.token = create(SignedTokenPBSchema, { tokenData: Buffer.from('first') });
    script(0, unauthorized, accept);
    await send();
    await send();
    assert.deepEqual(
      log.map(({ request }) => Buffer.from(request.authzToken?.tokenData ?? []).toString()),
      ['', 'first', 'first'],
    );
    assert.equal(master.asked.token, 1);
  });

  it('gives up at once on a tablet that a transaction holds', async () => {
    script(0, locked);
    await assert.rejects(send(), (error) => error instanceof KuduError && error.locked);
    assert.deepEqual(sent(), [0]);
  });

  it('asks anew about a table that was away', async () => {
    master.failure = new KuduError('master', 'none', { code: MasterErrorCode.TABLE_NOT_FOUND });
    await assert.rejects(send(), (error) => error instanceof KuduError && error.notFound);
    master.failure = null;
    assert.equal(await send(), 5n);
    script(0, refuse(TserverErrorCode.TABLET_NOT_FOUND, AppStatus.NOT_FOUND));
    script(1, refuse(TserverErrorCode.TABLET_NOT_FOUND, AppStatus.NOT_FOUND));
    master.isDropped = true;
    await assert.rejects(send(), (error) => error instanceof KuduError && error.notFound);
  });

  it('ends with its signal, and leaves the look at the schema to others that wait for it', async () => {
    const abort = new AbortController();
    const first = extensions.write(TABLET, Buffer.of(1), Deadline.from({ signal: abort.signal, timeoutMs: 3000 }, 0));
    const second = send();
    abort.abort(new Error('stopping'));
    await assert.rejects(first, /stopping/);
    assert.equal(await second, 5n);
    assert.equal(master.asked.table, 1);
  });

  describe('as a marker', () => {
    /** Its kind, and that what is said of it names the tablet and no token. */
    async function failure(timeoutMs = 3000): Promise<MarkerErrorKind> {
      const writer = markerWriter(timeoutMs);
      try {
        await writer.write(TABLET, MARKER, new AbortController().signal);
      } catch (error) {
        assert.ok(error instanceof MarkerError, String(error));
        assert.match(error.message, /^the marker of tablet tablet was not written: /);
        return error.kind;
      }
      throw new assert.AssertionError({ message: 'it was written' });
    }
    const writeExtension: KuduClient['writeExtension'] = async (tablet, bytes, options) => ({
      timestamp: await extensions.write(tablet, bytes, Deadline.from(options ?? {}, 0)),
    });
    const markerWriter = (timeoutMs: number): KuduMarkerWriter =>
      new KuduMarkerWriter({ writeExtension }, { timeoutMs });

    it('is written as its bytes', async () => {
      await markerWriter(3000).write(TABLET, MARKER, new AbortController().signal);
      assert.deepEqual(Buffer.from(log[0]!.request.extension), encodeMarker(MARKER));
    });

    it('tells what passes from what does not', async () => {
      script(0, locked);
      assert.equal(await failure(), 'locked');
      script(0, refuse(TserverErrorCode.TXN_LOCKED_RETRY_OP, AppStatus.ABORTED));
      assert.equal(await failure(), 'locked');
      script(0, follower);
      script(1, follower);
      assert.equal(await failure(1600), 'not-leader');
      const busy: Act = (call) => {
        call.refuse(RpcErrorCode.ERROR_SERVER_TOO_BUSY, 'busy');
      };
      script(0, busy);
      script(1, busy);
      assert.equal(await failure(800), 'retry');
      script(0, () => undefined);
      assert.equal(await failure(800), 'retry');
      script(0, mismatched);
      assert.equal(await failure(), 'retry');
      script(0, unauthorized);
      assert.equal(await failure(), 'refused');
      script(0, refuse(TserverErrorCode.UNKNOWN_ERROR, AppStatus.NOT_SUPPORTED));
      assert.equal(await failure(), 'refused');
      script(0, refuse(TserverErrorCode.TABLET_NOT_FOUND, AppStatus.NOT_FOUND));
      master.isDropped = true;
      assert.equal(await failure(), 'refused');
    });

    it('cannot be written to a table of a kind that is not known', async () => {
      master.failure = new RangeError('column "a" has data type 21, which this client does not know');
      assert.equal(await failure(), 'refused');
    });

    it('ends with the reason of its signal', async () => {
      script(0, () => undefined);
      const abort = new AbortController();
      const writing = markerWriter(3000).write(TABLET, MARKER, abort.signal);
      setTimeout(() => {
        abort.abort(new Error('stopping'));
      }, 20);
      await assert.rejects(writing, /^Error: stopping$/);
    });
  });
});
