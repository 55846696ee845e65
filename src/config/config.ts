import { hostname, userInfo } from 'node:os';
import { resolve } from 'node:path';
import { formatHostPort, isLoopbackHost, isWildcardHost, parseHostPort, type HostPort } from '../util/host-port.ts';
import type { HttpCredentials } from '../util/http-credentials.ts';
import {
  missing,
  missingOf,
  pathsOf,
  readEnvironment,
  valueFault,
  type Environment,
  type GivenVariables,
} from './environment.ts';
import {
  HTTP_SECRET_NAMES,
  httpCredentials,
  httpSecretFaults,
  httpSecretsOf,
  type HttpSecretName,
} from './http-secrets.ts';
import { kafkaFaults, kafkaOptions, kafkaSecretsOf, type KafkaOptions } from './kafka-options.ts';
import { isByName, kuduFaults, kuduOptions, type KuduOptions } from './kudu-options.ts';
import { redisFaults, redisOptions, redisSecretsOf, type RedisOptions } from './redis-options.ts';
import { VARIABLES, VARIABLE_NAMES, type VariableName, type Variables } from './variables.ts';

/** What a sidecar runs with: read once, checked, frozen. Handed down as these small groups. */
export interface Config {
  readonly mode: 'leader';
  readonly kudu: KuduOptions;
  /** `host:port` of the tablet server beside it. */
  readonly tserver: string;
  /** Absolute path of that server's fs_wal_dir; contains `wals/`. */
  readonly walDir: string;
  readonly hold: HoldOptions;
  readonly kafka: KafkaOptions;
  readonly registry: RegistryOptions;
  readonly redis: RedisOptions;
  readonly http: HttpOptions;
  readonly systemTables: { readonly prefix: string; readonly replicas: number };
  readonly markerIntervalMs: number;
  /** Whether what the log lacks is made up for from the table without being asked. */
  readonly gapRepair: 'auto' | 'manual';
  /** 0 to 19. */
  readonly nice: number;
  /** How late it may be and still stand back; 0 for however late. */
  readonly niceMaxLagS: number;
  readonly logLevel: LogLevel;
}

export interface HoldOptions {
  /** Absolute path. */
  readonly dir: string;
  /** Whether to raise the server's own log_min_segments_to_retain too. */
  readonly server: boolean;
  /** 0 is no limit, here and below. */
  readonly maxBytes: number;
  readonly maxAgeS: number;
  readonly minFreePercent: number;
}

/** Who we are to schema registries, and whom to trust; where each one is a stream says. */
export interface RegistryOptions {
  readonly basic?: { readonly username: string; readonly password: string };
  readonly token?: string;
  /** PEM. */
  readonly ca?: string;
  /** Paths of those that were read from files, which are read again when they change. */
  readonly files: { readonly password?: string; readonly token?: string; readonly ca?: string };
}

export interface HttpOptions {
  /** Port 0 takes a free one. */
  readonly listen: HostPort;
  /** `host:port` for other sidecars, or null for what {@link advertisedAddress} makes of the listen address. */
  readonly advertise: string | null;
  readonly credentials: HttpCredentials;
  /** Absolute paths of those that are read again when their files change. */
  readonly files: Readonly<Partial<Record<HttpSecretName, string>>>;
}

export type LogLevel = Variables['SPOOR_LOG_LEVEL'];

export type LoadedConfig = { readonly config: Config } | { readonly faults: readonly string[] };

/** What the defaults take from this machine. `user` is null where the process's uid has no name. */
export interface HostFacts {
  readonly user: string | null;
}

/**
 * Reads the configuration from `env` and from `.env` in `cwd` (contract 2).
 * @returns the frozen configuration, or every fault of it, each one line: variable, what was given, what is allowed
 */
export function loadConfig(env: Environment, cwd: string, host: HostFacts = { user: osUser() }): LoadedConfig {
  const given = readEnvironment(env, cwd);
  const { values, faulty } = parseVariables(given);
  const faults = [...given.faults, ...faulty.map((name) => valueFault(name, given)), ...relationFaults(values, given)];
  const user = values.SPOOR_KUDU_USER ?? host.user;
  if (user === null && isByName(values.SPOOR_KUDU_AUTH))
    faults.push(missing('SPOOR_KUDU_USER', 'required, as the OS user of this process has no name'));
  const { SPOOR_TSERVER: tserver, SPOOR_WAL_DIR: walDir } = values;
  const kudu = kuduOptions({ ...values, SPOOR_KUDU_USER: user ?? undefined }, given, cwd);
  if (faults.length > 0 || kudu === null || tserver === undefined || walDir === undefined) return { faults };
  return {
    config: deepFreeze({
      mode: values.SPOOR_MODE,
      kudu,
      tserver,
      walDir: resolve(cwd, walDir),
      hold: {
        dir: resolve(cwd, values.SPOOR_HOLD_DIR ?? `${walDir}/spoor-hold`),
        server: values.SPOOR_HOLD_SERVER === 'on',
        maxBytes: values.SPOOR_HOLD_MAX_BYTES,
        maxAgeS: values.SPOOR_HOLD_MAX_AGE_S,
        minFreePercent: values.SPOOR_HOLD_MIN_FREE_PERCENT,
      },
      kafka: kafkaOptions(values, given),
      registry: registryOptions(values, given),
      redis: redisOptions(values, given),
      http: {
        listen: values.SPOOR_HTTP_LISTEN,
        advertise: values.SPOOR_HTTP_ADVERTISE ?? null,
        credentials: httpCredentials(values),
        files: pathsOf(given.paths, HTTP_SECRET_NAMES),
      },
      systemTables: { prefix: values.SPOOR_SYSTEM_TABLE_PREFIX, replicas: values.SPOOR_SYSTEM_TABLE_REPLICAS },
      markerIntervalMs: values.SPOOR_MARKER_INTERVAL_MS,
      gapRepair: values.SPOOR_GAP_REPAIR,
      nice: values.SPOOR_NICE,
      niceMaxLagS: values.SPOOR_NICE_MAX_LAG_S,
      logLevel: values.SPOOR_LOG_LEVEL,
    }),
  };
}

/**
 * The address by which other sidecars call this one: as configured, else the listen address with the port that was
 * bound. A listener on every interface has no address of its own; it is called by the machine's name. With `https://` in
 * front where it speaks TLS; nothing in front is plain HTTP, as versions before 0.2 read it.
 */
export function advertisedAddress(
  { listen, advertise, credentials }: Pick<HttpOptions, 'listen' | 'advertise' | 'credentials'>,
  boundPort: number,
  hostName = hostname(),
): string {
  const host = isWildcardHost(listen.host) ? hostName : listen.host;
  const address = advertise ?? formatHostPort({ host, port: boundPort });
  return credentials.tls === null ? address : `https://${address}`;
}

/** Names besides those of this machine by which it is called. */
export function ownHosts({ advertise }: HttpOptions): readonly string[] {
  const named = advertise === null ? null : parseHostPort(advertise);
  return named === null ? [] : [named.host.toLowerCase()];
}

/** The values that must not appear in a log. */
export function secretsOf({ http, kafka, kudu, registry, redis }: Config): string[] {
  const secrets = [
    kudu.jwt && 'value' in kudu.jwt ? kudu.jwt.value : undefined,
    ...httpSecretsOf(http.credentials),
    ...kafkaSecretsOf(kafka),
    registry.basic?.password,
    registry.token,
    ...redisSecretsOf(redis),
  ];
  return [...new Set(secrets.flatMap((secret) => secret || []))];
}

/** Parses what was given; a faulty variable is left out of `values` (or stands there with its default). */
export function parseVariables(given: GivenVariables): { values: Variables; faulty: VariableName[] } {
  const first = VARIABLES.safeParse(given.values);
  if (first.success) return { values: first.data, faulty: [] };
  const names = new Set(first.error.issues.map((issue) => issue.path[0]));
  const faulty = VARIABLE_NAMES.filter((name) => names.has(name));
  const rest = Object.entries(given.values).filter(([name]) => !names.has(name));
  return { values: VARIABLES.parse(Object.fromEntries(rest)), faulty };
}

/** What no single variable can tell, of who we are to schema registries. */
export function registryFaults(given: GivenVariables): string[] {
  const pair = ['SPOOR_REGISTRY_USERNAME', 'SPOOR_REGISTRY_PASSWORD'] as const;
  const pairGiven = pair.find((name) => given.names.has(name));
  if (pairGiven === undefined) return [];
  const faults = missingOf(pair, given, `goes with ${pairGiven}`);
  if (given.names.has('SPOOR_REGISTRY_TOKEN'))
    faults.push(valueFault('SPOOR_REGISTRY_TOKEN', given, `nothing, as ${pairGiven} is given`));
  return faults;
}

/** What no single variable can tell. */
function relationFaults(values: Variables, given: GivenVariables): string[] {
  const isGiven = (name: VariableName) => given.names.has(name);
  const faults: string[] = [];
  faults.push(...missingOf(['SPOOR_KUDU_MASTERS'], given, 'required'));
  faults.push(...missingOf(['SPOOR_TSERVER', 'SPOOR_WAL_DIR'], given, 'required in leader mode'));

  faults.push(
    ...kuduFaults(values, given),
    ...kafkaFaults(values, given),
    ...registryFaults(given),
    ...redisFaults(values, given),
    ...httpSecretFaults(values, given),
  );
  const { SPOOR_HTTP_LISTEN: listen, SPOOR_HTTP_ADVERTISE: advertise } = values;
  if (advertise !== undefined && isWildcardHost(parseHostPort(advertise)!.host))
    faults.push(
      valueFault('SPOOR_HTTP_ADVERTISE', given, 'an address that the other sidecars can call, not a wildcard'),
    );
  if (!isGiven('SPOOR_HTTP_TOKEN') && !isLoopbackHost(listen.host))
    faults.push(
      valueFault(
        'SPOOR_HTTP_LISTEN',
        given,
        'a loopback address such as 127.0.0.1:8100, unless SPOOR_HTTP_TOKEN is given',
      ),
    );
  return faults;
}

export function registryOptions(values: Variables, { paths }: GivenVariables): RegistryOptions {
  const { SPOOR_REGISTRY_USERNAME: username, SPOOR_REGISTRY_PASSWORD: password } = values;
  const { SPOOR_REGISTRY_TOKEN: token, SPOOR_REGISTRY_CA: ca } = values;
  const { SPOOR_REGISTRY_PASSWORD: inFile, SPOOR_REGISTRY_TOKEN: tokenFile, SPOOR_REGISTRY_CA: caFile } = paths;
  return {
    ...(username !== undefined && password !== undefined && { basic: { username, password } }),
    ...(token !== undefined && { token }),
    ...(ca !== undefined && { ca }),
    files: {
      ...(inFile !== undefined && { password: inFile }),
      ...(tokenFile !== undefined && { token: tokenFile }),
      ...(caFile !== undefined && { ca: caFile }),
    },
  };
}

/** A uid without an entry in the password file, as containers often have, has no name. */
function osUser(): string | null {
  try {
    return userInfo().username;
  } catch {
    return null;
  }
}

function deepFreeze<T extends object>(value: T): T {
  for (const each of Object.values(value)) if (typeof each === 'object' && each !== null) deepFreeze(each as object);
  return Object.freeze(value);
}
