import type { FastifyInstance, FastifyRequest } from 'fastify';
import * as z from 'zod';
import type { ServedSidecar } from '../api/control-plane.ts';
import { eachPart, mapParts } from '../api/parts.ts';
import { describeIssue, faultsOf } from '../util/zod-faults.ts';
import type { Logger } from '../util/logger.ts';
import { Audit, auditedOf } from './audit.ts';
import { callerOf } from './gate.ts';
import { addLogRoute } from './log-route.ts';
import { addPageRoutes } from './page-route.ts';
import { addStatusRoutes, type StatusRouteOptions } from './status-routes.ts';
import { addDefinitionRoutes } from './definition-routes.ts';
import { ProblemError, PROBLEM_TYPE } from './problem.ts';
import { OF_BODY, OF_KUDU, routeSchema } from './route-schema.ts';
import {
  holdsRequest,
  localQuery,
  notReady,
  recordsQuery,
  resyncRequest,
  rewindRequest,
  schemasQuery,
  skipRequest,
  traceQuery,
} from './schemas.ts';
import { noSuchStream, sendStream, type NameParam } from './stream-answers.ts';
import {
  newestRecords,
  readiness,
  resyncedStream,
  rewoundStream,
  sidecarView,
  streamView,
  tableSchemas,
  tabletView,
  traceView,
} from '../api/shapes.ts';

/** What /metrics answers. */
export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
}

export interface RouteParts {
  readonly sidecar: ServedSidecar;
  readonly status: StatusRouteOptions;
  readonly metrics: MetricsPage;
  readonly version: string;
  /** Where the status page was built, if not beside the program. */
  readonly pageDir?: string;
  /** Where it is said who changed what. */
  readonly audit: Logger;
  /** Takes out of reasons what must not be shown. */
  readonly mask?: (text: string) => string;
}

/** Adds the routes of contract 4. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  const audit = new Audit(parts.sidecar, parts.audit);
  addDefinitionRoutes(app, parts.sidecar, audit);
  addStreamRoutes(app, parts.sidecar, audit);
  addClusterRoutes(app, parts, audit);
  addLogRoute(app, parts.sidecar);
  addStatusRoutes(app, parts.status);
  addHealthRoutes(app, parts);
  addPageRoutes(app, parts.pageDir);
}

function addStreamRoutes(app: FastifyInstance, sidecar: ServedSidecar, audit: Audit): void {
  const list = routeSchema({
    tag: 'streams',
    summary: 'List the streams, with the state of each tablet across the cluster',
    answer: [200, 'The streams.', z.array(streamView)],
    problems: OF_KUDU,
  });
  app.get('/v1/streams', { schema: list }, () => sidecar.plane.listStreams());

  const show = routeSchema({
    tag: 'streams',
    summary: 'Show a stream, with the state of each tablet across the cluster',
    answer: [200, 'The stream.', streamView],
    etag: true,
    problems: [404, 501, ...OF_KUDU],
  });
  app.get<NameParam>('/v1/streams/:name', { schema: show }, async ({ params }, reply) => {
    const stream = await sidecar.plane.getStream(params.name);
    if (stream === null) throw noSuchStream(params.name);
    return sendStream(reply, stream);
  });

  const schemas = routeSchema({
    tag: 'streams',
    summary: 'What consumers need to know of the records of its tables, in the words of each',
    query: schemasQuery,
    answer: [200, 'By table.', z.array(tableSchemas)],
    problems: [400, 404, 501, ...OF_KUDU],
  });
  app.get<NameParam>('/v1/streams/:name/schemas', { schema: schemas }, async ({ params, query }) => {
    const { table = null } = parseInput('query', schemasQuery, query);
    const answer = await sidecar.plane.schemasOf(params.name, table);
    if (answer === null) throw noSuchStream(params.name);
    return answer;
  });

  const changes = [
    ['pause', 'Pause a stream: nothing of it ships, and its log is held', 'pauseStream'],
    ['resume', 'Let a paused stream go on where it stopped', 'resumeStream'],
  ] as const;
  for (const [verb, summary, change] of changes) {
    const answer = [200, 'The stream.', streamView] as const;
    const problems = [...OF_BODY, 403, 404, 501, ...OF_KUDU];
    const schema = routeSchema({ tag: 'streams', summary, answer, etag: true, problems });
    app.post<NameParam>(`/v1/streams/:name/${verb}`, { schema }, async (request, reply) => {
      const { name } = request.params;
      const before = await audit.before(name);
      const stream = await sidecar.plane[change](name);
      if (stream === null) throw noSuchStream(name);
      if (before?.revision !== stream.revision) audit.tell(request, { stream: name, before, after: auditedOf(stream) });
      return sendStream(reply, stream);
    });
  }

  const records = routeSchema({
    tag: 'streams',
    summary: 'The newest records of a stream, as its sink has them; rows of tables are shown to who may operate alone',
    query: recordsQuery,
    answer: [200, 'The records, the newest first.', newestRecords],
    problems: [400, 403, 404, ...OF_KUDU],
  });
  app.get<NameParam>('/v1/streams/:name/records', { schema: records }, async (request) => {
    refuseReaders(request);
    const { last, table = null } = parseInput('query', recordsQuery, request.query);
    const found = await sidecar.plane.newestRecords(request.params.name, { last, table });
    if (found === null) throw noSuchStream(request.params.name);
    return found;
  });

  const trace = routeSchema({
    tag: 'streams',
    summary:
      'The way of one record: its operation in the log, its place in the sink, the marker that says that it is there',
    query: traceQuery,
    answer: [200, 'What is known of each step.', traceView],
    problems: [400, 404, ...OF_KUDU],
  });
  app.get<NameParam>('/v1/streams/:name/trace', { schema: trace }, async (request) => {
    const { position } = parseInput('query', traceQuery, request.query);
    const found = await sidecar.plane.traceRecord(request.params.name, position);
    if (found === null) throw noSuchStream(request.params.name);
    return found;
  });

  const resync = routeSchema({
    tag: 'streams',
    summary: 'Copy the rows of a stream again, or repair its gaps, while it goes on',
    body: resyncRequest,
    answer: [200, 'The stream.', resyncedStream],
    etag: true,
    problems: [400, 403, 404, 413, 415, 501, ...OF_KUDU],
  });
  app.post<NameParam>('/v1/streams/:name/resync', { schema: resync }, async (request, reply) => {
    const { name } = request.params;
    const { keys, ...asked } = parseInput('body', resyncRequest, request.body ?? {});
    const stream = await sidecar.plane.resyncStream(name, { ...asked, ...(keys && { keys }) });
    if (stream === null) throw noSuchStream(name);
    audit.tell(request, { stream: name, asked: { ...asked, ...(keys && { keys: keys.length }) } });
    return sendStream(reply, stream);
  });

  const rewind = routeSchema({
    tag: 'streams',
    summary: 'Ship again what was shipped, from a time or an operation on, while the stream goes on',
    body: rewindRequest,
    answer: [200, 'The stream.', rewoundStream],
    etag: true,
    problems: [400, 403, 404, 413, 415, ...OF_KUDU],
  });
  app.post<NameParam>('/v1/streams/:name/rewind', { schema: rewind }, async (request, reply) => {
    const { name } = request.params;
    const asked = parseInput('body', rewindRequest, request.body ?? {});
    const stream = await sidecar.plane.rewindStream(name, asked);
    if (stream === null) throw noSuchStream(name);
    audit.tell(request, { stream: name, asked: request.body as object });
    return sendStream(reply, stream);
  });

  const skip = routeSchema({
    tag: 'streams',
    summary:
      'Leave out the rows of an operation that keeps a tablet from being shipped; a record says so in their place',
    body: skipRequest,
    answer: [200, 'The stream.', streamView],
    etag: true,
    problems: [400, 403, 404, 413, 415, ...OF_KUDU],
  });
  app.post<NameParam>('/v1/streams/:name/skip', { schema: skip }, async (request, reply) => {
    const { name } = request.params;
    const asked = parseInput('body', skipRequest, request.body ?? {});
    const stream = await sidecar.plane.skipOperation(name, asked);
    if (stream === null) throw noSuchStream(name);
    audit.tell(request, { stream: name, asked: request.body as object });
    return sendStream(reply, stream);
  });
}

function addClusterRoutes(app: FastifyInstance, { sidecar }: RouteParts, audit: Audit): void {
  const local = routeSchema({
    tag: 'cluster',
    summary: "List this sidecar's own tablets",
    query: localQuery,
    answer: [200, 'The tablets.', z.array(tabletView)],
    problems: [400],
  });
  app.get('/v1/local', { schema: local }, async ({ query }) => {
    const { only } = parseInput('query', localQuery, query);
    return Promise.resolve(sidecar.localTablets(only ?? 'all'));
  });

  const holds = routeSchema({
    tag: 'cluster',
    summary: 'Hold the logs of some tablets for a moment: a stream of them is about to be made (for other sidecars)',
    body: holdsRequest,
    answer: [204, 'They are held, where there is a replica of them.', null],
    problems: [400, 403, 413, 415, 503],
  });
  app.post('/v1/local/holds', { schema: holds }, async (request, reply) => {
    const { tablets } = parseInput('body', holdsRequest, request.body);
    await sidecar.plane.holdTablets(tablets);
    audit.tell(request, { asked: { tablets } });
    return reply.code(204).send();
  });

  const sidecars = routeSchema({
    tag: 'cluster',
    summary: 'List every sidecar known',
    answer: [200, 'The sidecars.', z.array(sidecarView)],
    problems: OF_KUDU,
  });
  app.get('/v1/sidecars', { schema: sidecars }, () => sidecar.plane.listSidecars());
}

function addHealthRoutes(app: FastifyInstance, { sidecar, metrics, version, mask = same }: RouteParts): void {
  const healthz = routeSchema({
    tag: 'health',
    summary: 'Whether the process lives',
    answer: [200, 'It does.', z.object({ status: z.literal('ok'), version: z.string() })],
    open: true,
  });
  app.get('/healthz', { schema: healthz }, async () => Promise.resolve({ status: 'ok', version }));

  const readyz = routeSchema({
    tag: 'health',
    summary: 'Whether each part can work now, and why not',
    answer: [200, 'All can.', readiness],
    problems: [[503, notReady]],
    open: true,
  });
  app.get('/readyz', { schema: readyz }, async (request, reply) => {
    const found = await sidecar.readiness();
    // Reasons name addresses, files and users of the cluster: not for whoever is let in without a token.
    const isTold = callerOf(request).role !== null;
    const parts = mapParts(found, ({ ok, reason }) =>
      reason === undefined || !isTold ? { ok } : { ok, reason: mask(reason) },
    );
    const failing = eachPart(parts).filter(([, { ok }]) => !ok);
    if (failing.length === 0) return reply.send({ ready: true, ...parts });
    const untold = isTold ? 'no reason known' : 'the reason is for callers with a token';
    const detail = failing.map(([part, { reason }]) => `${part}: ${reason ?? untold}`).join('; ');
    const body: z.output<typeof notReady> = { title: 'Not ready', status: 503, detail, ready: false, ...parts };
    return reply.code(503).type(PROBLEM_TYPE).send(JSON.stringify(body));
  });

  const prometheus = routeSchema({
    tag: 'health',
    summary: 'Metrics for Prometheus',
    answer: [200, 'The metrics.', 'text/plain'],
  });
  app.get('/metrics', { schema: prometheus }, async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  );

  const openapi = routeSchema({
    tag: 'health',
    summary: 'This description',
    answer: [200, 'OpenAPI 3.1.', z.looseObject({ openapi: z.string() })],
  });
  let described: Buffer | null = null; // half a megabyte that is always the same
  app.get('/openapi.json', { schema: openapi }, (_request, reply) =>
    reply.type('application/json; charset=utf-8').send((described ??= Buffer.from(JSON.stringify(app.swagger())))),
  );
}

/** @throws {ProblemError} who calls may look at how streams are, and not at rows of tables */
function refuseReaders(request: FastifyRequest): void {
  if (callerOf(request).role !== 'read') return;
  const challenge = { 'www-authenticate': 'Bearer realm="spoor", error="insufficient_scope"' };
  throw new ProblemError(
    403,
    'The bearer token is for looking; the rows of tables are not shown to it.',
    {},
    challenge,
  );
}

function same(text: string): string {
  return text;
}

/** @throws {ProblemError} with every fault of the body */
function parseInput<Shape extends z.ZodRawShape>(what: 'body' | 'query', schema: z.ZodObject<Shape>, input: unknown) {
  const parsed = schema.safeParse(input, { error: describeIssue });
  if (parsed.success) return parsed.data;
  const known = Object.keys(schema.shape);
  throw new ProblemError(400, `The ${what} is wrong.`, {
    errors: parsed.error.issues.flatMap((issue) => faultsOf(issue, known)),
  });
}
