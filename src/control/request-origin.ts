import type { IncomingHttpHeaders } from 'node:http';
import { isLoopbackHost, parseHostPort } from '../util/host-port.ts';
import { isSafe } from './access.ts';
import { ProblemError } from './problem.ts';

export interface AskedFrom {
  readonly method: string;
  readonly httpVersion: string;
  /** The target as it stands in the request: a path, or a whole URL. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
}

/** Of these a second one changes what a request means, and proxies differ in which of the two counts. */
const ONCE = new Set([
  'authorization',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'origin',
  'transfer-encoding',
]);

/**
 * Why a request is not looked at, by where it comes from and goes to; null for nothing.
 * @param ownHosts names by which the API may be called, or null for any. Where no token is asked for, only those of this
 *   machine are: a web page whose name leads to 127.0.0.1 all of a sudden (DNS rebinding) is of one origin with the API
 *   for its browser, and gives itself away by that name alone.
 */
export function originFault(
  { method, httpVersion, target, headers, rawHeaders }: AskedFrom,
  ownHosts: readonly string[] | null,
): ProblemError | null {
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    return new ProblemError(400, `HTTP/${httpVersion} is not spoken here; HTTP/1.1 is.`);
  if (target === '*') return new ProblemError(404, 'There is nothing at *: name a path, such as /v1/streams.');
  if (headers.host === undefined && httpVersion === '1.1') return new ProblemError(400, 'The header Host is missing.');
  const twice = namedTwice(rawHeaders);
  if (twice !== null) return new ProblemError(400, `The header ${twice} came more than once.`);
  // As a proxy is asked: the URL's own host counts then (RFC 9112 3.2.2).
  const named = target.startsWith('/') ? null : authorityOf(target);
  const host = (named ?? headers.host ?? '').toLowerCase();
  const stranger =
    ownHosts === null ? undefined : [host, headers.host ?? ''].find((each) => !isOwnHost(each, ownHosts));
  if (stranger !== undefined)
    return new ProblemError(
      403,
      `This API is not called ${JSON.stringify(stranger)}: without a token it answers to the names of this machine alone.`,
    );
  const { origin } = headers;
  if (origin === undefined || isSafe(method)) return null;
  // A POST without a body needs nobody's leave in a browser. Whoever is no browser sends no Origin.
  const isOwn = URL.canParse(origin) && new URL(origin).host === host;
  return isOwn ? null : new ProblemError(403, `Pages of ${JSON.stringify(origin)} may change nothing here.`);
}

function namedTwice(rawHeaders: readonly string[]): string | null {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (ONCE.has(name) && seen.has(name)) return name;
    seen.add(name);
  }
  return null;
}

function authorityOf(target: string): string | null {
  return /^https?:\/\/([^/?#@]+)/i.exec(target)?.[1]?.toLowerCase() ?? null;
}

function isOwnHost(host: string, ownHosts: readonly string[]): boolean {
  const name = (parseHostPort(host) ?? parseHostPort(`${host}:80`))?.host.toLowerCase();
  return name !== undefined && (isLoopbackHost(name) || ownHosts.includes(name));
}
