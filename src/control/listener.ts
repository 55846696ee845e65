import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server as HttpServer,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { CurrentCredentials, HttpTls } from '../util/http-credentials.ts';
import type { Logger } from '../util/logger.ts';
import { clientKey } from './client-address.ts';
import type { ClientLimits } from './client-limits.ts';

export type Listener = HttpServer | HttpsServer;

export interface ListenerOptions {
  readonly credentials: CurrentCredentials;
  readonly limits: ClientLimits;
  /** A client that neither sends nor takes anything for so long is cut off. */
  readonly quietTimeoutMs: number;
  /** A request must have come whole by then. */
  readonly requestTimeoutMs: number;
  /** Its headers must have, and on a new connection the first ones. */
  readonly headersTimeoutMs: number;
  readonly logger: Logger;
}

/** How often it is looked who is too slow; Node's own is 30 s, and a slow sender would have as much more. */
const LOOK_FOR_SLOW_MS = 1000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 72_000;
/** Calls of one connection that are not answered yet: hardly any client sends a second one before it has the first one's answer. */
const MOST_UNANSWERED = 16;

/**
 * Makes the HTTP or HTTPS server of the API, with what bounds its clients. New certificates are in force for the next
 * connection, and those that are open go on. A certificate of a client is asked for where there is a CA for them: one that
 * is not of it, or has expired, ends the connection; none at all is let in here, as probes of Kubernetes have none.
 */
export function createListener(handler: RequestListener, options: ListenerOptions): Listener {
  const { tls } = options.credentials.current;
  const timing = {
    requestTimeout: options.requestTimeoutMs,
    headersTimeout: options.headersTimeoutMs,
    connectionsCheckingInterval: Math.min(LOOK_FOR_SLOW_MS, options.headersTimeoutMs),
    keepAliveTimeout: KEEP_ALIVE_MS,
    requireHostHeader: false, // it is asked for with an answer of our own (request-origin)
  };
  const bounded = boundUnanswered(handler, options.limits);
  const server = tls === null ? createHttpServer(timing, bounded) : createTlsListener(tls, bounded, timing, options);
  server.setTimeout(options.quietTimeoutMs);
  boundConnections(server, options);
  return server;
}

type Timing = Pick<
  Parameters<typeof createHttpServer>[0] & object,
  'requireHostHeader' | 'requestTimeout' | 'headersTimeout' | 'connectionsCheckingInterval' | 'keepAliveTimeout'
>;

function createTlsListener(
  tls: HttpTls,
  handler: RequestListener,
  timing: Timing,
  options: ListenerOptions,
): HttpsServer {
  const { credentials, limits, logger } = options;
  const asksClients = tls.clientCa !== null;
  const server = createHttpsServer(
    {
      ...timing,
      ...secureContext(tls),
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      requestCert: asksClients,
      rejectUnauthorized: false, // below: who shows none may ask for /healthz
      ALPNProtocols: ['http/1.1'],
    },
    handler,
  );
  server.on('secureConnection', (socket) => {
    if (!asksClients || socket.authorized || !hasCertificate(socket)) return;
    logger.debug(
      { address: socket.remoteAddress, reason: String(socket.authorizationError) },
      'certificate of a client refused',
    );
    limits.failedHandshake(clientKey(socket.remoteAddress));
    socket.destroy();
  });
  server.on('tlsClientError', (_error, socket) => {
    limits.failedHandshake(clientKey(socket.remoteAddress));
    socket.destroy();
  });
  const stop = credentials.onChange(({ tls: changed }) => {
    if (changed !== null) server.setSecureContext(secureContext(changed));
  });
  server.once('close', stop);
  return server;
}

function secureContext({ cert, key, clientCa }: HttpTls): SecureContextOptions {
  return { cert, key, minVersion: 'TLSv1.2', ...(clientCa !== null && { ca: clientCa }) };
}

function hasCertificate(socket: TLSSocket): boolean {
  return socket.getPeerX509Certificate() !== undefined;
}

/** Clients that connect and do not go would else take the descriptors that logs are read with. */
function boundConnections(server: Listener, { limits }: ListenerOptions): void {
  server.prependListener('connection', (socket: Socket) => {
    const address = clientKey(socket.remoteAddress);
    if (!limits.connect(address)) {
      socket.resetAndDestroy();
      return;
    }
    socket.once('close', () => {
      limits.release(address);
    });
  });
}

/** A few thousand bytes ask for megabytes hundreds of times, which Node would make and keep all at once for whoever does not read them. */
function boundUnanswered(handler: RequestListener, limits: ClientLimits): RequestListener {
  const unanswered = new WeakMap<IncomingMessage['socket'], number>();
  return (request, response) => {
    const { socket } = request;
    if (socket.destroyed) return; // what came behind the call with which it was cut off
    const count = (unanswered.get(socket) ?? 0) + 1;
    if (count > MOST_UNANSWERED) {
      limits.tellUnread(clientKey(socket.remoteAddress));
      socket.destroy();
      return;
    }
    unanswered.set(socket, count);
    response.once('finish', () => {
      unanswered.set(socket, unanswered.get(socket)! - 1);
    });
    handler(request, response);
  };
}
