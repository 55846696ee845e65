import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RemoteLog } from '../../src/sidecars/remote-log.ts';
import { SidecarClient } from '../../src/sidecars/sidecar-client.ts';
import type { Filling } from '../../src/source/gap-filler.ts';
import { type ControlServer } from '../../src/control/server.ts';
import { parseOpId, type OpId } from '../../src/kudu/opid.ts';
import type { KnownSidecar } from '../../src/api/shapes.ts';
import { HoldStore } from '../../src/wal/hold-store.ts';
import { encodeLog, type HeldIncarnation, type LogRequest } from '../../src/wal/log-transfer.ts';
import type { TabletHold } from '../../src/wal/tablet-hold.ts';
import { goldenWal } from '../support/golden-wal.ts';
import { withToken } from '../support/credentials.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane } from '../support/memory-control-plane.ts';
import { segmentBytes } from '../support/segment-bytes.ts';

const TABLET = '0123456789abcdef0123456789abcdef';
const TOKEN = 'a-token-of-the-test';
const IDLE_MS = 150;

const dir = mkdtempSync(join(tmpdir(), 'spoor-peer-log-'));
after(() => {
  rmSync(dir, { recursive: true });
});

/** A sidecar of which only the API is there. */
interface Peer {
  readonly plane: MemoryControlPlane;
  readonly server: ControlServer;
  readonly asked: string[];
}

async function startPeer(): Promise<Peer> {
  const plane = new MemoryControlPlane();
  const server = await serveMemory(plane, {
    credentials: withToken(TOKEN),
    version: '',
  });
  return { plane, server, asked: [] };
}

function viewOf(id: string, http: string): KnownSidecar {
  return { id, http, tserver: http, tserverUuid: id, version: '', lastSeen: new Date().toISOString(), isAlive: true };
}

let folders = 0;
function generation(...segments: readonly Buffer[]): HeldIncarnation {
  const folder = join(dir, `generation-${folders++}`);
  mkdirSync(folder);
  return {
    segments: segments.map((bytes, i) => {
      const path = join(folder, `wal-00000000${i + 1}`);
      writeFileSync(path, bytes);
      return { sequenceNumber: i + 1, path };
    }),
  };
}

const CLOSED = { closed: true };
const FIRST = segmentBytes(['R1.1 R1.2', 'C1.1'], CLOSED);
const SECOND = segmentBytes(['C1.2', 'R1.3'], { sequenceNumber: 2, ...CLOSED });
const THIRD = segmentBytes(['C1.3', 'R1.4'], { sequenceNumber: 3, zeros: 0 });
const LOG = [FIRST, SECOND, THIRD];
const generations = [generation(FIRST, SECOND, Buffer.concat([THIRD, Buffer.alloc(5000)]))];

describe("the log of the tablet's other replicas", () => {
  let peers: Peer[];
  let store: HoldStore;
  let hold: TabletHold;
  let lines: LogLine[];
  let more: KnownSidecar[];
  let ids: string[];
  /** Longer than a busy machine needs, but where it is what is looked at. */
  let idleTimeoutMs: number;

  before(async () => {
    peers = await Promise.all([startPeer(), startPeer(), startPeer()]);
  });
  after(() => Promise.all(peers.map(({ server }) => server.close())));
  beforeEach(() => {
    const walDir = mkdtempSync(join(dir, 'wal-'));
    mkdirSync(join(walDir, 'wals'));
    store = HoldStore.open({ dir: join(walDir, 'hold'), walDir });
    hold = store.enable(TABLET);
    lines = [];
    more = [];
    ids = ['a', 'b', 'c'];
    idleTimeoutMs = 10_000;
    for (const peer of peers) peer.asked.length = 0;
    for (const { plane } of peers) plane.heldLog = () => null;
  });
  afterEach(() => {
    hold.drop();
  });

  const remoteLog = (token: string | null = TOKEN): RemoteLog =>
    new RemoteLog({
      selfId: 'self',
      listSidecars: () =>
        Promise.resolve([
          ...more,
          ...peers.map(({ server }, i) => viewOf(ids[i]!, `127.0.0.1:${server.address.port}`)),
        ]),
      holdOf: (tabletId) => store.enable(tabletId),
      client: new SidecarClient(withToken(token)),
      logger: keepingLogger(lines),
      idleTimeoutMs,
    });
  const fill = (after = '1.0', signal = AbortSignal.timeout(60_000)): Promise<Filling> =>
    remoteLog().fill(TABLET, parseOpId(after), signal);
  const has = (i: number, log: (after: OpId, request: LogRequest) => AsyncIterable<Uint8Array>): void => {
    peers[i]!.plane.heldLog = (tabletId, after, request) => {
      peers[i]!.asked.push(`${tabletId} ${after.term}.${after.index}`);
      return log(after, request);
    };
  };
  /** What of a log comes before the connection breaks. */
  const upTo = async function* (bytes: number, after: OpId): AsyncGenerator<Uint8Array> {
    for await (const chunk of encodeLog(generations, after)) {
      if (chunk.length >= bytes) {
        yield chunk.subarray(0, bytes);
        throw new Error('broken');
      }
      bytes -= chunk.length;
      yield chunk;
    }
  };
  /** Comes as far as the middle of one of the segments, the first being 0. */
  const brokenIn = async function* (segment: number, after: OpId): AsyncGenerator<Uint8Array> {
    let frames = 0;
    for await (const chunk of encodeLog(generations, after)) {
      if (++frames === 2 * segment + 2) {
        yield chunk.subarray(0, chunk.length / 2);
        throw new Error('broken');
      }
      yield chunk; // a header, or all of a small segment
    }
  };
  /** All that is held, a list for each log that something was received of, in the order in which they came. */
  const heldPaths = (): string[][] => {
    const folder = join(store.dir, TABLET);
    if (!existsSync(folder)) return [];
    const sorted = (path: string): string[] => readdirSync(path).sort();
    return sorted(folder).map((log) => sorted(join(folder, log)).map((name) => join(folder, log, name)));
  };
  const heldSegments = (): Buffer[][] => heldPaths().map((paths) => paths.map((path) => readFileSync(path)));
  it('is taken from the first that has it, whatever the ones before do', async () => {
    has(1, (after) => brokenIn(1, after));
    has(2, (after) => encodeLog(generations, after));
    assert.equal(await fill('1.0'), 'filled');
    assert.deepEqual([peers[1]!.asked, peers[2]!.asked], [[`${TABLET} 1.0`], [`${TABLET} 1.0`]]);
    const [broken, whole] = heldSegments();
    assert.deepEqual([broken, whole], [[FIRST], LOG]);
    assert.deepEqual(
      hold.incarnations().map(({ kind }) => kind),
      ['peer', 'peer'],
    );
    const levels = lines.map(({ level, message }) => `${level} ${message}`);
    assert.deepEqual(levels, ['warn log not received from a sidecar', 'info log received from a sidecar']);
    assert.deepEqual(lines[1]!.fields, {
      sidecar: 'c',
      segments: 3,
      bytes: FIRST.length + SECOND.length + THIRD.length,
    });
  });

  it('is asked for from where it is lacking, and keeps its age', async () => {
    has(0, (after) => encodeLog(generations, after));
    assert.equal(await fill('1.2'), 'filled');
    assert.deepEqual(heldSegments(), [[SECOND, THIRD]]);
    assert.deepEqual([peers[0]!.asked, peers[1]!.asked], [[`${TABLET} 1.2`], []]);
    const held = heldPaths()[0]![0]!;
    const ageOf = (path: string): number => statSync(path).mtimeMs;
    assert.ok(Math.abs(ageOf(held) - ageOf(generations[0]!.segments[1]!.path)) < 2);
  });

  it('is taken once more in place of what was taken before', async () => {
    has(0, (after) => brokenIn(2, after));
    assert.equal(await fill(), 'filled', 'what came whole is enough to go on');
    assert.deepEqual(heldSegments(), [[FIRST, SECOND]]);
    has(0, (after) => encodeLog(generations, after));
    assert.equal(await fill(), 'filled');
    assert.equal(await fill(), 'filled');
    assert.deepEqual(heldSegments(), [LOG]);
  });

  it('is not sent once more for the same position: only what there is, and that ever more seldom', async (t) => {
    let nowMs = 1_000_000;
    t.mock.method(performance, 'now', () => nowMs);
    const bytes: number[] = [];
    let log = generations;
    has(0, async function* (after, request) {
      let sum = 0;
      for await (const chunk of encodeLog(log, after, request)) {
        sum += chunk.length;
        yield chunk;
      }
      bytes.push(sum);
    });
    const asking = remoteLog();
    const ask = (asker?: string): Promise<Filling> =>
      asking.fill(TABLET, parseOpId('1.0'), AbortSignal.timeout(60_000), asker);
    assert.equal(await ask(), 'filled');
    const segmentsBytes = FIRST.length + SECOND.length + THIRD.length;
    const headersBytes = bytes[0]! - segmentsBytes;
    const held = heldPaths()
      .flat()
      .map((path) => statSync(path).ino);
    const spared = '"sent":false,'.length;
    assert.equal(await ask(), 'nobody', 'it did not help');
    assert.deepEqual(bytes.slice(1), [headersBytes + 3 * spared]);
    for (let s = 0; s < 600; s += 15, nowMs += 15_000) await ask();
    assert.ok(bytes.length > 8 && bytes.length < 14, `asked ${bytes.length} times in ten minutes`);
    assert.equal(await ask('another'), 'filled', 'who was not told yet is told');
    assert.equal(bytes.at(-1), headersBytes + 3 * spared, 'and nothing comes twice for that');
    assert.deepEqual(
      heldPaths()
        .flat()
        .map((path) => statSync(path).ino),
      held,
      'nor is anything written twice',
    );

    const fresh = generation(segmentBytes(['R1.1 C1.1 R1.2 C1.2'], CLOSED));
    log = [...generations, fresh];
    nowMs += 60_000;
    assert.equal(await ask(), 'filled', 'what may help is had within a minute');
    assert.deepEqual(heldSegments(), [LOG, [readFileSync(fresh.segments[0]!.path)]]);
    const size = statSync(fresh.segments[0]!.path).size;
    assert.ok(bytes.at(-1)! < size + 800, 'and comes alone');
  });

  it('is read in its new order first where damage was found, and what is damaged is asked for once more', async () => {
    has(0, (after, request) => encodeLog(generations, after, request));
    assert.equal(await fill(), 'filled');
    const inode = statSync(heldPaths()[0]![1]!, { bigint: true }).ino;
    hold.noteDamage(inode);
    const asking = remoteLog();
    const ask = (): Promise<Filling> => asking.fill(TABLET, parseOpId('1.0'), AbortSignal.timeout(60_000));
    assert.equal(await ask(), 'filled');
    assert.equal(peers[0]!.asked.length, 1, 'nobody was asked');
    assert.equal(await ask(), 'filled');
    const [first, second, third] = heldPaths()[0]!.map((path) => statSync(path, { bigint: true }).ino);
    assert.ok(first !== undefined && third !== undefined && second !== inode);
    assert.equal(await ask(), 'nobody');
  });

  it('of two incarnations is kept apart', async () => {
    const rewritten = generation(segmentBytes(['R1.2 R1.3 C1.2', 'R2.5'], { zeros: 0 }));
    has(0, (after) => encodeLog([...generations, rewritten], after));
    assert.equal(await fill('1.1'), 'filled');
    assert.deepEqual(heldSegments(), [LOG, [readFileSync(rewritten.segments[0]!.path)]]);
  });

  it('comes in any size', async () => {
    const { bytes } = goldenWal('follower-batches');
    const big = [generation(...Array.from({ length: 20 }, () => bytes))];
    const whole = Math.max(...(await sizesOf(big)));
    has(0, (after) => encodeLog(big, after));
    assert.equal(await fill('0.0'), 'filled');
    assert.deepEqual(
      heldSegments()[0]!.map(({ length }) => length),
      Array.from({ length: 20 }, () => whole),
    );
  });

  it('is nobody’s where it does not go back so far, or not on; nothing is kept of it', async () => {
    const late = [generation(segmentBytes(['R1.3']))];
    has(0, (after) => encodeLog(late, after));
    has(1, (after) => encodeLog(generations, after));
    assert.equal(await fill('1.4'), 'nobody', 'nothing comes after');
    has(1, (after) => encodeLog(late, after));
    assert.equal(await fill('1.1'), 'nobody', '1.2 is lacking');
    assert.deepEqual(heldSegments(), []);
    assert.equal(await fill('1.2'), 'filled');
  });

  it('is nobody’s where nobody answers, or answers otherwise', async () => {
    const nobody = createServer();
    await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
    const { port } = nobody.address() as { port: number };
    await new Promise((resolve) => nobody.close(resolve));
    const page = createServer((_request, response) => response.end('<html>hello</html>'));
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
    const pagePort = (page.address() as { port: number }).port;
    more = [viewOf('d', `127.0.0.1:${port}`), viewOf('e', `127.0.0.1:${pagePort}`)];
    has(0, () => {
      throw new Error('a bug');
    });
    assert.equal(await fill(), 'silent', 'one of them may have it');
    page.close();
    assert.deepEqual(
      lines.map(({ fields }) => (fields as { reason: string }).reason),
      ['fetch failed', 'a header claims 1836345404 bytes', 'HTTP 500'],
    );
    assert.deepEqual(heldSegments(), []);
  });

  it('may be with a sidecar that is known and was not heard of lately', async () => {
    more = [{ ...viewOf('d', '127.0.0.1:1'), isAlive: false }];
    assert.equal(await fill(), 'silent');
    assert.deepEqual(lines, [], 'it is not asked');
  });

  it('is not asked of oneself, and only with the token', async () => {
    for (const i of [0, 1, 2]) has(i, (after) => encodeLog(generations, after));
    ids = ['self', 'self', 'self'];
    assert.equal(await fill(), 'nobody');
    ids = ['a', 'self', 'self'];
    const signal = AbortSignal.timeout(60_000);
    for (const token of [null, 'another'])
      assert.equal(await remoteLog(token).fill(TABLET, parseOpId('1.0'), signal), 'silent');
    assert.deepEqual(
      peers.map(({ asked }) => asked),
      [[], [], []],
    );
    assert.equal(await fill(), 'filled');
  });

  it('leaves no half segment, wherever it breaks off', async () => {
    const length = (await sizesOf(generations)).reduce((sum, size) => sum + size, 0);
    for (let at = 0; at < length + 500; at += 61) {
      has(0, (after) => upTo(at, after));
      const outcome = await fill();
      const segments = heldSegments().flat();
      assert.deepEqual(segments, LOG.slice(0, segments.length), `cut at ${at}`);
      assert.equal(outcome, segments.length > 0 ? 'filled' : 'silent');
      hold.drop();
      hold = store.enable(TABLET);
    }
  });

  it('is given up where nothing comes for too long, before the first byte or after it', async () => {
    idleTimeoutMs = IDLE_MS;
    has(0, async function* () {
      await sleep(4 * IDLE_MS);
      yield Buffer.alloc(0);
    });
    has(1, async function* (after) {
      try {
        yield* brokenIn(1, after);
      } catch {
        await sleep(4 * IDLE_MS);
      }
    });
    has(2, (after) => encodeLog(generations, after));
    assert.equal(await fill(), 'filled');
    assert.deepEqual(
      lines.filter(({ level }) => level === 'warn').map(({ fields }) => (fields as { reason: string }).reason),
      [`nothing came for ${IDLE_MS / 1000} s`, `nothing came for ${IDLE_MS / 1000} s`],
    );
    assert.deepEqual(heldSegments(), [[FIRST], LOG]);
  });

  it('may take as long as it likes while something comes', async () => {
    idleTimeoutMs = IDLE_MS;
    has(0, async function* (after) {
      for await (const chunk of encodeLog(generations, after))
        for (let at = 0; at < chunk.length; at += 200) {
          yield chunk.subarray(at, at + 200);
          await sleep(IDLE_MS / 3);
        }
    });
    const startedMs = performance.now();
    assert.equal(await fill(), 'filled');
    assert.ok(performance.now() - startedMs > IDLE_MS);
    assert.deepEqual(heldSegments(), [LOG]);
  });

  it('is given up with the reason of the signal', async () => {
    const stop = new AbortController();
    has(0, async function* (after) {
      try {
        yield* brokenIn(1, after);
      } catch {
        stop.abort(new Error('the sidecar stops'));
        await sleep(4 * IDLE_MS);
      }
    });
    await assert.rejects(fill('1.0', stop.signal), /^Error: the sidecar stops$/);
    assert.ok(
      heldSegments()
        .flat()
        .every((bytes) => LOG.some((whole) => whole.equals(bytes))),
    );
    await assert.rejects(fill('1.0', AbortSignal.abort(new Error('stopped'))), /stopped/);
  });

  it('that cannot be kept is an error, and nobody else is asked', async () => {
    for (const i of [0, 1]) has(i, (after) => encodeLog(generations, after));
    const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    const log = new RemoteLog({
      selfId: 'self',
      listSidecars: () =>
        Promise.resolve(peers.map(({ server }, i) => viewOf(ids[i]!, `127.0.0.1:${server.address.port}`))),
      holdOf: () => ({ receive: () => Promise.reject(full), received: () => [], damagedCount: 0 }),
      client: new SidecarClient(withToken(TOKEN)),
      logger: keepingLogger(lines),
    });
    await assert.rejects(log.fill(TABLET, parseOpId('1.0'), AbortSignal.timeout(60_000)), full);
    assert.equal(peers[1]!.asked.length, 0);
  });
});

async function sizesOf(log: readonly HeldIncarnation[]): Promise<number[]> {
  const sizes: number[] = [];
  for await (const chunk of encodeLog(log, parseOpId('0.0'))) if (chunk.length > 200) sizes.push(chunk.length);
  return sizes;
}
