import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import type { ServedSidecar } from '../api/control-plane.ts';
import { putStream, streamPlan, streamView } from '../api/shapes.ts';
import { type StreamChange } from '../streams/change-definition.ts';
import { namedStreamBody, parseStreamBody, streamBody, type AskedStream } from '../streams/definition.ts';
import { auditedOf, type Audit } from './audit.ts';
import { preconditionHeaders, preconditionOf } from './precondition-headers.ts';
import { ProblemError } from './problem.ts';
import { OF_BODY, OF_KUDU, routeSchema } from './route-schema.ts';
import { dryRunQuery, streamChange } from './schemas.ts';
import { noSuchStream, notSupported, sendStream, type NameParam } from './stream-answers.ts';

/** Fields of a stream as it is shown that nobody gives it: who sends back what was shown need not take them out. */
const SHOWN_ONLY: readonly string[] = Object.keys(putStream.shape).filter((name) => !(name in streamBody.shape));

/** Adds the routes that make, change and delete streams. What a definition asks of later versions answers 501. */
export function addDefinitionRoutes(app: FastifyInstance, sidecar: ServedSidecar, audit: Audit): void {
  const create = routeSchema({
    tag: 'streams',
    summary: 'Create a stream',
    body: streamBody,
    query: dryRunQuery,
    answer: [201, 'The stream.', streamView],
    dryAnswer: [200, 'With dryRun: what would become of it.', streamPlan],
    etag: true,
    problems: [...OF_BODY, 403, 409, 501, ...OF_KUDU],
  });
  app.post('/v1/streams', { schema: create }, async (request, reply) => {
    const { body, query } = request;
    const asked = parseAsked(body);
    if (isDryRun(query)) return sidecar.plane.planStream(asked);
    const stream = await sidecar.plane.createStream(asked);
    audit.tell(request, { stream: stream.name, before: null, after: auditedOf(stream) });
    return sendStream(reply.code(201).header('location', streamPath(stream.name)), stream);
  });

  const put = routeSchema({
    tag: 'streams',
    summary: 'Have a stream be as it is defined: it is made, changed where that is possible, or left as it is',
    body: namedStreamBody,
    query: dryRunQuery,
    headers: preconditionHeaders,
    answer: [201, 'The stream, which was made.', putStream],
    dryAnswer: [
      200,
      'The stream, which was changed or is so already. With dryRun: what would become of it.',
      z.union([putStream, streamPlan]),
    ],
    etag: true,
    problems: [...OF_BODY, 403, 409, 412, 501, ...OF_KUDU],
  });
  app.put<NameParam>('/v1/streams/:name', { schema: put }, async (request, reply) => {
    const { params, body, query, headers } = request;
    const asked = parseAsked(namedBody(body, params.name));
    const precondition = preconditionOf(headers);
    if (isDryRun(query)) return sidecar.plane.planPut(asked, precondition);
    const before = await audit.before(params.name);
    const stream = await sidecar.plane.putStream(asked, precondition);
    if (stream.outcome !== 'unchanged') audit.tell(request, { stream: params.name, before, after: auditedOf(stream) });
    if (stream.outcome === 'created') reply.code(201).header('location', streamPath(stream.name));
    return sendStream(reply, stream);
  });

  const update = routeSchema({
    tag: 'streams',
    summary: 'Change a stream while it goes on; tables that are new in it are copied first',
    body: streamChange,
    headers: preconditionHeaders,
    answer: [200, 'The stream.', streamView],
    etag: true,
    problems: [...OF_BODY, 403, 404, 412, 501, ...OF_KUDU],
  });
  app.patch<NameParam>('/v1/streams/:name', { schema: update }, async (request, reply) => {
    const { params, body, headers } = request;
    const before = await audit.before(params.name);
    const updated = await sidecar.plane.updateStream(params.name, body as StreamChange, preconditionOf(headers));
    if (updated.kind === 'missing') throw noSuchStream(params.name);
    if (updated.kind === 'invalid')
      throw new ProblemError(400, 'The change of the stream is wrong.', { errors: updated.faults });
    if (updated.kind === 'unsupported')
      throw notSupported('The change asks for what this version cannot do yet.', { errors: updated.faults });
    audit.tell(request, { stream: params.name, before, after: auditedOf(updated.stream) });
    return sendStream(reply, updated.stream);
  });

  const remove = routeSchema({
    tag: 'streams',
    summary: 'Delete a stream',
    headers: preconditionHeaders,
    answer: [204, 'The stream is gone.', null],
    problems: [...OF_BODY, 403, 404, 412, ...OF_KUDU],
  });
  app.delete<NameParam>('/v1/streams/:name', { schema: remove }, async (request, reply) => {
    const { params, headers } = request;
    const before = await audit.before(params.name);
    if (!(await sidecar.plane.deleteStream(params.name, preconditionOf(headers)))) throw noSuchStream(params.name);
    audit.tell(request, { stream: params.name, before, after: null });
    return reply.code(204).send();
  });
}

function streamPath(name: string): string {
  return `/v1/streams/${name}`;
}

/** @throws {ProblemError} with every fault of the body */
function parseAsked(body: unknown): AskedStream {
  const parsed = parseStreamBody(body);
  if (parsed.kind === 'ok') return parsed;
  const { faults: errors } = parsed;
  if (parsed.kind === 'unsupported')
    throw notSupported('The definition asks for what this version cannot do yet.', { errors });
  const empty = body === undefined ? 'The body is empty. ' : '';
  throw new ProblemError(400, `${empty}The stream's definition is wrong.`, { errors });
}

/** The stream is named by its path. @throws {ProblemError} the body names another one */
function namedBody(body: unknown, name: string): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const given = Object.fromEntries(Object.entries(body).filter(([field]) => !SHOWN_ONLY.includes(field)));
  if (given['name'] === undefined || given['name'] === name) return { ...given, name };
  const message = `is ${JSON.stringify(given['name'])}, and the path names ${JSON.stringify(name)}`;
  throw new ProblemError(400, `The stream's definition is wrong: its name ${message}.`, {
    errors: [{ path: 'name', message }],
  });
}

/** @throws {ProblemError} for another word: whoever means a dry run must not make a stream by a slip */
function isDryRun(query: unknown): boolean {
  const parsed = dryRunQuery.safeParse(query);
  if (parsed.success) return parsed.data.dryRun === 'true';
  const errors = [{ path: 'dryRun', message: 'must be true or false' }];
  throw new ProblemError(400, 'The query is wrong: dryRun is true or false.', { errors });
}
