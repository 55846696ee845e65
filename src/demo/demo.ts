import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../kudu/client.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { fetchKafka, fetchKudu, type KafkaInstall, type KuduInstall } from './artifacts.ts';
import { KerberosKdc } from './kerberos-kdc.ts';
import { kerberosSecurity, type KuduSecurity } from './kudu-security.ts';
import { KuduCluster, type TabletServer } from './kudu-servers.ts';
import type { FaultKind } from './fault-script.ts';
import { DemoFault, type Breakable } from './faults.ts';
import { DemoFigures, statusLine } from './figures.ts';
import { createOrders, OrderWriter } from './order-writer.ts';
import type { ChangeSample } from './change-tally.ts';
import type { Screen } from './screen.ts';
import { SidecarProcess } from './sidecar-process.ts';
import { busiestSidecar, createStream } from './stream-setup.ts';
import { ensureSystemTools } from './system-packages.ts';
import { openTarget, TARGETS, type DemoTarget } from './targets.ts';
import { DemoError } from './user-error.ts';
import { WorkDir } from './work-dir.ts';

const TABLE = 'demo.orders';
const STREAM = 'demo';
const SIDECARS = 3;
const TICK_MS = 500;
const POLL_MS = 100;
const READY_TIMEOUT_MS = 60_000;
/** How long the last rows may take to arrive once the load has stopped. */
const DRAIN_TIMEOUT_MS = 30_000;
/** The same behind a fault: a stand-in begins some 20 s after a sidecar has died. */
const DRAIN_AFTER_FAULT_MS = 60_000;

export interface DemoOptions {
  readonly screen: Screen;
  /** Where Kudu and Kafka are kept between runs; Redis is the machine's own. */
  readonly cacheDir: string;
  /** Row operations a second. */
  readonly rate: number;
  /** TLS and Kerberos everywhere in Kudu. */
  readonly isSecure: boolean;
  readonly ships: keyof typeof TARGETS;
  /** What breaks while the load runs; null for nothing. */
  readonly fault: FaultKind | null;
  /** How long the load runs; null: until the signal. */
  readonly exitAfterMs: number | null;
  /** Ends the load; what was started is then stopped in order. */
  readonly signal: AbortSignal;
}

/** Whether every row that was written had arrived when the demo ended; `unstarted` when it was ended before that. */
export type DemoOutcome = 'all-shipped' | 'not-all-shipped' | 'unstarted';

interface Installs {
  readonly kudu: KuduInstall;
  /** Null: it ships elsewhere. */
  readonly kafka: KafkaInstall | null;
}

/**
 * A whole cluster on this machine, under load until `signal` aborts: stock Kudu, Kafka or Redis, a sidecar beside each tablet
 * server. Everything is stopped when it settles.
 * @throws {DemoError} when something is missing that a person must provide, or a part ended by itself
 */
export async function runDemo(options: DemoOptions): Promise<DemoOutcome> {
  const { screen, signal } = options;
  const load = { begun: false };
  try {
    const installs = await install(options);
    try {
      return await runCluster(options, installs, load);
    } finally {
      screen.keepStatus();
      const servers = options.ships === 'to-files' ? 'sidecars' : `sidecars, ${TARGETS[options.ships]}`;
      screen.line(`stopped: ${servers} and Kudu have ended, their data is removed`);
    }
  } catch (error) {
    // What fails at its start while it is being ended fails because of that: Ctrl-C reaches Maven too.
    if (signal.aborted && !load.begun) return 'unstarted';
    throw error;
  }
}

async function install({ screen, cacheDir, isSecure, ships, signal }: DemoOptions): Promise<Installs> {
  const progress = (line: string): void => {
    screen.status(line, performance.now());
  };
  const tools = await ensureSystemTools({
    compiler: false,
    kerberos: isSecure,
    redis: ships === 'to-redis',
    progress,
  });
  signal.throwIfAborted();
  const kudu = await fetchKudu({ tools, cacheDir, progress });
  signal.throwIfAborted();
  const kafka = ships !== 'to-kafka' ? null : await fetchKafka({ tools, cacheDir, progress });
  signal.throwIfAborted();
  return { kudu, kafka };
}

async function runCluster(
  { screen, rate, isSecure, ships, fault: faultKind, exitAfterMs, signal }: DemoOptions,
  installs: Installs,
  load: { begun: boolean },
): Promise<DemoOutcome> {
  const progress = (line: string): void => {
    screen.status(line, performance.now());
  };
  await using dir = await WorkDir.create('spoor-demo');
  await using kdc = isSecure ? await KerberosKdc.start({ dir: join(dir.path, 'kdc') }) : null;
  const security = kdc === null ? null : await secure(kdc);
  progress('starting Kudu: a master and three tablet servers');
  await using kudu = await KuduCluster.start({
    install: installs.kudu,
    dir: join(dir.path, 'kudu'),
    tservers: SIDECARS,
    ...(security && {
      masterFlags: security.masterFlags,
      tserverFlags: security.tserverFlags,
      env: security.serverEnv,
      cliEnv: security.cliEnv,
    }),
  });
  if (kdc !== null)
    screen.line(`Security   TLS and Kerberos, realm ${kdc.realm}; sidecars log in from a keytab as spoor`);
  screen.line(`Kudu       master ${kudu.masters.join(',')}`);
  signal.throwIfAborted();

  progress(`starting ${TARGETS[ships]}`);
  await using target = await openTarget(ships, installs.kafka, dir.path);
  screen.line(`${target.name}      ${target.address}`);
  signal.throwIfAborted();

  progress('starting the sidecars');
  await using sidecars = await startSidecars(dir.path, kudu, { ...target.sidecarEnv, ...security?.sidecarEnv }, signal);
  screen.line(`page  ${sidecars.all[0]!.url}/`);
  for (const [i, { url }] of sidecars.all.entries()) {
    screen.line(`Sidecar ${i + 1}  ${url}  beside tablet server ${kudu.tservers[i]!.rpc}`);
  }
  signal.throwIfAborted();

  using client = await KuduClient.connect({ masters: kudu.masters, signal, ...security?.client });
  progress(`creating table ${TABLE} and stream ${STREAM}`);
  const table = await createOrders(client, TABLE, signal);
  const api = sidecars.all[0]!.url;
  await createStream(api, { name: STREAM, table: TABLE, sink: target.sink, signal });
  await using watcher = await target.watch(TABLE);
  const { tally } = watcher;
  screen.line(`Table      ${TABLE}: 4 hash partitions, 3 replicas each; ${rate} row operations a second`);
  screen.line(`Stream     ${STREAM}: ${api}/v1/streams/${STREAM}`);
  screen.line(target.placeOf(TABLE));
  screen.line('Ctrl-C stops the load, then everything.');

  const figures = new DemoFigures(performance.now());
  const writer = new OrderWriter(table, rate);
  using limit = exitAfterMs === null ? null : new TimeLimit(signal, exitAfterMs);
  const end = limit?.signal ?? signal;
  const fault =
    faultKind === null
      ? null
      : new DemoFault({
          ...{ kind: faultKind, rate, startMs: performance.now(), exitAfterMs, screen },
          choose: () => chooseBroken(faultKind, { api, target, kudu, sidecars: sidecars.all }),
        });
  load.begun = true;
  const writing = writer.run(end);
  let shown = 0;
  const show = (): void => {
    for (const [op, sample] of [...tally.samples].slice(shown)) {
      shown++;
      for (const line of sampleLines(op, sample, target)) screen.line(line);
    }
    const now = performance.now();
    const seen = { written: writer.written, shipped: tally.rows, worstAgeMs: tally.takeWorstAgeMs() };
    screen.status(statusLine(figures.next(now, seen)), now);
    if (!end.aborted) fault?.look(now, seen);
  };
  while (!end.aborted) {
    await sleep(TICK_MS, undefined, { signal: end }).catch(() => undefined);
    show();
    for (const [i, sidecar] of sidecars.all.entries()) {
      if (!sidecar.running && !fault?.isBroken(sidecar))
        throw new DemoError(`sidecar ${i + 1} has ended by itself:\n${await sidecar.logTail()}`);
    }
    if (writer.failure !== null) throw new DemoError(`the load could not be written: ${writer.failure.message}`);
  }
  await writing;
  await fault?.finish();

  const drainUntil = performance.now() + (fault ? DRAIN_AFTER_FAULT_MS : DRAIN_TIMEOUT_MS);
  while (tally.rows < writer.written && performance.now() < drainUntil) {
    await sleep(POLL_MS);
    show();
  }
  screen.keepStatus();
  const complete = tally.rows === writer.written;
  fault?.conclude(complete);
  screen.line(
    `${writer.written} row changes written, ${tally.rows} records read from ${target.name}: ` +
      (complete ? 'all shipped' : 'NOT the same number'),
  );
  return complete ? 'all-shipped' : 'not-all-shipped';
}

/** What is to break, by who leads and ships at the moment. Never what the page is served by. */
async function chooseBroken(
  kind: FaultKind,
  parts: {
    readonly api: string;
    readonly target: DemoTarget;
    readonly kudu: KuduCluster;
    readonly sidecars: readonly SidecarProcess[];
  },
): Promise<Breakable> {
  const { api, target, kudu, sidecars } = parts;
  if (kind === 'broker') {
    if (target.server === null) throw new DemoError('files have no broker that could break');
    const expect = 'rows wait in the logs, and their tablets turn blocked';
    return { name: target.name, server: target.server, expect };
  }
  const busiest = await busiestSidecar(api, STREAM, sidecars.map(({ url }) => url).slice(1));
  const number = busiest + 2;
  if (kind === 'sidecar')
    return {
      name: `sidecar ${number}`,
      server: sidecars[number - 1]!,
      expect: 'others stand in for it some 20 s from now',
    };
  return {
    name: `tablet server ${number} (${kudu.tservers[number - 1]!.rpc})`,
    server: kudu.tservers[number - 1]!,
    expect: 'its tablets elect other leaders, whose sidecars go on behind what it has shipped',
  };
}

/** The servers' own traffic is encrypted too, although it stays on this machine. */
async function secure(kdc: KerberosKdc): Promise<KuduSecurity> {
  Object.assign(process.env, kdc.env); // this process writes the table, in the same realm
  return kerberosSecurity(kdc, { flags: ['--rpc_encrypt_loopback_connections'] });
}

/** One beside each tablet server; resolves when each says that it is ready. */
async function startSidecars(
  dir: string,
  kudu: KuduCluster,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly all: readonly SidecarProcess[] }> {
  const all: SidecarProcess[] = [];
  const stopAll = async (): Promise<void> => {
    await Promise.all(all.map((sidecar) => sidecar.stop()));
  };
  const start = async (tserver: TabletServer, i: number): Promise<void> => {
    const name = `sidecar ${i + 1}`;
    const servers = { masters: kudu.masters, tserver };
    const sidecar = await SidecarProcess.start({ name, dir: join(dir, `sidecar-${i + 1}`), env, ...servers });
    all[i] = sidecar;
    await waitUntilReady(sidecar, signal);
  };
  const results = await Promise.allSettled(kudu.tservers.map(start));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await stopAll();
    throw failed.reason as Error;
  }
  return { all, [Symbol.asyncDispose]: stopAll };
}

async function waitUntilReady(sidecar: SidecarProcess, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const answer = await fetch(`${sidecar.url}/readyz`, { signal });
    if (answer.ok) return;
    if (performance.now() > deadline) throw new DemoError(`the sidecar is not ready: ${await answer.text()}`);
    await sleep(POLL_MS, undefined, { signal });
  }
}

const OP_NAMES: Readonly<Record<string, string>> = { c: 'an insert', u: 'an update', d: 'a delete' };

function sampleLines(op: string, { key, value, beside }: ChangeSample, { name }: DemoTarget): readonly string[] {
  return [
    `\nthe first record of ${OP_NAMES[op] ?? op}:`,
    `  key     ${key}`,
    `  value   ${value}`,
    `  ${name === 'Kafka' ? 'header' : 'beside'}  ${beside}`,
  ];
}
