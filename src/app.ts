import { getPriority } from 'node:os';
import { join } from 'node:path';
import type { Config } from './config/config.ts';
import { advertisedAddress } from './config/config.ts';
import { startControlServer } from './control/server.ts';
import { ClusterView } from './cluster/cluster-view.ts';
import { RunningControlPlane } from './cluster/control-plane.ts';
import {
  RpcTserver,
  checkWalDir,
  fetchCatalog,
  fetchEnds,
  fetchReplicas,
  lookUpName,
  lookUpSchema,
  tabletFates,
  tabletsOfKeys,
} from './cluster/kudu-access.ts';
import { ForeignInstallations } from './cluster/foreign-installations.ts';
import { checkLinks } from './cluster/held-links.ts';
import { HoldTakenError } from './cluster/hold-owner.ts';
import { KuduCopier } from './cluster/kudu-copier.ts';
import { openSystemTable } from './cluster/kudu-system-table.ts';
import { KuduMarkerWriter } from './cluster/marker-writer.ts';
import { PeerLog } from './cluster/peer-log.ts';
import { LivingSidecars } from './cluster/living-sidecars.ts';
import { LocalLogs } from './cluster/local-logs.ts';
import { LateControlPlane } from './cluster/late-control-plane.ts';
import { ServerRetention } from './cluster/server-retention.ts';
import { SIDECAR_COLUMNS, SidecarRegistry } from './cluster/sidecar-registry.ts';
import { STREAM_COLUMNS, StreamStore } from './cluster/stream-store.ts';
import { StreamSweeper } from './cluster/stream-sweeper.ts';
import { askedOf, checkMembership, startTrouble } from './cluster/start-trouble.ts';
import { compileJson } from './formats/json.ts';
import { KuduClient } from './kudu/client.ts';
import { createMetrics } from './metrics/metrics.ts';
import { Catalog } from './replication/catalog.ts';
import { longestLag } from './replication/longest-lag.ts';
import type { HoldFigures } from './replication/views.ts';
import type { StoredStream } from './replication/stored-stream.ts';
import { matchTables, type StreamDefinition } from './replication/stream.ts';
import { isStreamable } from './replication/stream-members.ts';
import { planTopics } from './sinks/kafka/topic-plan.ts';
import { PeerManager } from './replication/peer-manager.ts';
import type { ReplicatorLimits } from './replication/batch-policy.ts';
import type { ReplicaKeepersOptions } from './replication/replica-keepers.ts';
import { TabletChanges } from './replication/tablet-changes.ts';
import { TabletSource } from './replication/tablet-source.ts';
import { KafkaBrokers } from './sinks/kafka/kafka-brokers.ts';
import { createKafkaSink } from './sinks/kafka/kafka-sink.ts';
import { refusingSink } from './sinks/refusing-sink.ts';
import type { Sink } from './sinks/sink.ts';
import type { TransactionMetrics } from './sinks/transaction-metrics.ts';
import { setNice } from './util/cpu-priority.ts';
import type { Logger } from './util/logger.ts';
import { pause } from './util/pause.ts';
import { StandBack } from './util/stand-back.ts';
import { TimeLimit } from './util/time-limit.ts';
import { zstd, ZSTD_NEEDS } from './util/zstd.ts';
import { SPOOR_VERSION } from './util/version.ts';
import { backoffMs, type Backoff } from './util/backoff.ts';

/** How long tablets may take to finish their batch in hand when the sidecar stops; the rest of the 10 s is for closing. */
const FINISH_BATCHES_MS = 7000;
/** How long the last word to the other sidecars may take; without it they miss us after their own time. */
const LEAVE_WITHIN_MS = 1000;
const CONNECT_TIMEOUT_MS = 10_000;
const CONNECT_AGAIN: Backoff = { baseMs: 500, capMs: 10_000 };
const CATALOG_MAX_AGE_MS = 5000;

/** Below the keeper's own patience, so that what Kudu said is told. */
const MARKER_TIMEOUT_MS = 4_000;

/** Brokers forget a transactional id that had no transaction for 7 days (transactional.id.expiration.ms), some sooner. */
const POSITION_REFRESH_MS = 6 * 3600 * 1000;

/** Log bytes that may be queued in all, and by one tablet at least and at most. */
const QUEUE_TOTAL_BYTES = 24 << 20;
const QUEUE_MIN_BYTES = 128 << 10;
const QUEUE_MAX_BYTES = 2 << 20;
/** About 10,000 rows of a narrow table: enough that a transaction's own cost does not count. */
const BATCH_BYTES = 512 << 10;
/** A transaction is several round trips; one every so often costs little and delays little. */
const EXACTLY_ONCE_WRITE_INTERVAL_MS = 15;
const AT_LEAST_ONCE_WRITE_INTERVAL_MS = 2;
const MAX_WRITE_INTERVAL_MS = 80;

/**
 * Runs a sidecar until `signal` aborts, then stops it in order: tablets finish the batch in hand, sinks and logs are
 * closed, the API last. Kudu and Kafka may come and go meanwhile.
 * @throws {Error} when the API's address cannot be listened on; {HoldTakenError} when the folders are another sidecar's
 */
export async function runSidecar(
  config: Config,
  deps: {
    readonly logger: Logger;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { logger, signal } = deps;
  const plane = new LateControlPlane();
  let holdFigures: () => readonly HoldFigures[] = () => [];
  let markerLabels: PeerManager['labelsOf'] = () => [];
  const onMarkerWritten: ReplicaKeepersOptions['onMarkerWritten'] = (tabletId, generations) => {
    for (const labels of markerLabels(tabletId, generations)) metrics.markerWritten(labels);
  };
  const logs = new LocalLogs(config, onMarkerWritten, logger);
  const metrics = createMetrics(
    () => plane.localTablets(),
    () => performance.now(),
    () => holdFigures(),
    () => logs.freeSpace.freePercent,
  );
  const { listen, token } = config.http;
  const server = await startControlServer({ listen, token, plane, metrics, logger, version: SPOOR_VERSION });
  const advertise = advertisedAddress(config.http, server.address.port);
  logger.info({ listen: `${server.address.host}:${server.address.port}`, version: SPOOR_VERSION }, 'sidecar started');
  // Before Kudu is asked for anything: what was held is held on although a master is away.
  const hold = (): void => {
    logs.open();
  };
  try {
    const kudu = await connectToKudu(config, hold, plane, logger, signal);
    if (!kudu) return;
    using client = kudu.client;
    logs.ofCluster(client.clusterId);
    logs.markersThrough(new KuduMarkerWriter(client, { timeoutMs: MARKER_TIMEOUT_MS }));
    const { now: kuduNow } = client.clock;
    const { holds, watcher, keepers } = logs.parts;
    const { prefix } = config.systemTables;
    await using brokers = brokersOf(config, logger);
    const store = new StreamStore(kudu.streams, logger, kuduNow);
    const self = { id: kudu.tserverUuid, http: advertise, tserver: config.tserver, version: SPOOR_VERSION };
    const registry = new SidecarRegistry(
      kudu.sidecars,
      { ...self, tserverUuid: kudu.tserverUuid },
      { kuduNow, logger },
    );
    const living = new LivingSidecars((s) => registry.list(s));
    const others = new ForeignInstallations(client);
    const fetchTables = async (s: AbortSignal) => others.leaveOut(await fetchCatalog(client, s), s);
    const newCatalog = (): Catalog => new Catalog(fetchTables, CATALOG_MAX_AGE_MS);
    // The API has a catalog of its own: a question from outside never changes what the peer manager works with.
    const catalog = newCatalog();
    const known = newCatalog();
    const tablesOf = ({ tables }: StreamDefinition): string[] =>
      [...known.tables()]
        .map(({ name }) => name)
        .filter((name) => isStreamable(name, prefix) && matchTables(tables, name));
    const cluster = new ClusterView({
      selfId: kudu.tserverUuid,
      localTablets: () => plane.localTablets(),
      holdHere: (tabletIds) => {
        peers.holdForNow(tabletIds);
      },
      listSidecars: (s) => registry.list(s),
      replicasOf: (tableId, s) => fetchReplicas(client, tableId, s),
      joinedTables: (stream, s) => store.joinedTables(stream, s),
      catalog,
      systemTablePrefix: prefix,
      token,
      logger,
    });
    const tserver = { address: config.tserver, uuid: kudu.tserverUuid };
    const copier = new KuduCopier({ client, tserver, keeperOf: (tabletId) => keepers.get(tabletId), logger });
    const peers = new PeerManager({
      tserver: new RpcTserver(client, config.tserver, kudu.tserverUuid),
      selfUuid: kudu.tserverUuid,
      keepers,
      aliveSidecars: (fresh, s) => living.tserverUuids(fresh, s),
      isAnnounced: () => registry.isAnnounced,
      exceptionsElsewhere: async (s) => cluster.exceptionsOf(await living.list(s), s),
      shownElsewhere: (s) => cluster.shownElsewhere(s),
      gaps: new PeerLog({
        selfId: kudu.tserverUuid,
        listSidecars: (s) => living.known(s),
        holdOf: (tabletId) => holds.enable(tabletId),
        token,
        logger,
      }),
      streams: store,
      catalog: known,
      sinkFor: (stream) =>
        kafkaSinkFor(stream, config, {
          tablesOf,
          installation: kudu.streams.tableId,
          sidecar: kudu.tserverUuid,
          metrics: metrics.transactionsOf(stream.definition.name),
          logger,
        }),
      encoderFor: ({ definition }) => {
        const { name, tombstones } = definition;
        const format = compileJson({ streamName: name, version: SPOOR_VERSION, tombstones });
        return (change) => format.encode(change);
      },
      gapRepair: config.gapRepair,
      fates: tabletFates(client),
      openSource: (request, s) =>
        new TabletSource({
          ...request,
          copier,
          openLog: (after, options, signal) =>
            new TabletChanges({
              ...options,
              after,
              tablet: request.tablet,
              log: logs.read(request.tablet.tabletId, signal),
              lookUpSchema: () => lookUpSchema(client, config.tserver, request.tablet.tabletId, s),
              lookUpName: () => lookUpName(client, config.tserver, request.tablet, s),
            }),
        }),
      limitsFor,
      systemTablePrefix: prefix,
      metrics,
      kuduNow,
      logger,
    });
    holdFigures = () => peers.holds();
    markerLabels = (tabletId, generations) => peers.labelsOf(tabletId, generations);
    watcher.on('tablet-appeared', (tabletId) => {
      peers.tabletAppeared(tabletId);
    });
    plane.becomes(
      new RunningControlPlane({
        store,
        registry,
        catalog,
        cluster,
        peers,
        endsOf: (tables, s) => fetchEnds(client, tables, s),
        tabletsOfKeys: (tableId, keys, s) => tabletsOfKeys(client, tableId, keys, s),
        planSink: ({ name, sink }, tables) => planTopics({ ...sink, streamName: name }, tables),
        heldLog: (tabletId) => holds.get(tabletId)?.generations() ?? null,
        checkWal: async () => {
          await checkWalDir(config.walDir, config.tserver, kudu.tserverUuid);
          checkLinks(holds);
        },
        configuredSink: brokers,
        markless: async (topics, s) => brokers?.compactedOf(topics, s) ?? [],
        advertise,
        systemTablePrefix: prefix,
        logger,
      }),
    );
    logger.info({ tserver: config.tserver, tserverUuid: kudu.tserverUuid }, 'watching the tablet server');
    const retention = new ServerRetention({
      tserver: client.tabletServer(config.tserver),
      neededSegments: () => holds.neededSegments(),
      stateFile: join(config.hold.dir, 'server-retention.json'),
      enabled: config.hold.server,
      logger,
    });
    const { nice, niceMaxLagS: maxLagS } = config;
    const lagSeconds = (): number => longestLag(peers.views());
    const standBack = new StandBack({ nice, ownNice: getPriority(), maxLagS, lagSeconds, setNice, logger });
    await registry.announce(signal);
    await Promise.all([
      // Not before the logs are held and Kudu knows us: until then there is nothing more urgent on this machine. A start
      // that stood back would not come through Kudu's negotiation, which takes 3 s at most, where the CPU is short.
      standBack.run(signal),
      peers.run(signal, finishInTime(signal)),
      registry.run(signal),
      retention.run(signal),
      new StreamSweeper(kudu.streams, logger).run(signal),
    ]);
    await registry.leave(AbortSignal.timeout(LEAVE_WITHIN_MS)); // all that we know is in the markers by now
  } finally {
    await logs[Symbol.asyncDispose]();
    await server.close();
    logger.info({}, 'sidecar stopped');
  }
}

interface KuduParts {
  readonly client: KuduClient;
  readonly tserverUuid: string;
  readonly streams: Awaited<ReturnType<typeof openSystemTable<(typeof STREAM_COLUMNS)[number]>>>;
  readonly sidecars: Awaited<ReturnType<typeof openSystemTable<(typeof SIDECAR_COLUMNS)[number]>>>;
}

/**
 * Tries until Kudu answers and its log can be read; null when the signal aborts first.
 * @throws {HoldTakenError} the folders are another sidecar's
 */
async function connectToKudu(
  config: Config,
  hold: () => void,
  plane: LateControlPlane,
  logger: Logger,
  signal: AbortSignal,
): Promise<KuduParts | null> {
  const isStopping = (): boolean => signal.aborted; // asked anew after each wait
  let lastReason = '';
  for (let failures = 1; !isStopping(); failures++) {
    try {
      hold();
      using limit = new TimeLimit(signal, CONNECT_TIMEOUT_MS * 3);
      return await tryConnect(config, limit.signal);
    } catch (error) {
      if (isStopping()) break;
      if (error instanceof HoldTakenError) throw error; // waiting for it, this one would take over at some moment that nobody chose
      const trouble = startTrouble(error);
      const { reason } = trouble;
      if (reason !== lastReason) logger.error({ reason }, 'cannot work yet, trying again');
      lastReason = reason;
      plane.waitingFor(trouble);
      await pause(backoffMs(failures, CONNECT_AGAIN), signal);
    }
  }
  return null;
}

async function tryConnect(config: Config, signal: AbortSignal): Promise<KuduParts> {
  const { masters, user } = config.kudu;
  const mastersGiven = `SPOOR_KUDU_MASTERS ${masters.join(',')}`;
  const client = await askedOf(
    mastersGiven,
    KuduClient.connect({ masters, user, timeoutMs: CONNECT_TIMEOUT_MS, signal }),
  );
  try {
    const address = config.tserver;
    const status = client.tabletServer(address).getStatus({ signal });
    const { uuid: tserverUuid } = await askedOf(`SPOOR_TSERVER ${address}`, status);
    await checkWalDir(config.walDir, address, tserverUuid);
    await askedOf(mastersGiven, checkMembership(client, { address, uuid: tserverUuid }, signal));
    await client.readClock(address, { signal });
    const { prefix, replicas } = config.systemTables;
    const table = { replicas, signal };
    const streams = { ...table, name: `${prefix}streams`, columns: STREAM_COLUMNS, keys: 2 };
    const sidecars = { ...table, name: `${prefix}sidecars`, columns: SIDECAR_COLUMNS, keys: 1 };
    return {
      client,
      tserverUuid,
      streams: await askedOf(`table ${streams.name}`, openSystemTable(client, streams)),
      sidecars: await askedOf(`table ${sidecars.name}`, openSystemTable(client, sidecars)),
    };
  } catch (error) {
    client[Symbol.dispose]();
    throw error;
  }
}

function kafkaSinkFor(
  { definition, generation }: StoredStream,
  config: Config,
  parts: {
    readonly tablesOf: (definition: StreamDefinition) => readonly string[];
    /** The id of the table of streams: two installations may share brokers, and never a table. */
    readonly installation: string;
    readonly sidecar: string;
    readonly metrics: TransactionMetrics;
    readonly logger: Logger;
  },
): Sink {
  const kafka = kafkaClientOf(config);
  if (!kafka) return refusingSink('SPOOR_KAFKA_BROKERS is not given to this sidecar, so it cannot ship to Kafka');
  const { topics, topicConfig, compression, ...sink } = definition.sink;
  if (compression === 'zstd' && zstd === null)
    return refusingSink(`sink.compression of the stream is zstd, which needs ${ZSTD_NEEDS}`);
  const { tablesOf, ...others } = parts;
  return createKafkaSink({
    streamName: definition.name,
    streamGeneration: generation,
    ...others,
    ...kafka,
    ...(topics && { topics }),
    ...(topicConfig && { topicConfig }),
    ...(compression && { compression }),
    ...sink,
    tables: () => tablesOf(definition),
  });
}

/** Null where none are configured. */
function brokersOf(config: Config, logger: Logger): KafkaBrokers | null {
  const kafka = kafkaClientOf(config);
  return kafka && new KafkaBrokers({ ...kafka, logger });
}

function kafkaClientOf({ kafka: { brokers, ssl, sasl } }: Config) {
  return brokers && { brokers, ...(ssl && { ssl: ssl === true ? ssl : { ...ssl } }), ...(sasl && { sasl }) };
}

/** @param tabletCount how many share the room for queues, asked anew each time: they come and go */
function limitsFor({ definition }: StoredStream, tabletCount: () => number): ReplicatorLimits {
  const exactlyOnce = definition.sink.delivery === 'exactly-once';
  return {
    maxBatchBytes: BATCH_BYTES,
    get maxQueuedBytes() {
      return Math.min(QUEUE_MAX_BYTES, Math.max(QUEUE_MIN_BYTES, QUEUE_TOTAL_BYTES / Math.max(1, tabletCount())));
    },
    minWriteIntervalMs: exactlyOnce ? EXACTLY_ONCE_WRITE_INTERVAL_MS : AT_LEAST_ONCE_WRITE_INTERVAL_MS,
    maxWriteIntervalMs: MAX_WRITE_INTERVAL_MS,
    positionIntervalMs: 1000,
    positionRefreshMs: POSITION_REFRESH_MS,
    retry: { baseMs: 250, capMs: 10_000 },
  };
}

/** Aborts some time after `signal` does: how long a batch in hand may take at a stop. */
function finishInTime(signal: AbortSignal): AbortSignal {
  const hurry = new AbortController();
  signal.addEventListener(
    'abort',
    () => {
      setTimeout(() => {
        hurry.abort(new Error('the sidecar stops'));
      }, FINISH_BATCHES_MS).unref();
    },
    { once: true },
  );
  return hurry.signal;
}
