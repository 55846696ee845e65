import { hostname, userInfo } from 'node:os';
import { resolve } from 'node:path';
import {
  advertisedAddress,
  loadConfig,
  parseVariables,
  registryFaults,
  registryOptions,
  type HoldOptions,
  type RegistryOptions,
} from './config.ts';
import { loadClientConfig, type ClientConfig } from './client-config.ts';
import { readEnvironment, type Environment } from './environment.ts';
import { httpCredentials } from './http-secrets.ts';
import { kafkaFaults, kafkaOptions, type KafkaOptions } from './kafka-options.ts';
import { kuduFaults, kuduOptions, type KuduOptions } from './kudu-options.ts';
import { redisFaults, redisOptions, type RedisOptions } from './redis-options.ts';
import type { HostPort } from '../util/host-port.ts';

/** What of a sidecar's configuration can be used although other parts of it are wrong or missing: those are null. */
export interface UsableConfig {
  /** As `spoor run` would tell them; none where it would start. */
  readonly faults: readonly string[];
  readonly kudu: KuduOptions | null;
  readonly tserver: string | null;
  /** Absolute. */
  readonly walDir: string | null;
  /** Null where {@link walDir} is null and no folder is given. */
  readonly hold: HoldOptions | null;
  readonly kafka: KafkaOptions | null;
  readonly redis: RedisOptions | null;
  readonly registry: RegistryOptions | null;
  readonly listen: HostPort | null;
  /** Where the other sidecars call this one. */
  readonly advertise: string | null;
  /** How its API is asked. */
  readonly client: ClientConfig | null;
  readonly systemTablePrefix: string;
}

/** As {@link loadConfig}, for who looks at what is right beside what is wrong. */
export function loadUsableConfig(env: Environment, cwd: string, hostName = hostname()): UsableConfig {
  const loaded = loadConfig(env, cwd);
  const given = readEnvironment(env, cwd);
  const { values, faulty } = parseVariables(given);
  const isFaulty = (prefix: string): boolean => faulty.some((name) => name.startsWith(prefix)) || isTorn(prefix);
  // A value whose file cannot be read was given, and is not there.
  const isTorn = (prefix: string): boolean =>
    [...given.names].some((name) => name.startsWith(prefix) && !(name in given.values));
  const usable = <T>(prefix: string, faults: readonly string[], options: T): T | null =>
    isFaulty(prefix) || faults.length > 0 ? null : options;
  const text = (name: 'SPOOR_WAL_DIR' | 'SPOOR_HOLD_DIR' | 'SPOOR_TSERVER'): string | null => values[name] ?? null;
  const walDir = text('SPOOR_WAL_DIR');
  const holdDir = text('SPOOR_HOLD_DIR') ?? (walDir === null ? null : `${walDir}/spoor-hold`);
  const user = values.SPOOR_KUDU_USER ?? osUser();
  const client = loadClientConfig(env, cwd, hostName);
  const isHttpRight = !isFaulty('SPOOR_HTTP');
  const http = {
    listen: values.SPOOR_HTTP_LISTEN,
    advertise: values.SPOOR_HTTP_ADVERTISE ?? null,
    credentials: httpCredentials(values),
  };
  return {
    faults: 'faults' in loaded ? loaded.faults : [],
    kudu: usable(
      'SPOOR_KUDU',
      kuduFaults(values, given),
      kuduOptions({ ...values, SPOOR_KUDU_USER: user }, given, cwd),
    ),
    tserver: text('SPOOR_TSERVER'),
    walDir: walDir === null ? null : resolve(cwd, walDir),
    hold:
      holdDir === null || isFaulty('SPOOR_HOLD')
        ? null
        : {
            dir: resolve(cwd, holdDir),
            server: values.SPOOR_HOLD_SERVER === 'on',
            maxBytes: values.SPOOR_HOLD_MAX_BYTES,
            maxAgeS: values.SPOOR_HOLD_MAX_AGE_S,
            minFreePercent: values.SPOOR_HOLD_MIN_FREE_PERCENT,
          },
    kafka: usable('SPOOR_KAFKA', kafkaFaults(values, given), kafkaOptions(values, given)),
    redis: usable('SPOOR_REDIS', redisFaults(values, given), redisOptions(values, given)),
    registry: usable('SPOOR_REGISTRY', registryFaults(given), registryOptions(values, given)),
    listen: isHttpRight ? values.SPOOR_HTTP_LISTEN : null,
    advertise: isHttpRight ? advertisedAddress(http, values.SPOOR_HTTP_LISTEN.port, hostName) : null,
    client: 'faults' in client ? null : client,
    systemTablePrefix: values.SPOOR_SYSTEM_TABLE_PREFIX,
  };
}

function osUser(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    return undefined; // a uid without a name, which is a fault that is told
  }
}
