import { isIPv4 } from 'node:net';

/** A place to connect to or to listen on. An IPv6 host is kept without its brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/;
const IPV6 = /^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?$/;

/** Reads `host:port` or `[ipv6]:port`; port 0 to 65535. @returns null where the text is anything else */
export function parseHostPort(text: string): HostPort | null {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (!match) return null;
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65_535) return null;
  if (bracketed !== undefined) return IPV6.test(bracketed) ? { host: bracketed, port } : null;
  // What ends in a number is an address, and must be one: no resolver knows such a name.
  const isName = HOST_NAME.test(plain!) && (!/(^|\.)\d+\.?$/.test(plain!) || isIPv4(plain!));
  return isName ? { host: plain!, port } : null;
}

/** Writes what {@link parseHostPort} reads. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether a listener on `host` can be reached from this machine alone. A name other than localhost cannot be known, so it is not. */
export function isLoopbackHost(host: string): boolean {
  const plain = canonicalHost(host);
  return plain === 'localhost' || plain === '::1' || /^127(\.\d{1,3}){3}$|^::ffff:7f[0-9a-f]{2}:/.test(plain);
}

/** Whether `host` stands for every interface, and so names no place that another machine could call. */
export function isWildcardHost(host: string): boolean {
  return ['0.0.0.0', '::', '::ffff:0:0'].includes(canonicalHost(host));
}

/** One spelling of a host: names in lower case without the dot of the root, IPv6 shortened. */
function canonicalHost(host: string): string {
  if (!host.includes(':')) return host.toLowerCase().replace(/\.$/, '');
  const url = `http://[${host.replace(/%.*$/, '')}]`;
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : host;
}
