import * as z from 'zod';
import { isLoopbackHost, parseHostPort } from '../util/host-port.ts';
import { parseRedisUrl } from './redis-url.ts';

/** What is known of a variable besides its schema; `.env.example` and the error lines are made from it. */
export interface VariableInfo {
  /** What stands after "allowed:" in an error line. */
  readonly allowed: string;
  readonly describe: string;
  /** The default as it would be written in the environment. */
  readonly default?: string;
  /** A default that is made from other values: prose for `.env.example`. */
  readonly derivedDefault?: string;
  /** Never shown, neither in errors nor in logs. */
  readonly secret?: boolean;
  /** Whether `<NAME>_FILE`, the path of a file that holds the value, may stand in its place. Secrets always. */
  readonly fileToo?: boolean;
  /** Without it there is no start (contract 2); `.env.example` shows this value. */
  readonly requiredExample?: string;
}

const infos = z.registry<VariableInfo>();

/** @returns what {@link VARIABLES} says of a variable besides its type */
export function variableInfo(name: VariableName): VariableInfo {
  return infos.get(VARIABLES.shape[name])!; // every schema below is registered by one of the two functions that make it
}

/** A variable that may be left out: then its default holds, or there is no value. */
function optional<Output>(info: VariableInfo, schema: z.ZodType<Output, string>) {
  return schema.optional().register(infos, info);
}

/** A variable that always has a value: the one given or the default. */
function defaulted<Output>(info: VariableInfo & { default: string }, schema: z.ZodType<Output, string>) {
  return schema.prefault(info.default).register(infos, info);
}

const text = z.string();
const isHostPort = (value: string, lowestPort: number) => (parseHostPort(value)?.port ?? -1) >= lowestPort;
const hostPort = text.transform((value) => value.trim()).refine((value) => isHostPort(value, 1));
const hostPorts = text
  .transform((value) => [...new Set(value.split(',').map((part) => part.trim()))])
  .refine((parts) => parts.every((part) => isHostPort(part, 1)));
const listenAddress = text
  .transform((value) => value.trim())
  .refine((value) => isHostPort(value, 0))
  .transform((value) => parseHostPort(value)!);
const oneOf = <const Choice extends string>(...choices: [Choice, ...Choice[]]) =>
  z.enum(choices) as z.ZodType<Choice, string>;
const wholeNumber = (min: number, max: number) =>
  text
    .regex(/^\d{1,16}$/)
    .transform(Number)
    .refine((n) => n >= min && n <= max);
/** Where an environment cannot hold line breaks, `\n` stands for one. */
const pem = text
  .transform((value) => (value.includes('\n') ? value : value.replaceAll('\\n', '\n')))
  .refine((value) => /-----BEGIN [A-Z0-9 ]+-----[^]+-----END [A-Z0-9 ]+-----/.test(value));
/** Line breaks and other control characters have no place in a name, a path or a header. */
const printable = text.regex(/^[^\p{Cc}]+$/u);

const HOST_PORT = 'host:port, the port from 1 to 65535';
const HOST_PORTS = 'host:port,host:port,...';

/** Every variable of contract 2, in the order of `.env.example`. Input is text, output what the program works with. */
export const VARIABLES = z.strictObject({
  SPOOR_MODE: defaulted(
    {
      default: 'leader',
      allowed: 'leader (learner is not supported yet by this version)',
      describe:
        'leader: tails the WAL of the tablet server beside it. learner (reads the log remotely): not supported yet.',
    },
    oneOf('leader'),
  ),
  SPOOR_KUDU_MASTERS: optional(
    {
      allowed: HOST_PORTS,
      describe: "RPC addresses of Kudu's masters, all of them.",
      requiredExample: '127.0.0.1:7051',
    },
    hostPorts,
  ),
  SPOOR_TSERVER: optional(
    {
      allowed: HOST_PORT,
      describe: 'RPC address of the tablet server beside this sidecar. Required in leader mode.',
      requiredExample: '127.0.0.1:7050',
    },
    hostPort,
  ),
  SPOOR_WAL_DIR: optional(
    {
      allowed: 'the path of a folder',
      describe: "That server's --fs_wal_dir: the folder that contains wals/. Required in leader mode.",
      requiredExample: '/var/lib/kudu/tserver',
    },
    printable,
  ),
  SPOOR_HOLD_DIR: optional(
    {
      allowed: 'the path of a folder on the same filesystem as SPOOR_WAL_DIR',
      describe: 'Where hard links to held segments live; on the same filesystem as SPOOR_WAL_DIR.',
      derivedDefault: '<SPOOR_WAL_DIR>/spoor-hold',
    },
    printable,
  ),
  SPOOR_HOLD_SERVER: defaulted(
    {
      default: 'off',
      allowed: 'on or off',
      describe:
        "on: besides the links, raises the server's own log_min_segments_to_retain to what the laggard tablet needs, and lowers it again.",
    },
    oneOf('on', 'off'),
  ),
  SPOOR_KUDU_USER: optional(
    {
      allowed: 'a user name',
      describe:
        "User name for Kudu's PLAIN authentication: the OS user that the tablet server runs as, or a name in its --superuser_acl.",
      derivedDefault: 'the OS user of this process',
    },
    printable,
  ),
  SPOOR_KUDU_AUTH: defaulted(
    {
      default: 'auto',
      allowed: 'auto, kerberos, jwt or plain',
      describe:
        'How the sidecar proves who it is. auto: Kerberos where Kudu offers it and a keytab or ticket is there, else PLAIN. kerberos, jwt: that way or not at all. plain: the name alone.',
    },
    oneOf('auto', 'kerberos', 'jwt', 'plain'),
  ),
  SPOOR_KUDU_ENCRYPTION: defaulted(
    {
      default: 'optional',
      allowed: 'optional or required',
      describe: 'optional: TLS wherever Kudu offers it. required: servers without TLS are refused.',
    },
    oneOf('optional', 'required'),
  ),
  SPOOR_KUDU_PRINCIPAL: optional(
    {
      allowed: 'a Kerberos principal: name@REALM, or a name of the default realm',
      describe: 'Whose Kerberos tickets are used.',
      derivedDefault: 'the first principal of the keytab; without one that of the credential cache (KRB5CCNAME)',
    },
    printable,
  ),
  SPOOR_KUDU_KEYTAB: optional(
    {
      allowed: 'the path of a keytab that the sidecar can read',
      describe: 'Keytab of that principal: tickets are had from it and renewed while the sidecar runs.',
    },
    printable,
  ),
  SPOOR_KUDU_SASL_PROTOCOL_NAME: defaulted(
    {
      default: 'kudu',
      allowed: 'a name without / and @',
      describe: "First part of the Kudu servers' own principal (their --principal).",
    },
    printable.regex(/^[^/@\s]+$/),
  ),
  SPOOR_KUDU_JWT: optional(
    {
      allowed: 'a JSON Web Token in compact form, three parts with dots between',
      describe: 'JSON Web Token for SPOOR_KUDU_AUTH=jwt. From a file it is read again for each connection.',
      secret: true,
    },
    text.transform((value) => value.trim()).refine((value) => /^[\w-]+\.[\w-]+\.[\w-]*$/.test(value)),
  ),
  SPOOR_KUDU_CA: optional(
    {
      allowed: 'certificates in PEM',
      describe:
        "Certificates by which Kudu's servers are known, PEM: needed with a JWT, and where servers have certificates of an external PKI.",
      fileToo: true,
    },
    pem,
  ),
  SPOOR_KAFKA_BROKERS: optional({ allowed: HOST_PORTS, describe: 'Brokers for Kafka streams.' }, hostPorts),
  SPOOR_KAFKA_SSL: optional(
    {
      allowed: 'true or false',
      describe: 'Whether to speak TLS to the brokers.',
      derivedDefault: 'true where one of the three below is given, else false',
    },
    oneOf('true', 'false'),
  ),
  SPOOR_KAFKA_SSL_CA: optional(
    { allowed: 'certificates in PEM', describe: "Certificates to trust instead of Node's own, PEM.", fileToo: true },
    pem,
  ),
  SPOOR_KAFKA_SSL_CERT: optional(
    { allowed: 'a certificate in PEM', describe: "This client's certificate, PEM; goes with the key.", fileToo: true },
    pem,
  ),
  SPOOR_KAFKA_SSL_KEY: optional(
    { allowed: 'a private key in PEM', describe: "This client's private key, PEM, not encrypted.", secret: true },
    pem,
  ),
  SPOOR_KAFKA_SASL_MECHANISM: optional(
    {
      allowed: 'plain, scram-sha-256, scram-sha-512, oauthbearer or gssapi',
      describe:
        'plain, scram-sha-256 or scram-sha-512, which go with user name and password; oauthbearer, with the four SPOOR_KAFKA_OAUTH_*; gssapi, Kerberos by SPOOR_KUDU_PRINCIPAL and SPOOR_KUDU_KEYTAB.',
    },
    text.toLowerCase().pipe(z.enum(['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer', 'gssapi'])),
  ),
  SPOOR_KAFKA_SASL_USERNAME: optional(
    { allowed: 'a user name', describe: 'User name for SASL plain and scram.' },
    printable,
  ),
  SPOOR_KAFKA_SASL_PASSWORD: optional(
    { allowed: 'a password', describe: 'Password for SASL plain and scram.', secret: true },
    text.min(1),
  ),
  SPOOR_KAFKA_SASL_KERBEROS_SERVICE_NAME: defaulted(
    {
      default: 'kafka',
      allowed: "the first part of the brokers' principals, without / and @",
      describe: "For gssapi: the brokers' sasl.kerberos.service.name.",
    },
    text.regex(/^[^/@\s\p{Cc}]+$/u),
  ),
  SPOOR_KAFKA_OAUTH_TOKEN_URL: optional(
    {
      allowed: 'https://..., or http://... on this machine, without user name and password',
      describe:
        "For oauthbearer: the token endpoint (RFC 6749). Trusted of it are Node's own certificates and those of SPOOR_KAFKA_SSL_CA.",
    },
    text.refine(isTokenUrl),
  ),
  SPOOR_KAFKA_OAUTH_CLIENT_ID: optional(
    { allowed: 'a client id', describe: 'Who asks it for a token, by client credentials; goes with the secret.' },
    printable,
  ),
  SPOOR_KAFKA_OAUTH_CLIENT_SECRET: optional(
    { allowed: 'a client secret', describe: "That client's secret.", secret: true },
    text.min(1),
  ),
  SPOOR_KAFKA_OAUTH_SCOPE: optional(
    {
      allowed: 'scopes with a space between them',
      describe: 'What the token is asked for, where the endpoint wants that said.',
    },
    text.regex(/^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/),
  ),
  SPOOR_REGISTRY_USERNAME: optional(
    {
      allowed: 'a user name',
      describe: 'User name for the schema registries that streams in Avro and Protobuf name; goes with the password.',
    },
    printable,
  ),
  SPOOR_REGISTRY_PASSWORD: optional(
    { allowed: 'a password', describe: 'Password for the schema registries.', secret: true },
    text.min(1),
  ),
  SPOOR_REGISTRY_TOKEN: optional(
    {
      allowed: 'visible ASCII characters without spaces',
      describe: 'Bearer token for the schema registries, in the place of user name and password.',
      secret: true,
    },
    text.regex(/^[\x21-\x7e]+$/),
  ),
  SPOOR_REGISTRY_CA: optional(
    {
      allowed: 'certificates in PEM',
      describe: "Certificates to trust of a schema registry instead of Node's own, PEM.",
      fileToo: true,
    },
    pem,
  ),
  SPOOR_REDIS_URL: optional(
    {
      allowed:
        'redis://[user:password@]host[:port][/db], redis+sentinel://host:port,.../<master name>[/db] or redis+cluster://host:port,...; with rediss for TLS',
      describe:
        'Redis 7.0 or newer for Redis streams: redis://host:port, redis+sentinel://host:port,.../<master name> or redis+cluster://host:port,...; rediss, rediss+sentinel and rediss+cluster speak TLS.',
      secret: true, // may hold a password
    },
    text.transform((value, ctx) => {
      const url = parseRedisUrl(value.trim());
      if (url === null) ctx.addIssue({ code: 'custom', message: 'no URL of Redis' });
      return url ?? z.NEVER;
    }),
  ),
  SPOOR_REDIS_USERNAME: optional(
    {
      allowed: 'a user name',
      describe: 'User name for Redis (ACL), the default user without it; goes with the password.',
    },
    printable,
  ),
  SPOOR_REDIS_PASSWORD: optional(
    { allowed: 'a password', describe: 'Password for Redis, where the URL has none.', secret: true },
    text.min(1),
  ),
  SPOOR_REDIS_CA: optional(
    {
      allowed: 'certificates in PEM',
      describe: "Certificates to trust of Redis instead of Node's own, PEM; with rediss://.",
      fileToo: true,
    },
    pem,
  ),
  SPOOR_HTTP_LISTEN: defaulted(
    {
      default: '127.0.0.1:8100',
      allowed: 'host:port, IPv6 as [::1]:8100; port 0 takes a free one',
      describe: 'Where the control API and the metrics listen. Without SPOOR_HTTP_TOKEN on loopback only.',
    },
    listenAddress,
  ),
  SPOOR_HTTP_ADVERTISE: optional(
    {
      allowed: HOST_PORT,
      describe: 'What other sidecars call it by.',
      derivedDefault: 'the listen address; the host name where that is 0.0.0.0 or [::]',
    },
    hostPort,
  ),
  SPOOR_HTTP_TOKEN: optional(
    {
      allowed: 'visible ASCII characters without spaces',
      describe:
        'Bearer token of those who operate Spoor: every call may be made with it. The same on every sidecar, they ask each other.',
      secret: true,
    },
    text.regex(/^[\x21-\x7e]+$/),
  ),
  SPOOR_HTTP_TOKEN_READ: optional(
    {
      allowed: 'visible ASCII characters without spaces',
      describe: 'Bearer token of those who only look: GET, /metrics and the page. Goes with SPOOR_HTTP_TOKEN.',
      secret: true,
    },
    text.regex(/^[\x21-\x7e]+$/),
  ),
  SPOOR_HTTP_TLS_CERT: optional(
    {
      allowed: 'a certificate in PEM, with those between it and its CA behind it',
      describe: "The API's certificate, PEM: with it the API speaks HTTPS alone. Goes with the key.",
      fileToo: true,
    },
    pem,
  ),
  SPOOR_HTTP_TLS_KEY: optional(
    { allowed: 'a private key in PEM', describe: 'Its private key, PEM, not encrypted.', secret: true },
    pem,
  ),
  SPOOR_HTTP_TLS_CLIENT_CA: optional(
    {
      allowed: 'certificates in PEM',
      describe:
        "Certificates of the CA, PEM, whose clients may call the API: each must show a certificate of it. The other sidecars' certificates are of it too.",
      fileToo: true,
    },
    pem,
  ),
  SPOOR_SYSTEM_TABLE_PREFIX: defaulted(
    {
      default: 'spoor.',
      allowed: 'at most 200 printable characters without *',
      describe: "How the names of Spoor's own Kudu tables begin (spoor.streams, spoor.sidecars).",
    },
    printable.regex(/^[^*]{1,200}$/u),
  ),
  SPOOR_SYSTEM_TABLE_REPLICAS: defaulted(
    { default: '3', allowed: '1, 3, 5 or 7', describe: 'Replication factor of these tables: 1, 3, 5 or 7.' },
    text.regex(/^[1357]$/).transform(Number),
  ),
  SPOOR_MARKER_INTERVAL_MS: defaulted(
    {
      default: '1000',
      allowed: 'a whole number of milliseconds from 1 to 3600000',
      describe: 'A marker is written at most this often per tablet, and only if the apply OpId moved.',
    },
    wholeNumber(1, 3_600_000),
  ),
  SPOOR_HOLD_MAX_BYTES: defaulted(
    {
      default: '0',
      allowed: 'a whole number of bytes, 0 for no limit',
      describe: "Past it a tablet's hold is let go and the stream's tablet turns gap; 0 is no limit.",
    },
    wholeNumber(0, Number.MAX_SAFE_INTEGER),
  ),
  SPOOR_HOLD_MAX_AGE_S: defaulted(
    {
      default: '0',
      allowed: 'a whole number of seconds, 0 for no limit',
      describe: 'The same for the age of the oldest held operation; 0 is no limit.',
    },
    wholeNumber(0, Number.MAX_SAFE_INTEGER),
  ),
  SPOOR_HOLD_MIN_FREE_PERCENT: defaulted(
    {
      default: '10',
      allowed: 'a whole number from 0 to 90, 0 for no bound',
      describe:
        "Below so much free space on the disk of SPOOR_HOLD_DIR the oldest held logs are let go, so that Spoor never fills the tablet server's disk; 0 is never.",
    },
    wholeNumber(0, 90),
  ),
  SPOOR_GAP_REPAIR: defaulted(
    {
      default: 'auto',
      allowed: 'auto or manual',
      describe:
        'What becomes of a tablet whose log has a gap. auto: what is missing is read from the table. manual: it waits for a resync.',
    },
    oneOf('auto', 'manual'),
  ),
  SPOOR_NICE: defaulted(
    {
      default: '10',
      allowed: 'a whole number from 0 to 19',
      describe:
        'How far the sidecar stands back for the tablet server when the CPU is short: its nice value. 0: not at all.',
    },
    wholeNumber(0, 19),
  ),
  SPOOR_NICE_MAX_LAG_S: defaulted(
    {
      default: '5',
      allowed: 'a whole number of seconds, 0 for no limit',
      describe:
        'How late it may be and still stand back: beyond it the sidecar works at normal priority, where it may, until it has caught up. 0: it stands back however late it is.',
    },
    wholeNumber(0, Number.MAX_SAFE_INTEGER),
  ),
  SPOOR_LOG_LEVEL: defaulted(
    {
      default: 'info',
      allowed: 'trace, debug, info, warn, error, fatal or silent',
      describe: 'Level of the log: trace, debug, info, warn, error, fatal or silent.',
    },
    oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
  ),
});
export type VariableName = keyof typeof VARIABLES.shape;
export type Variables = z.output<typeof VARIABLES>;

export const VARIABLE_NAMES = Object.keys(VARIABLES.shape) as readonly VariableName[];

/** Whether the value may be given as the content of a file, named by `<NAME>_FILE`. */
export function hasFileVariant(name: VariableName): boolean {
  const { secret, fileToo } = variableInfo(name);
  return secret === true || fileToo === true;
}

/** A secret goes there: in the clear on this machine alone. */
function isTokenUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, hostname, username, password, hash } = new URL(value);
  if (username !== '' || password !== '' || hash !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname.replace(/^\[(.*)\]$/, '$1')));
}
