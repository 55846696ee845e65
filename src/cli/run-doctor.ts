import { planWithFormat } from '../app/formats.ts';
import { KafkaAccessInForce } from '../app/kafka-access.ts';
import { RedisAccessInForce } from '../app/redis-access.ts';
import { Registries } from '../app/registries.ts';
import { Sinks } from '../app/sinks.ts';
import { kafkaSecretsOf } from '../config/kafka-options.ts';
import { redisSecretsOf } from '../config/redis-options.ts';
import { loadUsableConfig, type UsableConfig } from '../config/usable-config.ts';
import { diagnose, type DoctorOptions } from '../doctor/doctor.ts';
import type { Finding } from '../doctor/finding.ts';
import { SecretMask } from '../util/secret-mask.ts';
import type { CliContext } from './cli-context.ts';
import { countFaults, renderFindings } from './doctor-text.ts';
import { createLogger } from './logger.ts';
import { columnsOf, paintFor } from './text-style.ts';

/** Where nothing can be used of what the configuration says of a sink. */
const NO_KAFKA = { brokers: null, tls: null, sasl: null, files: {} } as const;
const NO_REDIS = { servers: null, files: {} } as const;

/** @returns exit code: 0 where nothing is wrong, 1 where something is */
export async function runDoctor(context: CliContext, json: boolean): Promise<0 | 1> {
  const config = loadUsableConfig(context.env, context.cwd);
  const mask = new SecretMask(...secretsOf(config));
  const findings = (await look(config, mask)).map((finding) => masked(finding, mask));
  const faults = countFaults(findings);
  context.out(
    json
      ? `${JSON.stringify({ faults, findings }, null, 2)}\n`
      : renderFindings(findings, columnsOf(context), paintFor(context)),
  );
  return faults === 0 ? 0 : 1;
}

async function look(config: UsableConfig, mask: SecretMask): Promise<readonly Finding[]> {
  // What clients log besides is told by the findings.
  const logger = createLogger({ level: 'silent', mask });
  const { kafka: kafkaConfig, redis: redisConfig, kudu, registry } = config;
  const deps = { mask, logger };
  const kerberos = kudu?.kerberos;
  const brokers = kafkaConfig?.brokers ?? null;
  const servers = redisConfig?.servers ?? null;
  await using kafkaAccess = new KafkaAccessInForce(kafkaConfig ?? NO_KAFKA, { kerberos, ...deps });
  await using redisAccess = new RedisAccessInForce(redisConfig ?? NO_REDIS, deps);
  await using sinks = new Sinks(
    { kafka: kafkaConfig ?? NO_KAFKA, redis: redisConfig ?? NO_REDIS, kudu: kudu ?? { masters: [] } },
    deps,
  );
  using registries = new Registries(registry ?? { files: {} }, logger);
  const options: DoctorOptions = {
    config,
    kafka: brokers && { brokers, access: kafkaAccess, logger },
    redis: servers && { servers, access: redisAccess, logger },
    sinks: {
      isUsable: (type) => type === 'file' || config[type] !== null,
      plan: (definition, tables) => planWithFormat(sinks.plan(definition, tables), definition),
      inquire: (definition, places, signal) => sinks.inquire(definition, places, signal),
    },
    registryAt: (urls) => registries.at(urls).client,
    logger,
    signal: new AbortController().signal,
  };
  return await diagnose(options);
}

function masked(finding: Finding, { apply }: SecretMask): Finding {
  const what = apply(finding.what);
  return finding.state === 'fault' ? { ...finding, what, remedy: apply(finding.remedy) } : { ...finding, what };
}

function secretsOf({ kafka, redis, registry, client, kudu }: UsableConfig): string[] {
  const secrets = [
    kudu?.jwt && 'value' in kudu.jwt ? kudu.jwt.value : undefined,
    registry?.basic?.password,
    registry?.token,
    client?.token ?? undefined,
    ...(kafka ? kafkaSecretsOf(kafka) : []),
    ...(redis ? redisSecretsOf(redis) : []),
  ];
  return secrets.flatMap((secret) => secret ?? []);
}
