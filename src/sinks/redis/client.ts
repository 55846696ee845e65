import type { Redis } from 'ioredis';
import { asError } from '../../util/as-error.ts';
import { waitFor } from '../../util/wait-for.ts';
import { SinkError } from '../sink.ts';
import { toSinkError } from './redis-error.ts';
import type { RedisCredentials, RedisServers } from './settings.ts';

const CONNECT_TIMEOUT_MS = 3_000;

export interface ClientOptions {
  readonly servers: Pick<RedisServers, 'db' | 'isTls'>;
  readonly credentials: RedisCredentials;
  /** A command that is not answered for so long fails. */
  readonly commandTimeoutMs: number;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * One connection, that ends when it breaks: nothing is queued, sent again, or connected anew behind our back (ioredis does all
 * three unless it is told otherwise).
 * @throws {SinkError} it cannot be had
 */
export async function connect(address: Address, options: ClientOptions, signal: AbortSignal): Promise<Redis> {
  const { servers, credentials, commandTimeoutMs } = options;
  const { username, password, ca } = credentials;
  const { Redis: RedisClient } = await import('ioredis'); // 60 ms and 13 MiB that a sidecar without Redis does without
  const client = new RedisClient({
    ...address,
    lazyConnect: true,
    db: servers.db,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(servers.isTls && { tls: { host: address.host, ...(ca !== undefined && { ca }) } }),
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: commandTimeoutMs,
    retryStrategy: null,
    reconnectOnError: null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    enableReadyCheck: false, // we ask for more of INFO than it does
    disableClientInfo: true,
    protocol: 2, // of the third we need nothing, and its HELLO is one more right
  });
  const reasons: Error[] = [];
  client.on('error', (error: unknown) => {
    reasons.push(asError(error));
  });
  try {
    await waitFor(client.connect(), signal);
    return client;
  } catch (error) {
    client.disconnect();
    if (signal.aborted) throw new SinkError('unavailable', 'stopped', error);
    throw toSinkError(reasons[0] ?? error, formatAddress(address));
  }
}

/**
 * Ends a connection at once, with what is on its way: ioredis by itself sends the rest first, from buffers that whoever waited for an
 * answer has given to others by then.
 */
export function cut(client: Redis): void {
  client.disconnect();
  client.stream.destroy();
}
