import { parseHostPort, type HostPort } from '../util/host-port.ts';

/** What SPOOR_REDIS_URL says. */
export interface RedisUrl {
  /** `single`: one server. `sentinel`: whoever the hosts say is the master of that name. `cluster`: whoever they say has a slot. */
  readonly kind: 'single' | 'sentinel' | 'cluster';
  readonly hosts: readonly HostPort[];
  /** Of a sentinel's; else empty. */
  readonly masterName: string;
  readonly db: number;
  readonly isTls: boolean;
  readonly username?: string;
  readonly password?: string;
}

const DEFAULT_PORTS = { single: 6379, cluster: 6379, sentinel: 26379 } as const;

/**
 * Reads `redis://[user:password@]host[:port][/db]`, `redis+cluster://host:port,host:port` and
 * `redis+sentinel://host:port,host:port/<master name>[/db]`; each with `rediss` for TLS.
 * @returns null where it is none of them
 */
export function parseRedisUrl(text: string): RedisUrl | null {
  const match = /^redis(s?)(?:\+(cluster|sentinel))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?$/.exec(text);
  if (!match) return null;
  const [, tls, how, user, places, path = ''] = match;
  const kind = (how ?? 'single') as RedisUrl['kind'];
  const hosts = places!.split(',').map((place) => hostOf(place.trim(), DEFAULT_PORTS[kind]));
  if (hosts.includes(null) || (kind === 'single' && hosts.length > 1)) return null;
  const parts = path.split('/').filter((part) => part !== '');
  const masterName = kind === 'sentinel' ? (parts.shift() ?? '') : '';
  if (kind === 'sentinel' && masterName === '') return null;
  const [db = '0', ...more] = parts;
  if (more.length > 0 || !/^\d{1,5}$/.test(db) || (kind === 'cluster' && db !== '0')) return null;
  const login = user === undefined ? {} : loginOf(user);
  if (login === null) return null;
  return {
    kind,
    hosts: hosts as HostPort[],
    masterName: decoded(masterName),
    db: Number(db),
    isTls: tls === 's',
    ...login,
  };
}

function hostOf(place: string, port: number): HostPort | null {
  const read = parseHostPort(/^(\[[^\]]+\]|[^:[\]]+)$/.test(place) ? `${place}:${port}` : place);
  return read && read.port > 0 ? read : null;
}

/** `user:password`, `:password` or `user:`. A password may have colons. */
function loginOf(text: string): Pick<RedisUrl, 'username' | 'password'> | null {
  const colon = text.indexOf(':');
  if (colon < 0) return null; // a user without a password is half of something
  const [username, password] = [decoded(text.slice(0, colon)), decoded(text.slice(colon + 1))];
  if (password === '') return null;
  return { ...(username !== '' && { username }), password };
}

/** A percent sign that is none of URL encoding stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
