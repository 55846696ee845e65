import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { missing, missingOf, pathsOf, valueFault, type GivenVariables } from './environment.ts';
import { isReadable } from './is-readable.ts';
import type { VariableName, Variables } from './variables.ts';

/** How the brokers are reached, and who we are to them. */
export interface KafkaOptions {
  /** Each `host:port`; null where none were given, so that Kafka streams cannot run here. */
  readonly brokers: readonly string[] | null;
  /** Null: no TLS. */
  readonly tls: KafkaTls | null;
  /** Null: nobody is told who we are. */
  readonly sasl: KafkaSasl | null;
  /** Where the values are that were given as files, absolute. They are read again when they change. */
  readonly files: Readonly<Partial<Record<KafkaFileName, string>>>;
}

/** All PEM. Without a CA Node's own are trusted. */
export interface KafkaTls {
  readonly ca?: string;
  /** Goes with the key. */
  readonly cert?: string;
  readonly key?: string;
}

export type KafkaSasl = KafkaPasswordLogin | KafkaOAuthLogin | KafkaKerberosLogin;

export interface KafkaPasswordLogin {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  readonly password: string;
}

/** OAuth 2.0 client credentials (RFC 6749, 4.4). */
export interface KafkaOAuthLogin {
  readonly mechanism: 'oauthbearer';
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scope?: string;
}

/** As whoever we are to Kudu's Kerberos. */
export interface KafkaKerberosLogin {
  readonly mechanism: 'gssapi';
  /** The first part of the brokers' principals. */
  readonly serviceName: string;
}

/** What was read from files belongs together in these two: a certificate and its key are changed one after the other. */
export const KAFKA_TLS_FILES = ['SPOOR_KAFKA_SSL_CA', 'SPOOR_KAFKA_SSL_CERT', 'SPOOR_KAFKA_SSL_KEY'] as const;
export const KAFKA_SECRET_FILES = ['SPOOR_KAFKA_SASL_PASSWORD', 'SPOOR_KAFKA_OAUTH_CLIENT_SECRET'] as const;
type KafkaFileName = (typeof KAFKA_TLS_FILES)[number] | (typeof KAFKA_SECRET_FILES)[number];

const PASSWORD_NAMES = ['SPOOR_KAFKA_SASL_USERNAME', 'SPOOR_KAFKA_SASL_PASSWORD'] as const;
const OAUTH_REQUIRED = [
  'SPOOR_KAFKA_OAUTH_TOKEN_URL',
  'SPOOR_KAFKA_OAUTH_CLIENT_ID',
  'SPOOR_KAFKA_OAUTH_CLIENT_SECRET',
] as const;

type Mechanism = NonNullable<Variables['SPOOR_KAFKA_SASL_MECHANISM']>;

/** Which variables go with which mechanism: what is required, and what may be given. */
const SASL_NAMES: Readonly<
  Record<'password' | 'oauthbearer' | 'gssapi', { required: readonly VariableName[]; allowed: readonly VariableName[] }>
> = {
  password: { required: PASSWORD_NAMES, allowed: PASSWORD_NAMES },
  oauthbearer: { required: OAUTH_REQUIRED, allowed: [...OAUTH_REQUIRED, 'SPOOR_KAFKA_OAUTH_SCOPE'] },
  gssapi: { required: [], allowed: [] }, // its service name has a default, and does no harm to others
};

/** @param paths where the values that were given as files are, absolute */
export function kafkaOptions(values: Variables, { paths }: Pick<GivenVariables, 'paths'>): KafkaOptions {
  return {
    brokers: values.SPOOR_KAFKA_BROKERS ?? null,
    tls: tlsOf(values),
    sasl: saslOf(values),
    files: pathsOf(paths, [...KAFKA_TLS_FILES, ...KAFKA_SECRET_FILES]),
  };
}

function tlsOf(values: Variables): KafkaTls | null {
  const { SPOOR_KAFKA_SSL_CA: ca, SPOOR_KAFKA_SSL_CERT: cert, SPOOR_KAFKA_SSL_KEY: key } = values;
  const own: KafkaTls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  return values.SPOOR_KAFKA_SSL === 'true' || Object.keys(own).length > 0 ? own : null;
}

function saslOf(values: Variables): KafkaSasl | null {
  const { SPOOR_KAFKA_SASL_MECHANISM: mechanism } = values;
  if (mechanism === undefined) return null;
  if (mechanism === 'gssapi') return { mechanism, serviceName: values.SPOOR_KAFKA_SASL_KERBEROS_SERVICE_NAME };
  if (mechanism === 'oauthbearer') {
    const { SPOOR_KAFKA_OAUTH_TOKEN_URL: tokenUrl, SPOOR_KAFKA_OAUTH_CLIENT_ID: clientId } = values;
    const { SPOOR_KAFKA_OAUTH_CLIENT_SECRET: clientSecret, SPOOR_KAFKA_OAUTH_SCOPE: scope } = values;
    if (tokenUrl === undefined || clientId === undefined || clientSecret === undefined) return null;
    return { mechanism, tokenUrl, clientId, clientSecret, ...(scope !== undefined && { scope }) };
  }
  const { SPOOR_KAFKA_SASL_USERNAME: username, SPOOR_KAFKA_SASL_PASSWORD: password } = values;
  if (username === undefined || password === undefined) return null;
  return { mechanism, username, password };
}

/** What no single variable can tell, of how to reach the brokers. */
export function kafkaFaults(values: Variables, given: GivenVariables): string[] {
  return [...saslFaults(values, given), ...tlsFaults(values, given)];
}

function saslFaults(values: Variables, given: GivenVariables): string[] {
  const isGiven = (name: VariableName): boolean => given.names.has(name);
  const { SPOOR_KAFKA_SASL_MECHANISM: mechanism } = values;
  const all = Object.values(SASL_NAMES).flatMap(({ allowed }) => allowed);
  const first = all.find(isGiven);
  if (mechanism === undefined) {
    if (isGiven('SPOOR_KAFKA_SASL_MECHANISM') || first === undefined) return []; // wrong, or not wanted
    return [missing('SPOOR_KAFKA_SASL_MECHANISM', `goes with ${first}`), ...pairFaults(given)];
  }
  const { required, allowed } = SASL_NAMES[kindOf(mechanism)];
  return [
    ...missingOf(required, given, `goes with SPOOR_KAFKA_SASL_MECHANISM=${mechanism}`),
    ...all
      .filter((name) => isGiven(name) && !allowed.includes(name))
      .map((name) => valueFault(name, given, `nothing, as SPOOR_KAFKA_SASL_MECHANISM is ${mechanism}`)),
  ];
}

/** Where nobody has said how: a user name without a password is half of something all the same. */
function pairFaults(given: GivenVariables): string[] {
  const pairGiven = PASSWORD_NAMES.find((name) => given.names.has(name));
  return pairGiven === undefined ? [] : missingOf(PASSWORD_NAMES, given, `goes with ${pairGiven}`);
}

function kindOf(mechanism: Mechanism): keyof typeof SASL_NAMES {
  return mechanism === 'oauthbearer' || mechanism === 'gssapi' ? mechanism : 'password';
}

function tlsFaults(values: Variables, given: GivenVariables): string[] {
  const isGiven = (name: VariableName): boolean => given.names.has(name);
  const faults: string[] = [];
  const pair = ['SPOOR_KAFKA_SSL_CERT', 'SPOOR_KAFKA_SSL_KEY'] as const;
  const pairGiven = pair.find(isGiven);
  if (pairGiven !== undefined) faults.push(...missingOf(pair, given, `goes with ${pairGiven}`));
  const pem = KAFKA_TLS_FILES.find(isGiven);
  if (values.SPOOR_KAFKA_SSL === 'false' && pem !== undefined)
    faults.push(valueFault('SPOOR_KAFKA_SSL', given, `true, as ${pem} is given`));
  return faults;
}

/**
 * What keeps these from being used, in words without their values; null for nothing. Whether a broker takes them it alone
 * can say.
 */
export function kafkaTlsFault({ ca, cert, key }: KafkaTls): string | null {
  if (ca !== undefined && !isReadable(() => createSecureContext({ ca })))
    return 'SPOOR_KAFKA_SSL_CA holds no certificate that OpenSSL can read';
  if (cert === undefined || key === undefined) return null;
  if (!isReadable(() => new X509Certificate(cert)))
    return 'SPOOR_KAFKA_SSL_CERT holds no certificate that OpenSSL can read';
  if (!isReadable(() => createPrivateKey(key)))
    return 'SPOOR_KAFKA_SSL_KEY holds no private key, not encrypted, that OpenSSL can read';
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
    return 'SPOOR_KAFKA_SSL_KEY is not the key of SPOOR_KAFKA_SSL_CERT';
  return isReadable(() => createSecureContext({ cert, key })) ? null : 'OpenSSL does not take SPOOR_KAFKA_SSL_CERT';
}

/** The values of them that must not be shown. */
export function kafkaSecretsOf({ tls, sasl }: Pick<KafkaOptions, 'tls' | 'sasl'>): string[] {
  const secrets = [
    sasl !== null && 'password' in sasl && sasl.password,
    sasl?.mechanism === 'oauthbearer' && sasl.clientSecret,
    tls?.key,
  ];
  return secrets.flatMap((secret) => secret || []);
}
