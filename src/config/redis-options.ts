import { createSecureContext } from 'node:tls';
import { missing, pathsOf, valueFault, type GivenVariables } from './environment.ts';
import { isReadable } from './is-readable.ts';
import type { RedisUrl } from './redis-url.ts';
import type { VariableName, Variables } from './variables.ts';

/** How Redis is reached, and who we are to it. */
export interface RedisOptions {
  /** Null where none was given, so that Redis streams cannot run here. */
  readonly servers: Omit<RedisUrl, 'username' | 'password'> | null;
  /** The default user where there is none. */
  readonly username?: string;
  readonly password?: string;
  /** PEM. */
  readonly ca?: string;
  /** The password as it stood in the URL, which errors may quote. */
  readonly quotedPassword?: string;
  /** Where the values are that were given as files, absolute. They are read again when they change. */
  readonly files: Readonly<Partial<Record<(typeof REDIS_FILES)[number], string>>>;
}

export const REDIS_FILES = ['SPOOR_REDIS_PASSWORD', 'SPOOR_REDIS_CA'] as const;
const WITH_URL = ['SPOOR_REDIS_USERNAME', ...REDIS_FILES] as const satisfies readonly VariableName[];

/** @param paths where the values that were given as files are, absolute */
export function redisOptions(values: Variables, { values: texts, paths }: GivenVariables): RedisOptions {
  const { SPOOR_REDIS_URL: url, SPOOR_REDIS_CA: ca } = values;
  const username = values.SPOOR_REDIS_USERNAME ?? url?.username;
  const password = values.SPOOR_REDIS_PASSWORD ?? url?.password;
  const quotedPassword = /^[^@]*:\/\/[^@/:]*:([^@/]*)@/.exec(texts.SPOOR_REDIS_URL ?? '')?.[1];
  return {
    servers: url === undefined ? null : serversOf(url),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { ca }),
    ...(quotedPassword !== undefined && quotedPassword !== password && { quotedPassword }),
    files: pathsOf(paths, REDIS_FILES),
  };
}

function serversOf({ kind, hosts, masterName, db, isTls }: RedisUrl): NonNullable<RedisOptions['servers']> {
  return { kind, hosts, masterName, db, isTls };
}

/** What no single variable can tell, of how to reach Redis. */
export function redisFaults(values: Variables, given: GivenVariables): string[] {
  const { SPOOR_REDIS_URL: url } = values;
  const first = WITH_URL.find((name) => given.names.has(name));
  if (first === undefined) return [];
  if (!given.names.has('SPOOR_REDIS_URL')) return [missing('SPOOR_REDIS_URL', `goes with ${first}`)];
  if (url === undefined) return []; // what is wrong with it is said
  const faults: string[] = [];
  const isGiven = (name: VariableName): boolean => given.names.has(name);
  for (const name of ['SPOOR_REDIS_USERNAME', 'SPOOR_REDIS_PASSWORD'] as const)
    if (isGiven(name) && url.password !== undefined)
      faults.push(valueFault(name, given, 'nothing, as SPOOR_REDIS_URL says who we are'));
  if (isGiven('SPOOR_REDIS_USERNAME') && !isGiven('SPOOR_REDIS_PASSWORD') && url.password === undefined)
    faults.push(missing('SPOOR_REDIS_PASSWORD', 'goes with SPOOR_REDIS_USERNAME'));
  if (isGiven('SPOOR_REDIS_CA') && !url.isTls)
    faults.push(valueFault('SPOOR_REDIS_URL', given, 'rediss://..., as SPOOR_REDIS_CA is given'));
  return faults;
}

/** What keeps a CA from being used, in words without its value; null for nothing. */
export function redisCaFault(ca: string): string | null {
  return isReadable(() => createSecureContext({ ca }))
    ? null
    : 'SPOOR_REDIS_CA holds no certificate that OpenSSL can read';
}

/** The values that must not be shown, in every form in which a library may quote them. */
export function redisSecretsOf({
  password,
  quotedPassword,
}: Pick<RedisOptions, 'password' | 'quotedPassword'>): string[] {
  return [quotedPassword, password].flatMap((secret) => secret || []);
}
