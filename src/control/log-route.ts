import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import { OP_ID, parseOpId } from '../kudu/opid.ts';
import type { LogRequest, ServedSidecar } from '../api/control-plane.ts';
import type { BodyFault } from '../util/zod-faults.ts';
import { ProblemError } from './problem.ts';
import { routeSchema } from './route-schema.ts';

/** A caller that takes nothing for so long is gone, or might as well be: the held files are not kept open for it. */
const IDLE_TIMEOUT_MS = 30_000;

const logQuery = z.object({
  after: z
    .string()
    .regex(OP_ID)
    .describe("The log from the first operation after this one on: a position in the tablet's log, term.index."),
  have: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,40}:\d{1,10}-\d{1,10}:\d{1,15}(,[A-Za-z0-9_-]{1,40}:\d{1,10}-\d{1,10}:\d{1,15}){0,99}$/)
    .optional()
    .describe('What the asker has of it already, generation:from-to:bytes of the last: of that only the headers come.'),
  headers: z.literal('only').optional().describe('Only the headers of all segments come: what there is.'),
});
/** What is allowed for each, in words. */
const ALLOWED: Readonly<Record<string, string>> = {
  after: '<term>.<index> of an operation, for example 7.1042',
  have: 'up to 100 of <generation>:<from>-<to>:<bytes of the last>, with commas between',
  headers: 'only',
};
const tabletId = z.string().regex(/^[0-9a-f]{32}$/);

interface LogCall {
  Params: { id: string };
}

/** `GET /v1/local/tablets/{id}/log`: the held log of a replica beside us, for another sidecar. */
export function addLogRoute(app: FastifyInstance, sidecar: ServedSidecar): void {
  const sending = new Set<Readable>();
  const schema = routeSchema({
    tag: 'cluster',
    summary: 'Read the held log of a local replica, for a sidecar whose own does not reach back so far',
    query: logQuery,
    answer: [
      200,
      'The log: docs/wal-format.md, The log over HTTP. Whole only if its end frame is there.',
      'application/octet-stream',
    ],
    problems: [400, 404, 503],
  });
  // No HEAD: fastify would read the whole log for it.
  app.get<LogCall>('/v1/local/tablets/:id/log', { schema, exposeHeadRoute: false }, (request, reply) => {
    const { id, after, asked } = parseLogCall(request.params.id, request.query);
    const log = sidecar.plane.openHeldLog(id, after, asked);
    if (log === null) throw new ProblemError(404, `This sidecar holds nothing of the log of tablet ${id}.`);
    const body = Readable.from(log, { objectMode: false });
    sending.add(body);
    body.once('close', () => sending.delete(body));
    reply.raw.setTimeout(IDLE_TIMEOUT_MS, () => body.destroy());
    return reply.type('application/octet-stream').send(body);
  });
  // A log takes long, and a stop does not wait for it. Cut short it lacks its end, and the caller asks another sidecar.
  app.addHook('preClose', (done) => {
    for (const body of sending) body.destroy(new Error('the sidecar stops'));
    done();
  });
}

function parseLogCall(id: string, query: unknown) {
  const faults: BodyFault[] = [];
  if (!tabletId.safeParse(id).success)
    faults.push(fault('id', JSON.stringify(id), "a tablet's id: 32 hexadecimal digits in lower case"));
  const parsed = logQuery.safeParse(query);
  if (!parsed.success) {
    const given: Readonly<Record<string, unknown>> = z.looseObject({}).safeParse(query).data ?? {};
    for (const path of new Set(parsed.error.issues.map((issue) => String(issue.path[0] ?? 'after')))) {
      const shown = given[path] === undefined ? 'nothing' : JSON.stringify(given[path]);
      faults.push(fault(path, shown, ALLOWED[path] ?? ''));
    }
  }
  if (!parsed.success || faults.length > 0) {
    const detail = faults.map(({ path, message }) => `${path}: ${message}`).join('; ');
    throw new ProblemError(400, detail, { errors: faults });
  }
  const { after, have, headers } = parsed.data;
  const asked: LogRequest = {
    ...(have !== undefined && { had: parseHad(have) }),
    ...(headers === 'only' && { headersOnly: true }),
  };
  return { id, after: parseOpId(after), asked };
}

/** @param have which the query's pattern holds for */
function parseHad(have: string): NonNullable<LogRequest['had']> {
  return have.split(',').map((piece) => {
    const [generation = '', numbers = '', lastBytes] = piece.split(':');
    const [from = 0, to = 0] = numbers.split('-').map(Number);
    return { generation, from, to, lastBytes: Number(lastBytes) };
  });
}

function fault(path: string, given: string, allowed: string): BodyFault {
  return { path, message: `got ${given}; allowed: ${allowed}` };
}
