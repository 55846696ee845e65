import type { UsableConfig } from '../config/usable-config.ts';
import { readServerUuid } from '../keeping/server-folders.ts';
import type { Logger } from '../util/logger.ts';
import { apiProbe, readSidecarClock } from './api-probe.ts';
import { clockProbe, type ClockSource } from './clock-probe.ts';
import { examine, type Probe } from './examine.ts';
import { fault, faultsOr, ok, unknown, type CheckName, type Finding } from './finding.ts';
import { folderProbe, heldTablets } from './folders.ts';
import { brokerProbe, type KafkaToAsk } from './kafka-brokers.ts';
import { KuduAsk } from './kudu-ask.ts';
import { flagsProbe, rightsProbe } from './kudu-rights.ts';
import { masterProbe, readKuduClock, tserverProbe } from './kudu-servers.ts';
import { machineProbe } from './machine.ts';
import { readRedisClocks, redisProbe, type RedisToAsk } from './redis-probe.ts';
import { lockHolders, sidecarsProbe, type LockHolders, type OwnSidecar } from './sidecars-probe.ts';
import { KeptThings } from './stored-streams.ts';
import { registryProbe, streamsProbe, type RegistryToAsk, type SinksToAsk } from './streams-probe.ts';

/** How long any one thing may take to be looked at. */
const LIMIT_MS = 20_000;

export interface DoctorOptions {
  readonly config: UsableConfig;
  /** Null where the sidecar is not told of it, or wrongly. */
  readonly kafka: KafkaToAsk | null;
  readonly redis: RedisToAsk | null;
  readonly sinks: SinksToAsk;
  readonly registryAt: (urls: string | readonly string[]) => RegistryToAsk;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** This machine's clock, in milliseconds since 1970. */
  readonly now?: () => number;
}

/**
 * Looks at all that a sidecar of this environment needs, whether one runs or not, and changes nothing anywhere.
 * @returns what was found of each thing, in the order of `CHECKS`
 */
export async function diagnose(options: DoctorOptions): Promise<readonly Finding[]> {
  const { config, signal } = options;
  using kudu = config.kudu === null ? null : new KuduAsk(config.kudu);
  const found = await examine(probesFor(options, kudu), { limitMs: LIMIT_MS, signal });
  return withoutIdleWords([...judgeConfiguration(config.faults), ...found]);
}

function judgeConfiguration(faults: readonly string[]): readonly Finding[] {
  return faultsOr(
    faults.map((line) => {
      const [, what = line, allowed] =
        /^(.*?); ((?:allowed|did you mean)[^]*)$/.exec(
          line.replace('; no such variable', ' is no variable of Spoor'),
        ) ?? [];
      return fault(
        'configuration',
        what,
        allowed === undefined ? 'See .env.example.' : `${allowed[0]!.toUpperCase()}${allowed.slice(1)}`,
      );
    }),
    ok('configuration', 'every variable is as it may be'),
  );
}

function probesFor(options: DoctorOptions, kudu: KuduAsk | null): readonly Probe[] {
  const { config, kafka, redis, sinks, registryAt, logger, signal, now = Date.now } = options;
  const { walDir, hold, tserver, systemTablePrefix, listen, client, advertise } = config;
  const holdDir = hold?.dir ?? null;
  const own: OwnSidecar | null =
    walDir === null || holdDir === null ? null : { walDir, holdDir, systemTablePrefix, tserver, advertise };
  const holders = (): LockHolders => (own === null ? { ofServer: null, ofHold: null } : lockHolders(own));
  const kept =
    kudu === null ? null : new KeptThings(() => kudu.cluster(), systemTablePrefix, { logger, reading: signal });
  const folders = { walDir, holdDir, tserver, systemTablePrefix, minFreePercent: hold?.minFreePercent ?? 0 };
  const clocks: ClockSource[] = [
    ...(kudu !== null && tserver !== null
      ? [async (s: AbortSignal) => [await readKuduClock(kudu, tserver, now, s)]]
      : []),
    ...(redis === null ? [] : [(s: AbortSignal) => readRedisClocks(redis, now, s)]),
    ...(kept === null ? [] : [(s: AbortSignal) => readSidecarClocks(kept, now, s)]),
  ];
  return [
    machineProbe({ sidecarPid: () => holders().ofServer?.pid ?? null, heldTablets: () => heldTablets(holdDir) }),
    folderProbe(folders),
    kudu === null ? later('masters', 'SPOOR_KUDU_*') : masterProbe(kudu),
    ...(kudu === null || tserver === null
      ? [later('tablet server', 'SPOOR_TSERVER and SPOOR_KUDU_*')]
      : [
          tserverProbe(kudu, tserver, walDir),
          rightsProbe(kudu, tserver),
          flagsProbe(kudu, tserver, hold?.server ?? false),
        ]),
    clockProbe(clocks),
    apiProbe(listen, client),
    ...(own === null ? [] : [sidecarsProbe(own, kept, () => serverUuidOf(own.walDir))]),
    config.kafka === null ? later('kafka', 'SPOOR_KAFKA_*') : brokerProbe(kafka),
    config.redis === null ? later('redis', 'SPOOR_REDIS_*') : redisProbe(redis),
    registryProbe(kept, registryAt),
    streamsProbe(kept, sinks, kafka),
  ];
}

/** Of one thing that two looked at: where one found a fault, that the other found none says nothing. */
function withoutIdleWords(findings: readonly Finding[]): readonly Finding[] {
  const faulty = new Set(findings.flatMap(({ check, state }) => (state === 'fault' ? [check] : [])));
  return findings.filter(({ check, state }) => state === 'fault' || !faulty.has(check));
}

function later(check: CheckName, variables: string): Probe {
  return { check, look: () => Promise.resolve([unknown(check, `looked at once ${variables} is right`)]) };
}

function serverUuidOf(walDir: string): string | null {
  try {
    return readServerUuid(walDir);
  } catch {
    return null; // a finding of its own
  }
}

/** Of the sidecars that speak plain HTTP: who speaks TLS may want to be shown a certificate first. */
async function readSidecarClocks(kept: KeptThings, now: () => number, signal: AbortSignal) {
  const alive = (await kept.sidecars(signal)).filter(({ isAlive, http }) => isAlive && !http.startsWith('https://'));
  const readings = await Promise.allSettled(alive.map(({ http }) => readSidecarClock(`http://${http}`, now, signal)));
  return readings.flatMap((reading) => (reading.status === 'fulfilled' ? reading.value : []));
}
