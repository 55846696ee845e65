import { createHash, timingSafeEqual } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import swagger from '@fastify/swagger';
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ServedSidecar } from '../api/control-plane.ts';
import { descriptorLimit } from '../util/descriptors.ts';
import { formatHostPort, type HostPort } from '../util/host-port.ts';
import type { Logger } from '../util/logger.ts';
import { ProblemError, PROBLEM_TYPE, toProblem } from './problem.ts';
import { watchQuietConnections } from './quiet-connections.ts';
import { addBodyParser } from './request-body.ts';
import { addRoutes, type MetricsPage } from './routes.ts';
import { answerUnreadable, refuseExpectation } from './unreadable-requests.ts';

export interface ControlServerOptions {
  /** Port 0 takes a free one. */
  readonly listen: HostPort;
  /** Bearer token that every call but /healthz and /readyz must carry, or null for none. */
  readonly token: string | null;
  readonly sidecar: ServedSidecar;
  readonly metrics: MetricsPage;
  readonly logger: Logger;
  readonly version: string;
  /** How many clients may be connected at a time; by default a part of what the process may have open. */
  readonly maxConnections?: number;
  /** A client that neither sends nor takes anything for so long is cut off. */
  readonly quietTimeoutMs?: number;
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
/** A client that neither sends nor takes anything for so long is not there any more. No call takes as long. */
const QUIET_TIMEOUT_MS = 60_000;
/** Of the descriptors that the process may have, so many are the API's; logs, Kudu and Kafka have the others. */
const SHARE_OF_DESCRIPTORS = 1 / 4;
/** More than a large cluster's sidecars and whoever looks at one of them need. */
const MAX_CONNECTIONS = 1000;
/** How often it is told that there are too many. */
const TELL_DROPPED_MS = 60_000;
/** Kudu may be away when the sidecar stops, and what waits for it would outlast the time that a stop may take. */
const LAST_ANSWERS_MS = 1000;
/** For whoever asks whether the process lives, who may not be trusted with a token. */
const OPEN_PATHS = new Set(['/healthz', '/readyz']);
/** Those that change nothing. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Serves the HTTP API of contract 4. Every error is RFC 9457 problem+json.
 * @throws when the address cannot be listened on
 */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const { listen, token, logger } = options;
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: options.quietTimeoutMs ?? QUIET_TIMEOUT_MS,
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    // Before routing there are no hooks, and so no token was asked for: say nothing but that the URL is bad.
    frameworkErrors: (error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => {
      const reason = error.statusCode === 414 ? 'it has a name longer than any' : 'its escapes are no UTF-8';
      void sendProblem(reply, new ProblemError(error.statusCode ?? 400, `The URL cannot be read: ${reason}.`));
    },
    clientErrorHandler: answerUnreadable,
  });
  // Route schemas are there for openapi.json alone: bodies are checked by zod, which names every fault.
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  app.addHook('onRequest', ({ method, headers }, _reply, done) => {
    done(SAFE_METHODS.has(method) ? undefined : originFault(headers.origin, headers.host));
  });
  if (token !== null) {
    const refusal = bearerCheck(token);
    app.addHook('onRequest', ({ routeOptions, headers }, _reply, done) => {
      done(OPEN_PATHS.has(routeOptions.url ?? '') ? undefined : refusal(headers.authorization));
    });
  }
  addBodyParser(app, MAX_BODY_BYTES);
  app.server.on('checkExpectation', refuseExpectation);
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
    return sendProblem(reply, error);
  });

  boundConnections(app.server, options.maxConnections ?? maxConnections(descriptorLimit()), logger);
  const endQuietConnections = watchQuietConnections(app.server);
  app.addHook('preClose', (done) => {
    endQuietConnections();
    done();
  });

  await app.register(swagger, { openapi: openApiHead(options.version, token !== null) });
  const methodsOf = watchRoutes(app);
  addRoutes(app, options);
  app.setNotFoundHandler((request) => {
    const path = request.url.split('?', 1)[0]!;
    const methods = methodsOf(path);
    if (methods.length === 0) throw new ProblemError(404, `There is nothing at ${path}.`);
    const allow = methods.join(', ');
    throw new ProblemError(405, `${path} answers ${allow}, not ${request.method}.`, {}, { allow });
  });

  await app.listen({ host: listen.host, port: listen.port });
  const { port } = app.server.address() as AddressInfo;
  logger.info({ address: formatHostPort({ host: listen.host, port }) }, 'control API listens');
  return { address: { host: listen.host, port }, close: () => closeSoon(app) };
}

/** Clients that connect and do not go would else take the descriptors that logs are read with. */
function boundConnections(server: Server, maxConnections: number, logger: Logger): void {
  server.maxConnections = maxConnections;
  let toldMs = -Infinity;
  server.on('drop', () => {
    if (performance.now() - toldMs < TELL_DROPPED_MS) return;
    toldMs = performance.now();
    logger.warn({ maxConnections }, 'more clients of the API than may be connected at a time, others are turned away');
  });
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

function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const { problem, headers } = toProblem(error);
  return reply.code(problem.status).headers(headers).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

/** Refuses headers without the token. Digests are compared, so that time tells neither its length nor its beginning. */
function bearerCheck(token: string): (authorization: string | undefined) => ProblemError | undefined {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const wanted = digest(token);
  return (authorization) => {
    const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (given === undefined)
      return new ProblemError(401, 'A bearer token is needed.', {}, { 'www-authenticate': 'Bearer realm="spoor"' });
    if (timingSafeEqual(digest(given), wanted)) return undefined;
    const challenge = 'Bearer realm="spoor", error="invalid_token"';
    return new ProblemError(401, 'The bearer token is not the right one.', {}, { 'www-authenticate': challenge });
  };
}

/**
 * Refuses what a web page of another origin has a browser send: a POST without a body needs nobody's leave, and without
 * a token none is asked for. Whoever is no browser sends no `Origin`.
 */
function originFault(origin: string | undefined, host: string | undefined): ProblemError | undefined {
  if (origin === undefined) return undefined;
  const isOwn = URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
  return isOwn ? undefined : new ProblemError(403, `Pages of ${JSON.stringify(origin)} may change nothing here.`);
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

function openApiHead(version: string, withToken: boolean) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Spoor',
      version,
      description: 'Change data capture for Apache Kudu. Any call may be made on any sidecar of the cluster.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    components: { securitySchemes: { token: { type: 'http' as const, scheme: 'bearer' } } },
    ...(withToken && { security: [{ token: [] }] }),
  };
}
