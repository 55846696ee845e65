import { KuduError } from '../errors.ts';
import type { HostPortPB } from '../proto/common_pb.ts';

/** Kudu's port when an address names none. Source: kudu/master/master.h, kudu/tserver/tablet_server.h */
export const DEFAULT_MASTER_PORT = 7051;

/** `host:port`, an IPv6 host in brackets: how this client names a server everywhere. */
export function formatHostPort(pb: Pick<HostPortPB, 'host' | 'port'>): string {
  return pb.host.includes(':') ? `[${pb.host}]:${pb.port}` : `${pb.host}:${pb.port}`;
}

/** Reads `host:port`, `host` or `[v6]:port`. @throws {KuduError} `usage` on anything else */
export function parseHostPort(text: string, defaultPort?: number): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port === undefined || port < 1 || port > 65535)
    throw new KuduError('usage', `an address is written host:port; got ${JSON.stringify(text)}`);
  return { host, port };
}
