import { hostname } from 'node:os';
import { isWildcardHost, formatHostPort, type HostPort } from '../util/host-port.ts';
import type { TlsClientOptions } from '../util/tls-fetch.ts';
import { parseVariables, registryFaults, registryOptions, type RegistryOptions } from './config.ts';
import { missingOf, readEnvironment, valueFault, type Environment } from './environment.ts';
import { kafkaFaults, kafkaOptions, type KafkaOptions } from './kafka-options.ts';
import { kuduFaults, kuduOptions, type KuduOptions } from './kudu-options.ts';
import { redisFaults, redisOptions, redisSecretsOf, type RedisOptions } from './redis-options.ts';
import { variableInfo, type VariableName } from './variables.ts';

/** How a command reaches the sidecar of the same environment. */
export interface ClientConfig {
  readonly url: string;
  readonly token: string | null;
  readonly tls: TlsClientOptions;
}

const NAMES = [
  'SPOOR_HTTP_LISTEN',
  'SPOOR_HTTP_ADVERTISE',
  'SPOOR_HTTP_TOKEN',
  'SPOOR_HTTP_TOKEN_READ',
  'SPOOR_HTTP_TLS_CERT',
  'SPOOR_HTTP_TLS_KEY',
  'SPOOR_HTTP_TLS_CLIENT_CA',
] as const;

/**
 * Reads from the sidecar's own variables where its API listens, with which token, and whom to trust: as the other sidecars
 * do. The others may be missing or wrong: a shell on an operator's machine has no tablet server beside it. Unknown names
 * are refused all the same.
 */
export function loadClientConfig(
  env: Environment,
  cwd: string,
  hostName = hostname(),
): ClientConfig | { readonly faults: readonly string[] } {
  const given = readEnvironment(env, cwd);
  const { values, faulty } = parseVariables(given);
  const faults = [
    ...given.faults,
    ...NAMES.filter((name) => faulty.includes(name)).map((name) => valueFault(name, given)),
  ];
  const { SPOOR_HTTP_TLS_CERT: cert, SPOOR_HTTP_TLS_KEY: key, SPOOR_HTTP_TLS_CLIENT_CA: ca = null } = values;
  const pair = ['SPOOR_HTTP_TLS_CERT', 'SPOOR_HTTP_TLS_KEY'] as const;
  const pairGiven = pair.find((name) => given.names.has(name));
  if (pairGiven !== undefined) faults.push(...missingOf(pair, given, `goes with ${pairGiven}`));
  if (faults.length > 0) return { faults };
  const { SPOOR_HTTP_LISTEN: listen, SPOOR_HTTP_ADVERTISE: advertise = null } = values;
  const identity = cert === undefined || key === undefined ? null : { cert, key };
  return {
    url:
      identity === null ? `http://${plainAddress(listen)}` : `https://${certifiedAddress(listen, advertise, hostName)}`,
    token: values.SPOOR_HTTP_TOKEN ?? values.SPOOR_HTTP_TOKEN_READ ?? null,
    tls: { ca, identity },
  };
}

function plainAddress({ host, port }: HostPort): string {
  return formatHostPort({ host: isWildcardHost(host) ? '127.0.0.1' : host, port });
}

/** A certificate names what the other sidecars call it by, and hardly ever 127.0.0.1. */
function certifiedAddress({ host, port }: HostPort, advertise: string | null, hostName: string): string {
  return advertise ?? formatHostPort({ host: isWildcardHost(host) ? hostName : host, port });
}

/** How a command reaches what the sidecars of the same environment work with. */
export interface ServersConfig {
  readonly kudu: KuduOptions;
  readonly kafka: KafkaOptions;
  readonly redis: RedisOptions;
  readonly registry: RegistryOptions;
  readonly systemTablePrefix: string;
  /** The values that must not be shown. */
  readonly secrets: readonly string[];
}

/** As {@link loadClientConfig}, of the variables that say where Kudu and the sinks are. */
export function loadServersConfig(
  env: Environment,
  cwd: string,
): ServersConfig | { readonly faults: readonly string[] } {
  const given = readEnvironment(env, cwd);
  const { values, faulty } = parseVariables(given);
  const faults = [
    ...given.faults,
    ...faulty.filter(isOfServers).map((name) => valueFault(name, given)),
    ...missingOf(['SPOOR_KUDU_MASTERS'], given, 'required'),
    ...kuduFaults(values, given),
    ...kafkaFaults(values, given),
    ...registryFaults(given),
    ...redisFaults(values, given),
  ];
  const redis = redisOptions(values, given);
  const kudu = kuduOptions(values, given, cwd);
  const { SPOOR_SYSTEM_TABLE_PREFIX: systemTablePrefix } = values;
  if (faults.length > 0 || kudu === null) return { faults };
  return {
    kudu,
    kafka: kafkaOptions(values, given),
    redis,
    registry: registryOptions(values, given),
    systemTablePrefix,
    secrets: [
      ...Object.entries(given.values).flatMap(([name, value]) =>
        variableInfo(name as VariableName).secret === true ? [value] : [],
      ),
      ...redisSecretsOf(redis),
    ],
  };
}

function isOfServers(name: VariableName): boolean {
  return ['SPOOR_KUDU_', 'SPOOR_KAFKA_', 'SPOOR_REDIS_', 'SPOOR_REGISTRY_', 'SPOOR_SYSTEM_TABLE_PREFIX'].some(
    (prefix) => name.startsWith(prefix),
  );
}
