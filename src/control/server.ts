import type { AddressInfo } from 'node:net';
import swagger from '@fastify/swagger';
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ServedSidecar } from '../api/control-plane.ts';
import { descriptorLimit } from '../util/descriptors.ts';
import { formatHostPort, type HostPort } from '../util/host-port.ts';
import type { CurrentCredentials, HttpCredentials } from '../util/http-credentials.ts';
import type { Logger } from '../util/logger.ts';
import { clientKey } from './client-address.ts';
import { ALLOWANCES, ClientLimits, type ClientAllowances } from './client-limits.ts';
import { addGate } from './gate.ts';
import { createListener } from './listener.ts';
import { ProblemError, PROBLEM_TYPE, toProblem } from './problem.ts';
import { watchQuietConnections } from './quiet-connections.ts';
import { addBodyParser } from './request-body.ts';
import type { EventStreamOptions } from './event-stream.ts';
import { openApiSchema } from './route-schema.ts';
import { addRoutes, type MetricsPage } from './routes.ts';
import type { StatusParts } from './status-routes.ts';
import { UnreadableRequests } from './unreadable-requests.ts';
import { errorCodeOf } from '../util/error-code.ts';

export interface ControlServerOptions {
  /** Port 0 takes a free one. */
  readonly listen: HostPort;
  /** Who may call, and whether by TLS. */
  readonly credentials: CurrentCredentials;
  /** Names by which others call it, besides those of this machine. */
  readonly ownHosts?: readonly string[];
  readonly sidecar: ServedSidecar;
  /** What the status page is told. */
  readonly status: StatusParts;
  /** How long readers of events may be behind, and how often they are told that we are there. */
  readonly eventStream?: Omit<EventStreamOptions, 'role'>;
  /** Where the status page was built, if not beside the program. */
  readonly pageDir?: string;
  readonly metrics: MetricsPage;
  readonly logger: Logger;
  /** Where it is said who changed what. */
  readonly audit: Logger;
  /** Takes out of the text of errors what must not be shown. */
  readonly mask?: (text: string) => string;
  readonly version: string;
  /** How many clients may be connected at a time; by default a part of what the process may have open. */
  readonly maxConnections?: number;
  /** A client that neither sends nor takes anything for so long is cut off. */
  readonly quietTimeoutMs?: number;
  /** The headers of a request must have come by then; the default is 10 s. */
  readonly headersTimeoutMs?: number;
  /** A request must have come whole by then; the default is 30 s. */
  readonly requestTimeoutMs?: number;
  /** What each client may have. */
  readonly allowances?: Partial<ClientAllowances>;
}

export interface ControlServer {
  /** Where it listens, with the port that was bound. */
  readonly address: HostPort;
  /** Takes no more calls and resolves when those in hand are answered; one that is not soon is cut off. */
  close(): Promise<void>;
}

/** A stream's definition with a thousand long table names fits ten times. */
const MAX_BODY_BYTES = 1 << 20;
const REQUEST_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** A client that neither sends nor takes anything for so long is not there any more. No call takes as long. */
const QUIET_TIMEOUT_MS = 60_000;
/** Of the descriptors that the process may have, so many are the API's; logs, Kudu and Kafka have the others. */
const SHARE_OF_DESCRIPTORS = 1 / 4;
/** More than a large cluster's sidecars and whoever looks at one of them need. */
const MAX_CONNECTIONS = 1000;
/** Of a body that is refused so much is read. */
const UNREAD_BYTES = 16 << 20;
/** One client alone does not take all of these. */
const SHARE_OF_CONNECTIONS = 1 / 2;
/** Kudu may be away when the sidecar stops, and what waits for it would outlast the time that a stop may take. */
const LAST_ANSWERS_MS = 1000;
/**
 * Serves the HTTP API of contract 4. Every error is RFC 9457 problem+json.
 * @throws when the address cannot be listened on
 */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const { listen, credentials, logger, mask = (text: string): string => text } = options;
  const atATime = options.maxConnections ?? maxConnections(descriptorLimit());
  const openConnections = Math.ceil(atATime * SHARE_OF_CONNECTIONS);
  const limits = new ClientLimits(
    { ...ALLOWANCES, openConnections, allConnections: atATime, ...options.allowances },
    logger,
  );
  const requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  const unreadable = new UnreadableRequests(limits);
  const send = (reply: FastifyReply, error: unknown): FastifyReply => sendProblem(reply, error, mask);
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    serverFactory: (handler) =>
      createListener(handler, {
        credentials,
        limits,
        quietTimeoutMs: options.quietTimeoutMs ?? QUIET_TIMEOUT_MS,
        requestTimeoutMs,
        headersTimeoutMs: Math.min(options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS, requestTimeoutMs),
        logger,
      }),
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    // Before routing there are no hooks, and so no token was asked for: say nothing but that the URL is bad.
    frameworkErrors: (error: FastifyError, { raw }: FastifyRequest, reply: FastifyReply) => {
      const tooMany = limits.refuse(clientKey(raw.socket.remoteAddress));
      const reason = error.statusCode === 414 ? 'it has a name longer than any' : 'its escapes are no UTF-8';
      void send(reply, tooMany ?? new ProblemError(error.statusCode ?? 400, `The URL cannot be read: ${reason}.`));
    },
    clientErrorHandler: unreadable.answer,
  });
  // Route schemas are there for openapi.json alone: bodies are checked by zod, which names every fault.
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  addGate(app, { credentials, limits, ownHosts: options.ownHosts ?? [] });
  addBodyParser(app, MAX_BODY_BYTES);
  app.server.on('checkExpectation', unreadable.refuseExpectation);
  app.addHook('onResponse', (request, reply, done) => {
    const { method, url } = request;
    logger.debug({ method, url, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }, 'answered an API call');
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    const { problem } = toProblem(error);
    if (problem.status >= 500 && problem.status !== 501)
      logger.warn(
        { method: request.method, url: request.url, status: problem.status, err: error },
        'an API call failed',
      );
    return send(reply, error);
  });

  const endQuietConnections = watchQuietConnections(app.server);
  app.addHook('preClose', (done) => {
    endQuietConnections();
    done();
  });

  await app.register(swagger, {
    openapi: openApiHead(options.version, credentials.current),
    transform: ({ schema, url }) => ({ schema: openApiSchema(schema), url }),
  });
  const methodsOf = watchRoutes(app);
  const { status, eventStream, ...parts } = options;
  addRoutes(app, { ...parts, status: { ...status, credentials, ...(eventStream && { eventStream }) } });
  app.setNotFoundHandler((request) => {
    const path = request.url.split('?', 1)[0]!;
    const methods = methodsOf(path);
    if (methods.length === 0) throw new ProblemError(404, `There is nothing at ${path}.`);
    const allow = methods.join(', ');
    throw new ProblemError(405, `${path} answers ${allow}, not ${request.method}.`, {}, { allow });
  });

  await app.listen({ host: listen.host, port: listen.port }).catch((cause: unknown) => {
    throw new Error(
      `SPOOR_HTTP_LISTEN ${formatHostPort(listen)} cannot be listened on (${errorCodeOf(cause) || 'unknown'}), give one that is free and this machine's`,
      { cause },
    );
  });
  const { port } = app.server.address() as AddressInfo;
  logger.info({ address: formatHostPort({ host: listen.host, port }) }, 'control API listens');
  return { address: { host: listen.host, port }, close: () => closeSoon(app) };
}

function maxConnections(descriptors: number | null): number {
  return Math.min(MAX_CONNECTIONS, Math.floor((descriptors ?? Infinity) * SHARE_OF_DESCRIPTORS));
}

async function closeSoon(app: FastifyInstance): Promise<void> {
  const cutOff = setTimeout(() => {
    app.server.closeAllConnections();
  }, LAST_ANSWERS_MS);
  try {
    await app.close();
  } finally {
    clearTimeout(cutOff);
  }
}

/** Reads on what comes of a body that is refused, since a client that is cut off while it sends does not see why; up to a bound. */
function readOut({ raw }: FastifyRequest): void {
  if (raw.complete) return;
  let bytes = 0;
  raw.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > UNREAD_BYTES) raw.destroy();
  });
}

function sendProblem(reply: FastifyReply, error: unknown, mask: (text: string) => string): FastifyReply {
  const { problem, headers } = toProblem(error);
  readOut(reply.request);
  return reply
    .code(problem.status)
    .headers(headers)
    .type(PROBLEM_TYPE)
    .send(mask(JSON.stringify(problem)));
}

/** Remembers which methods each path has, for 405. Call before the routes are added. */
function watchRoutes(app: FastifyInstance): (path: string) => string[] {
  const routes: { readonly parts: readonly string[]; readonly methods: readonly string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    routes.push({ parts: url.split('/'), methods: [method].flat() });
  });
  return (path) => {
    const given = path
      .replace(/\/{2,}/g, '/')
      .replace(/(?<=.)\/$/, '')
      .split('/'); // as the router reads it
    const matches = (parts: readonly string[]) =>
      parts.length === given.length &&
      parts.every((part, i) => part === given[i] || (part.startsWith(':') && given[i] !== ''));
    return [...new Set(routes.filter(({ parts }) => matches(parts)).flatMap(({ methods }) => methods))];
  };
}

function openApiHead(version: string, { tokens, tls }: HttpCredentials) {
  const wanted = { ...(tokens !== null && { token: [] }), ...(tls?.clientCa != null && { certificate: [] }) };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Spoor',
      version,
      description: 'Change data capture for Apache Kudu. Any call may be made on any sidecar of the cluster.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    components: {
      securitySchemes: {
        token: {
          type: 'http' as const,
          scheme: 'bearer',
          description: 'One token for every call, another for those that change nothing (GET).',
        },
        certificate: { type: 'mutualTLS', description: "A certificate of the API's CA for clients." } as never,
      },
    },
    ...(Object.keys(wanted).length > 0 && { security: [wanted] }),
  };
}
