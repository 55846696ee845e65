import { isWildcardHost, formatHostPort } from '../util/host-port.ts';
import {
  kafkaFaults,
  kafkaOptions,
  parseVariables,
  registryFaults,
  registryOptions,
  type KafkaOptions,
  type RegistryOptions,
} from './config.ts';
import { missingOf, readEnvironment, valueFault, type Environment } from './environment.ts';
import { kuduFaults, kuduOptions, type KuduOptions } from './kudu-options.ts';
import { VARIABLES, variableInfo, type VariableName } from './variables.ts';

/** How a command reaches the sidecar of the same environment. */
export interface ClientConfig {
  readonly url: string;
  readonly token: string | null;
}

/**
 * Reads from the sidecar's own variables where its API listens and with which token. The others may be missing or
 * wrong: a shell on an operator's machine has no tablet server beside it. Unknown names are refused all the same.
 */
export function loadClientConfig(env: Environment, cwd: string): ClientConfig | { readonly faults: readonly string[] } {
  const given = readEnvironment(env, cwd);
  const listen = VARIABLES.shape.SPOOR_HTTP_LISTEN.safeParse(given.values.SPOOR_HTTP_LISTEN);
  const token = VARIABLES.shape.SPOOR_HTTP_TOKEN.safeParse(given.values.SPOOR_HTTP_TOKEN);
  const faults = [...given.faults];
  if (!listen.success) faults.push(valueFault('SPOOR_HTTP_LISTEN', given));
  if (!token.success) faults.push(valueFault('SPOOR_HTTP_TOKEN', given));
  if (faults.length > 0 || !listen.success || !token.success) return { faults };
  const host = isWildcardHost(listen.data.host) ? '127.0.0.1' : listen.data.host;
  return { url: `http://${formatHostPort({ host, port: listen.data.port })}`, token: token.data ?? null };
}

/** How a command reaches what the sidecars of the same environment work with. */
export interface ServersConfig {
  readonly kudu: KuduOptions;
  readonly kafka: KafkaOptions & { readonly brokers: readonly string[] };
  readonly registry: RegistryOptions;
  readonly systemTablePrefix: string;
  /** The values that must not be shown. */
  readonly secrets: readonly string[];
}

/** As {@link loadClientConfig}, of the variables that say where Kudu and Kafka are. */
export function loadServersConfig(
  env: Environment,
  cwd: string,
): ServersConfig | { readonly faults: readonly string[] } {
  const given = readEnvironment(env, cwd);
  const { values, faulty } = parseVariables(given);
  const faults = [
    ...given.faults,
    ...faulty.filter(isOfServers).map((name) => valueFault(name, given)),
    ...missingOf(['SPOOR_KUDU_MASTERS', 'SPOOR_KAFKA_BROKERS'], given, 'required'),
    ...kuduFaults(values, given),
    ...kafkaFaults(values, given),
    ...registryFaults(given),
  ];
  const kafka = kafkaOptions(values);
  const kudu = kuduOptions(values, given, cwd);
  const { SPOOR_SYSTEM_TABLE_PREFIX: systemTablePrefix } = values;
  if (faults.length > 0 || kudu === null || kafka.brokers === null) return { faults };
  return {
    kudu,
    kafka: { ...kafka, brokers: kafka.brokers },
    registry: registryOptions(values, given),
    systemTablePrefix,
    secrets: Object.entries(given.values).flatMap(([name, value]) =>
      variableInfo(name as VariableName).secret === true ? [value] : [],
    ),
  };
}

function isOfServers(name: VariableName): boolean {
  return ['SPOOR_KUDU_', 'SPOOR_KAFKA_', 'SPOOR_REGISTRY_', 'SPOOR_SYSTEM_TABLE_PREFIX'].some((prefix) =>
    name.startsWith(prefix),
  );
}
