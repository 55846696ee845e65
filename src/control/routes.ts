import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import { parseStreamDefinition, streamDefinition } from '../streams/definition.ts';
import { type StreamChange } from '../streams/change-definition.ts';
import type { ServedSidecar } from '../api/control-plane.ts';
import { describeIssue, faultsOf } from '../util/zod-faults.ts';
import { addLogRoute } from './log-route.ts';
import { ProblemError, PROBLEM_TYPE, type Problem } from './problem.ts';
import { routeSchema } from './route-schema.ts';
import { createQuery, holdsRequest, localQuery, notReady, resyncRequest, streamChange } from './schemas.ts';
import { readiness, resyncedStream, sidecarView, streamPlan, streamView, tabletView } from '../api/shapes.ts';

/** What /metrics answers. */
export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
}

export interface RouteParts {
  readonly sidecar: ServedSidecar;
  readonly metrics: MetricsPage;
  readonly version: string;
}

interface NameParam {
  Params: { name: string };
}

/** Kudu is needed for the answer, and refuses or is away. */
const OF_KUDU = [502, 503] as const;
/** A body that cannot be read, also where none is asked for. */
const OF_BODY = [400, 413, 415] as const;

/** Adds the routes of contract 4. What a definition asks of later versions answers 501. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  addStreamRoutes(app, parts.sidecar);
  addClusterRoutes(app, parts);
  addLogRoute(app, parts.sidecar);
  addHealthRoutes(app, parts);
}

function addStreamRoutes(app: FastifyInstance, sidecar: ServedSidecar): void {
  const create = routeSchema({
    tag: 'streams',
    summary: 'Create a stream',
    body: streamDefinition,
    query: createQuery,
    answer: [201, 'The stream.', streamView],
    dryAnswer: [200, 'With dryRun: what would become of it.', streamPlan],
    problems: [400, 403, 409, 413, 415, 501, ...OF_KUDU],
  });
  app.post('/v1/streams', { schema: create }, async (request, reply) => {
    const parsed = parseStreamDefinition(request.body);
    if (parsed.kind === 'invalid')
      throw new ProblemError(400, `${emptyOf(request.body)}The stream's definition is wrong.`, {
        errors: parsed.faults,
      });
    if (parsed.kind === 'unsupported')
      throw notSupported('The definition asks for what this version cannot do yet.', { errors: parsed.faults });
    if (isDryRun(request.query)) return sidecar.plane.planStream(parsed.definition);
    const stream = await sidecar.plane.createStream(parsed.definition);
    return reply.code(201).header('location', `/v1/streams/${stream.name}`).send(stream);
  });

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
    problems: [404, 501, ...OF_KUDU],
  });
  app.get<NameParam>('/v1/streams/:name', { schema: show }, async ({ params }) => {
    const stream = await sidecar.plane.getStream(params.name);
    if (stream === null) throw noSuchStream(params.name);
    return stream;
  });

  const changes = [
    ['pause', 'Pause a stream: nothing of it ships, and its log is held', 'pauseStream'],
    ['resume', 'Let a paused stream go on where it stopped', 'resumeStream'],
  ] as const;
  for (const [verb, summary, change] of changes) {
    const answer = [200, 'The stream.', streamView] as const;
    const schema = routeSchema({ tag: 'streams', summary, answer, problems: [...OF_BODY, 403, 404, 501, ...OF_KUDU] });
    app.post<NameParam>(`/v1/streams/:name/${verb}`, { schema }, async ({ params }) => {
      const stream = await sidecar.plane[change](params.name);
      if (stream === null) throw noSuchStream(params.name);
      return stream;
    });
  }

  const update = routeSchema({
    tag: 'streams',
    summary: 'Change a stream while it goes on; tables that are new in it are copied first',
    body: streamChange,
    answer: [200, 'The stream.', streamView],
    problems: [400, 403, 404, 413, 415, 501, ...OF_KUDU],
  });
  app.patch<NameParam>('/v1/streams/:name', { schema: update }, async ({ params, body }) => {
    const updated = await sidecar.plane.updateStream(params.name, body as StreamChange);
    if (updated.kind === 'missing') throw noSuchStream(params.name);
    if (updated.kind === 'invalid')
      throw new ProblemError(400, 'The change of the stream is wrong.', { errors: updated.faults });
    if (updated.kind === 'unsupported')
      throw notSupported('The change asks for what this version cannot do yet.', { errors: updated.faults });
    return updated.stream;
  });

  const resync = routeSchema({
    tag: 'streams',
    summary: 'Copy the rows of a stream again, or repair its gaps, while it goes on',
    body: resyncRequest,
    answer: [200, 'The stream.', resyncedStream],
    problems: [400, 403, 404, 413, 415, 501, ...OF_KUDU],
  });
  app.post<NameParam>('/v1/streams/:name/resync', { schema: resync }, async ({ params, body }) => {
    const request = parseInput('body', resyncRequest, body ?? {});
    const stream = await sidecar.plane.resyncStream(params.name, request);
    if (stream === null) throw noSuchStream(params.name);
    return stream;
  });

  const remove = routeSchema({
    tag: 'streams',
    summary: 'Delete a stream',
    answer: [204, 'The stream is gone.', null],
    problems: [...OF_BODY, 403, 404, ...OF_KUDU],
  });
  app.delete<NameParam>('/v1/streams/:name', { schema: remove }, async ({ params }, reply) => {
    if (!(await sidecar.plane.deleteStream(params.name))) throw noSuchStream(params.name);
    return reply.code(204).send();
  });
}

function addClusterRoutes(app: FastifyInstance, { sidecar }: RouteParts): void {
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
  app.post('/v1/local/holds', { schema: holds }, async ({ body }, reply) => {
    await sidecar.plane.holdTablets(parseInput('body', holdsRequest, body).tablets);
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

function addHealthRoutes(app: FastifyInstance, { sidecar, metrics, version }: RouteParts): void {
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
  app.get('/readyz', { schema: readyz }, async (_request, reply) => {
    const parts = await sidecar.readiness();
    const failing = Object.entries(parts).filter(([, { ok }]) => !ok);
    if (failing.length === 0) return reply.send({ ready: true, ...parts });
    const detail = failing.map(([part, { reason }]) => `${part}: ${reason ?? 'no reason known'}`).join('; ');
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
  app.get('/openapi.json', { schema: openapi }, async () => Promise.resolve(app.swagger()));
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

/** @throws {ProblemError} for another word: whoever means a dry run must not make a stream by a slip */
function isDryRun(query: unknown): boolean {
  const parsed = createQuery.safeParse(query);
  if (parsed.success) return parsed.data.dryRun === 'true';
  const errors = [{ path: 'dryRun', message: 'must be true or false' }];
  throw new ProblemError(400, 'The query is wrong: dryRun is true or false.', { errors });
}

function emptyOf(body: unknown): string {
  return body === undefined ? 'The body is empty. ' : '';
}

function noSuchStream(name: string): ProblemError {
  return new ProblemError(404, `There is no stream named ${JSON.stringify(name)}.`);
}

function notSupported(detail: string, more: Partial<Problem> = {}): ProblemError {
  return new ProblemError(501, detail, { code: 'SPOOR_NOT_SUPPORTED', ...more });
}
