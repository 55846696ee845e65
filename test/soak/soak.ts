import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TabletView } from '../../src/api/shapes.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { Random } from '../support/random.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';
import { checkTopic, type TopicFigures } from './checker.ts';
import { LogArchive, type ArchivedLogs } from './log-archive.ts';
import { BROKER_FAULTS, runSeries, SERVER_FAULTS, SIDECAR_FAULTS } from './faults.ts';
import { World } from './world.ts';

/** Log segments are small and log GC is eager, so that what Spoor does not hold is soon gone. */
const FLAGS = [
  '--log_segment_size_mb=1',
  '--flush_threshold_secs=2',
  '--raft_heartbeat_interval_ms=200',
  '--maintenance_manager_polling_interval_ms=100',
  // The rows are few and change all the time: with a history of days Kudu compacts for ever more, until two cores do nothing else.
  '--tablet_history_max_age_sec=300',
];
const TABLE = 'soak.mixed';
const ONCE = 'once';
const AT_LEAST = 'atleast';
/** Operations a second: enough to roll a 1 MB segment of a tablet every twenty seconds, few enough for two cores. */
const RATE = 600;
const ROUND_MS = 20_000;
/** How often it is told how far it is. */
const ROUNDS_A_WORD = 6;
const MAX_SEGMENTS = 2;
const SHRINKS_WITHIN_MS = 60_000;

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Of the table. */
  readonly tablets: number;
  /** How long a stream may stand still, when all is whole again, before it has caught up. */
  readonly standsStillMs: number;
  /** Where logs go when something is wrong. */
  readonly keepLogsIn: string;
  readonly log: (line: string) => void;
}

/**
 * Writes to a table while servers, sidecars and the broker go down, freeze and come back, leaders step down and replicas
 * move; heals all, and holds two streams' topics against the table.
 * @throws {Error} when anything is lost, repeated, out of order or not let go, with all that was done in its message
 */
export async function runSoak(options: SoakOptions): Promise<void> {
  const { seed, tablets, log, keepLogsIn } = options;
  await using cluster = await SpoorCluster.start({ tservers: 4, flags: FLAGS });
  const archiveDir = join(keepLogsIn, 'archive');
  mkdirSync(archiveDir, { recursive: true });
  using archive = new LogArchive(cluster, archiveDir);
  let world: World | null = null;
  try {
    await javaTool('create-table', { masters: cluster.masters, table: TABLE, shape: 'types', buckets: tablets });
    await cluster.createStream(ONCE, [TABLE]);
    await cluster.createStream(AT_LEAST, [TABLE], { sink: { delivery: 'at-least-once' } });
    using watch = await ReplicaWatch.open(cluster);
    const tabletIds = await watch.tabletIds(TABLE);
    await watch.waitUntilWhole(tabletIds);
    world = new World(cluster, watch, { table: TABLE, tabletIds, streams: [ONCE, AT_LEAST], seconds: options.seconds });
    const writing = writeInRounds(cluster, world, options);
    writing.catch(() => undefined); // told below
    const series = [SERVER_FAULTS, SIDECAR_FAULTS, BROKER_FAULTS];
    const made = series.map(async (each, number) => {
      try {
        await runSeries(world!, each, new Random(seed * 31 + number));
      } catch (error) {
        world!.giveUp();
        throw error;
      }
    });
    for (const outcome of await Promise.allSettled(made)) if (outcome.status === 'rejected') throw outcome.reason;
    await heal(world);
    const applied = await writing;
    log(`${applied} rows applied; ${[...world.counts].map(([name, count]) => `${name}: ${count}`).join(', ')}`);
    const logs = await archive.read();
    if (logs.differing.length > 0) throw new Error(`Kudu judged rows differently:\n${logs.differing.join('\n')}`);
    await judge(world, logs, applied, options);
    rmSync(archiveDir, { recursive: true });
  } catch (error) {
    await cluster.keepLogs(keepLogsIn);
    await cluster.keepData(join(keepLogsIn, 'data')).catch((failure: unknown) => {
      log(`the data could not be kept: ${String(failure)}`);
    });
    const trace = world?.trace.join('\n') ?? 'it did not start';
    throw new Error(`soak failed with seed ${seed}; logs are in ${keepLogsIn}\n${trace}`, { cause: error });
  }
}

/** Answers how many rows took effect. */
async function writeInRounds(cluster: SpoorCluster, world: World, { seed, log }: SoakOptions): Promise<number> {
  let applied = 0;
  for (let round = 0; !world.isOver; round++) {
    using load = Load.start(cluster, TABLE, {
      rate: RATE,
      threads: 3,
      flush: 20,
      keys: 3000,
      seed: seed * 1000 + round,
    });
    await world.pause(ROUND_MS);
    const counts = await load.stop();
    const lag = `lag ${await lagOf(cluster)}`;
    world.note(`writer: round ${round}, ${JSON.stringify(counts)}, ${lag}`);
    if ((round + 1) % ROUNDS_A_WORD === 0) log(`after ${((round + 1) * ROUND_MS) / 60_000} min: ${lag}`);
    applied += counts.applied;
  }
  return applied;
}

/** Of each stream, as far as anybody can tell. */
async function lagOf(cluster: SpoorCluster): Promise<string> {
  const lags = [ONCE, AT_LEAST].map(async (stream) => {
    const tablets = await cluster.tablets(stream).catch((): TabletView[] => []);
    const lagging = tablets.map(({ lagOps }) => lagOps ?? '?').filter((lag) => lag !== 0);
    return `${stream} ${lagging.join('+') || 0}`;
  });
  return (await Promise.all(lags)).join(', ');
}

async function heal({ cluster, watch, tabletIds, streams }: World): Promise<void> {
  if (!cluster.kudu.master.running) await cluster.kudu.master.restart();
  if (!cluster.kafka.running) await cluster.kafka.restart();
  for (const server of cluster.kudu.tservers) if (!server.running) await server.restart();
  for (const sidecar of cluster.sidecars) if (!sidecar.running) await sidecar.restart();
  await watch.waitUntilWhole(tabletIds, 3, 120_000);
  for (const sidecar of cluster.sidecars) await sidecar.waitUntilReady();
  for (const stream of streams) await cluster.api('POST', `/v1/streams/${stream}/resume`);
}

/** However much there is to ship: a machine that was too busy for an hour may need minutes. */
async function catchUp(cluster: SpoorCluster, stream: string, standsStillMs: number): Promise<void> {
  let shipped = '';
  let movedAtMs = performance.now();
  for (;;) {
    const tablets = await cluster.tablets(stream);
    if (tablets.length > 0 && tablets.every(({ state, lagOps }) => state === 'running' && lagOps === 0)) return;
    const now = tablets.map(({ tabletId, applyOpId }) => `${tabletId} ${applyOpId}`).join();
    if (now !== shipped) movedAtMs = performance.now();
    shipped = now;
    if (performance.now() - movedAtMs > standsStillMs)
      throw new Error(`nothing is shipped any more: ${JSON.stringify(tablets, null, 1)}`);
    await sleep(500);
  }
}

async function judge(
  world: World,
  logs: ArchivedLogs,
  applied: number,
  { log, standsStillMs }: SoakOptions,
): Promise<void> {
  const { cluster, watch, tabletIds } = world;
  const started = performance.now();
  for (const stream of [ONCE, AT_LEAST]) await catchUp(cluster, stream, standsStillMs);
  log(`caught up ${Math.round(performance.now() - started)} ms after all was whole`);
  const caughtUpMs = performance.now();

  const rows = new Map(tabletIds.map((tabletId) => [tabletId, logs.applied.get(tabletId)!]));
  const once = await checkTopic(cluster, ONCE, TABLE, { repeats: false, atLeast: applied, rows });
  const atLeast = await checkTopic(cluster, AT_LEAST, TABLE, { repeats: true, atLeast: applied, rows });
  log(`exactly-once: ${once.records} records; at-least-once: ${atLeast.records} and ${atLeast.repeats} repeats`);
  assertSame(once, atLeast, applied);

  for (;;) {
    const left = await watch.tooLarge(tabletIds, MAX_SEGMENTS);
    if (left.length === 0) break;
    if (performance.now() - caughtUpMs > SHRINKS_WITHIN_MS) throw new Error(`logs are not let go:\n${left.join('\n')}`);
    await sleep(500);
  }
  log(`logs are small ${Math.round(performance.now() - caughtUpMs)} ms later, or before`);
}

function assertSame(once: TopicFigures, atLeast: TopicFigures, applied: number): void {
  if (once.records !== atLeast.records || once.positions !== atLeast.positions)
    throw new Error(`the topics differ: ${once.records} records exactly-once, ${atLeast.records} at-least-once`);
  if (once.records !== applied) throw new Error(`${applied} rows were applied, ${once.records} records came`);
}
