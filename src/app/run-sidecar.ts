import { getPriority } from 'node:os';
import { join } from 'node:path';
import type { ReasonedView } from '../api/shapes.ts';
import type { SinkPlanner } from '../api/stream-plan.ts';
import { advertisedAddress, ownHosts, type Config } from '../config/config.ts';
import { startControlServer } from '../control/server.ts';
import { ForeignInstallations } from '../kudu-side/foreign-installations.ts';
import {
  RpcTserver,
  checkWalDir,
  fetchCatalog,
  fetchEnds,
  fetchRowCounts,
  fetchReplicas,
  lookUpName,
  lookUpSchema,
  tabletFates,
  schemaOfTable,
  tabletsOfKeys,
} from '../kudu-side/kudu-access.ts';
import { withoutRows } from '../change/position.ts';
import { KuduCopier } from '../kudu-side/kudu-copier.ts';
import { explain } from '../kudu-side/kudu-refusal.ts';
import { KuduMarkerWriter } from '../kudu-side/marker-writer.ts';
import { ServerRetention } from '../kudu-side/server-retention.ts';
import { checkLinks } from '../keeping/held-links.ts';
import { createMetrics, type Metrics } from '../metrics/metrics.ts';
import { TabletManager } from '../placement/tablet-manager.ts';
import { ClusterView } from '../sidecars/cluster-view.ts';
import type { OwnStanding } from '../status/local-standing.ts';
import { LivingSidecars } from '../sidecars/living-sidecars.ts';
import { OtherSidecars } from '../sidecars/other-sidecars.ts';
import { RemoteLog } from '../sidecars/remote-log.ts';
import { SidecarClient } from '../sidecars/sidecar-client.ts';
import { SidecarRegistry } from '../sidecars/sidecar-registry.ts';
import { TabletChanges } from '../source/tablet-changes.ts';
import { ImageMemories } from '../images/image-memory.ts';
import { ImagedSource } from '../images/imaged-source.ts';
import { RestSource } from '../images/rest-source.ts';
import { searchLog } from '../source/log-search.ts';
import { TabletSource } from '../source/tablet-source.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { StreamStore } from '../streams/stream-store.ts';
import { StreamSweeper } from '../streams/stream-sweeper.ts';
import { Catalog } from '../streams/table-catalog.ts';
import { isStreamable, matchTables } from '../streams/table-patterns.ts';
import { ByteBudget } from '../util/byte-budget.ts';
import { setNice } from '../util/cpu-priority.ts';
import type { Logger } from '../util/logger.ts';
import { tidyHeap } from '../util/heap-tidier.ts';
import { StandBack } from '../util/stand-back.ts';
import { isLoopbackHost } from '../util/host-port.ts';
import type { CurrentCredentials } from '../util/http-credentials.ts';
import type { SecretMask } from '../util/secret-mask.ts';
import { SPOOR_VERSION } from '../util/version.ts';
import { HttpCredentialsInForce } from './http-credentials.ts';
import { RunningLooker } from './cluster-looker.ts';
import { connectToKudu, type KuduParts } from './connect.ts';
import { RunningControlPlane } from './control-plane.ts';
import { describeTable, formatFor, isChoosy, planWithFormat, troubleOf } from './formats.ts';
import { limitsFor } from './limits.ts';
import { LocalLogs } from './local-logs.ts';
import { longestLag } from './longest-lag.ts';
import { operationIn } from './record-trace.ts';
import { Registries } from './registries.ts';
import { exampleRecord } from './example-record.ts';
import { SchemaInquiry } from './schema-inquiry.ts';
import { schemaTexts } from './schema-texts.ts';
import { Sinks } from './sinks.ts';
import { finishInTime } from './finish-in-time.ts';
import { StartingSidecar } from './starting-sidecar.ts';
import { createStatusParts } from './status-parts.ts';

/** How long the last word to the other sidecars may take; without it they miss us after their own time. */
const LEAVE_WITHIN_MS = 1000;
const CATALOG_MAX_AGE_MS = 5000;
/** Rows that were shipped a moment ago, so that what they were before the next operation on them need not be read. */
const MAX_REMEMBERED_BYTES = 24 << 20;
/** Of large operations, where one is looked for in a log. */
const TRACED_LOG_BYTES = 16 << 20;
/** Below the keeper's own patience, so that what Kudu said is told. */
const MARKER_TIMEOUT_MS = 4_000;

/**
 * Runs a sidecar until `signal` aborts, then stops it in order: tablets finish the batch in hand, sinks and logs are
 * closed, the API last. Kudu and Kafka may come and go meanwhile.
 * @throws {Error} when the API's address cannot be listened on; {HoldTakenError} when the folders are another sidecar's
 */
export async function runSidecar(
  config: Config,
  deps: {
    readonly logger: Logger;
    /** Where it is said who changed what. */
    readonly audit: Logger;
    /** Of the logger; learns secrets that change. */
    readonly mask: SecretMask;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { logger, audit, mask, signal } = deps;
  const sidecar = new StartingSidecar();
  const logs = new LocalLogs(config, logger);
  const metrics = createMetrics({
    localTablets: () => sidecar.localTablets('all'),
    holds: () => sidecar.holds(),
    sidecar: () => sidecar.figures(),
    about: { version: SPOOR_VERSION, tserver: config.tserver },
    freePercent: () => logs.freeSpace.freePercent,
  });
  const { freeSpace } = logs;
  const status = createStatusParts({ sidecar, metrics, freeSpace, minFreePercent: config.hold.minFreePercent, mask });
  await using credentials = new HttpCredentialsInForce(config.http, { mask, logger });
  const server = await startControlServer({
    listen: config.http.listen,
    ownHosts: ownHosts(config.http),
    credentials,
    sidecar,
    status,
    metrics,
    logger,
    audit,
    mask: mask.apply,
    version: SPOOR_VERSION,
  });
  if (!isLoopbackHost(config.http.listen.host) && credentials.current.tls === null)
    logger.warn({}, 'the API is served beyond this machine without TLS, tokens can be read on their way');
  const advertise = advertisedAddress(config.http, server.address.port);
  logger.info({ listen: `${server.address.host}:${server.address.port}`, version: SPOOR_VERSION }, 'sidecar started');
  try {
    const kudu = await connectToKudu(config, {
      // Before Kudu is asked for anything: what was held is held on although a master is away.
      hold: () => {
        logs.open();
      },
      onTrouble: (trouble) => {
        sidecar.waitingFor(trouble);
      },
      logger,
      signal,
    });
    if (kudu)
      await work(config, {
        kudu,
        logs,
        sidecar,
        own: status.own,
        metrics,
        advertise,
        credentials,
        mask,
        logger,
        signal,
      });
  } finally {
    await logs[Symbol.asyncDispose]();
    await server.close();
    logger.info({}, 'sidecar stopped');
  }
}

interface Parts {
  readonly kudu: KuduParts;
  readonly logs: LocalLogs;
  readonly sidecar: StartingSidecar;
  readonly own: OwnStanding;
  readonly metrics: Metrics;
  /** Where others call our API. */
  readonly advertise: string;
  readonly credentials: CurrentCredentials;
  readonly mask: SecretMask;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** All that needs Kudu. */
async function work(config: Config, parts: Parts): Promise<void> {
  const { kudu, logs, sidecar, own, metrics, advertise, credentials, mask, logger, signal } = parts;
  using client = kudu.client;
  logs.ofCluster(client.clusterId);
  logs.markersThrough(new KuduMarkerWriter(client, { timeoutMs: MARKER_TIMEOUT_MS }));
  const selfId = kudu.tserverUuid;
  const { now: kuduNow } = client.clock;
  const { holds, watcher, keepers } = logs.parts;
  const { prefix: systemTablePrefix } = config.systemTables;
  await using sinks = new Sinks(config, { mask, logger });
  using registries = new Registries(config.registry, logger);
  const planSink: SinkPlanner = (definition, tables) => planWithFormat(sinks.plan(definition, tables), definition);

  const store = new StreamStore(kudu.streams, logger, kuduNow);
  const self = { id: selfId, http: advertise, tserver: config.tserver, tserverUuid: selfId, version: SPOOR_VERSION };
  const registry = new SidecarRegistry(kudu.sidecars, self, { kuduNow, logger });
  const living = new LivingSidecars((s) => registry.list(s));
  using sidecarClient = new SidecarClient(credentials);
  await sidecarClient.prepare();
  const others = new OtherSidecars({ selfId, listSidecars: (s) => registry.list(s), client: sidecarClient, logger });

  const installations = new ForeignInstallations(client);
  const fetchTables = async (s: AbortSignal) => installations.leaveOut(await fetchCatalog(client, s), s);
  // API and status page have catalogs of their own: a question from outside never changes what the tablet manager works with.
  const catalog = (): Catalog => new Catalog(fetchTables, CATALOG_MAX_AGE_MS);
  const [known, shown, watchedTables] = [catalog(), catalog(), catalog()];
  const tablesOf = ({ tables }: StreamDefinition): string[] =>
    [...known.tables()]
      .map(({ name }) => name)
      .filter((name) => isStreamable(name, systemTablePrefix) && matchTables(tables, name));

  const tserver = { address: config.tserver, uuid: selfId };
  const memories = new ImageMemories(MAX_REMEMBERED_BYTES);
  const copier = new KuduCopier({ client, tserver, keeperOf: (tabletId) => keepers.get(tabletId), logger });
  const local = new RpcTserver(client, config.tserver, selfId, logger);
  const manager = new TabletManager({
    tserver: local,
    explain,
    selfUuid: selfId,
    keepers,
    aliveSidecars: (fresh, s) => living.tserverUuids(fresh, s),
    isAnnounced: () => registry.isAnnounced,
    exceptionsElsewhere: async (s) => others.exceptionsOf(await living.list(s), s),
    shownElsewhere: (s) => others.shown(s),
    gaps: new RemoteLog({
      selfId,
      listSidecars: (s) => living.known(s),
      holdOf: (tabletId) => holds.enable(tabletId),
      client: sidecarClient,
      logger,
    }),
    streams: store,
    catalog: known,
    sinkFor: ({ definition, generation }) =>
      sinks.open(definition, {
        name: definition.name,
        generation,
        format: definition.format.type,
        partialRows: definition.images === 'changed',
        tables: () => tablesOf(definition),
        installation: kudu.streams.tableId,
        sidecar: selfId,
        metrics: metrics.transactionsOf(definition.name),
        logger,
      }),
    formatFor: (stored, nameOf) =>
      formatFor(stored, { registries, planSink, onNonFinite: metrics.nonFiniteOf(stored.definition.name), nameOf }),
    gapRepair: config.gapRepair,
    fates: tabletFates(client),
    openSource: ({ largeReads, images, allowsPartial, skips, ...request }, s) => {
      let imaged: ImagedSource | null = null;
      const source = new TabletSource({
        ...request,
        from: withoutRows(request.from),
        copier,
        searchLog: async (whence, until, during) => {
          await using log = logs.read(request.tablet.tabletId, during, largeReads);
          return await searchLog(log, whence, until);
        },
        openLog: (after, options, during) =>
          new TabletChanges({
            ...options,
            after,
            ...(skips.length > 0 && { skips }),
            tablet: request.tablet,
            log: logs.read(request.tablet.tabletId, during, largeReads),
            lookUpSchema: () => lookUpSchema(client, config.tserver, request.tablet.tabletId, s),
            lookUpName: () => lookUpName(client, config.tserver, request.tablet, s),
            moreBytesPerRow: () => imaged?.bytesPerRow ?? 0,
          }),
      });
      if (images === 'changed') return request.from.upTo ? new RestSource(source, request.from) : source;
      const isDropped = async (during: AbortSignal): Promise<boolean> => (await request.whyGone(during)) !== null;
      imaged = new ImagedSource(source, { ...request, mode: images, copier, memories, allowsPartial, isDropped });
      return imaged;
    },
    limitsFor: ({ definition }, tabletCount) => limitsFor(sinks.writeIntervalMs(definition), tabletCount),
    systemTablePrefix,
    metrics,
    kuduNow,
    logger,
  });
  watcher.on('tablet-appeared', (tabletId) => {
    manager.tabletAppeared(tabletId);
  });

  const localTablets = (which: 'all' | 'exceptions'): ReasonedView[] =>
    manager.views(which).map((view) => shownTablet({ ...view, sidecar: advertise }, mask));
  const seen = {
    selfId,
    others,
    localTablets: () => localTablets('all'),
    holdHere: (tabletIds: readonly string[]) => {
      manager.holdForNow(tabletIds);
    },
    listSidecars: (s: AbortSignal) => registry.list(s),
    replicasOf: (tableId: string, s: AbortSignal) => fetchReplicas(client, tableId, s),
    joinedTables: (stream: StoredStream, s: AbortSignal) => store.joinedTables(stream, s),
    catalog: shown,
    systemTablePrefix,
  };
  const cluster = new ClusterView(seen);
  const schemaInquiry = new SchemaInquiry({
    registries,
    schemaOf: (tableId, s) => schemaOfTable(client, tableId, s),
    describe: (definition, table, schema) =>
      troubleOf(definition, table, schema, planSink) === null
        ? describeTable(definition, table, schema, planSink)
        : null,
  });
  const plane = new RunningControlPlane({
    store,
    registry,
    catalog: shown,
    cluster,
    manager,
    refusedCall: () => local.refused,
    localTablets,
    endsOf: (tables, s) => fetchEnds(client, tables, s),
    tabletsOfKeys: (tableId, keys, s) => tabletsOfKeys(client, tableId, keys, s),
    schemaOf: (tableId, s) => schemaOfTable(client, tableId, s),
    planSink,
    schemaTexts: (definition, names, schema) => schemaTexts(definition, names, schema, planSink),
    readerOf: (definition) => sinks.reader(definition),
    lookLocally: async (tabletId, generation, opId, s) => {
      const keeper = keepers.get(tabletId);
      if (!keeper) return null;
      await using log = logs.read(tabletId, s, new ByteBudget(TRACED_LOG_BYTES));
      return { operation: await operationIn(log, opId), marked: keeper.marked(generation)?.position.opId ?? null };
    },
    heldLog: (tabletId) => holds.get(tabletId)?.incarnations() ?? null,
    checkWal: async () => {
      await checkWalDir(config.walDir, config.tserver, selfId);
      checkLinks(holds);
    },
    configuredSinks: sinks.configured(),
    markless: (definition, places, s) => sinks.markless(definition, places, s),
    wrongSettings: (definition, places, s) => sinks.wrongSettings(definition, places, s),
    inquire: (definition, places, s) => sinks.inquire(definition, places, s),
    inquireSchemas: (definition, tables, s) => schemaInquiry.report(definition, tables, s),
    isChoosy,
    formatTrouble: (definition, table, schema) => troubleOf(definition, table, schema, planSink),
    rowCounts: (s) => fetchRowCounts(client, s),
    exampleOf: (definition, table, begins, s) => exampleRecord(definition, table, begins, { client, planSink }, s),
    systemTablePrefix,
    logger,
  });
  const looker = new RunningLooker({
    ...seen,
    own,
    list: (s) => store.list(s),
    listSidecars: (s) => living.known(s),
    catalog: watchedTables,
    client: sidecarClient,
    planSink,
    logger,
  });
  sidecar.isAtWork({
    plane,
    looker,
    holds: () => manager.holds(),
    figures: () => ({
      kuduAnswers: manager.kuduTrouble === null,
      clockOffsetSeconds: client.clock.aheadMs === null ? null : client.clock.aheadMs / 1000,
      unattendedTservers: manager.unattendedTservers(),
    }),
  });
  logger.info({ tserver: config.tserver, tserverUuid: selfId }, 'watching the tablet server');

  const retention = new ServerRetention({
    tserver: client.tabletServer(config.tserver),
    neededSegments: () => holds.neededSegments(),
    stateFile: join(config.hold.dir, 'server-retention.json'),
    enabled: config.hold.server,
    logger,
  });
  const { nice, niceMaxLagS: maxLagS } = config;
  const lagSeconds = (): number => longestLag(manager.lateness());
  const standBack = new StandBack({ nice, ownNice: getPriority(), maxLagS, lagSeconds, setNice, logger });
  await registry.announce(signal);
  await Promise.all([
    // Not before the logs are held and Kudu knows us: until then there is nothing more urgent on this machine. A start
    // that stood back would not come through Kudu's negotiation, which takes 3 s at most, where the CPU is short.
    standBack.run(signal),
    manager.run(signal, finishInTime(signal)),
    registry.run(signal),
    retention.run(signal),
    new StreamSweeper(kudu.streams, logger).run(signal),
    own.run(signal),
    tidyHeap(signal),
  ]);
  await registry.leave(AbortSignal.timeout(LEAVE_WITHIN_MS)); // all that we know is in the markers by now
}

/** What failed is told in the words of Kudu's, Kafka's and other clients, which may quote what they were given. */
function shownTablet(view: ReasonedView, mask: SecretMask): ReasonedView {
  return view.error === undefined
    ? view
    : { ...view, error: { ...view.error, message: mask.apply(view.error.message) } };
}
