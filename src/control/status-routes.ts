import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import { changeEvent, historyView, localStatus, stateEvent } from '../api/cluster-state.ts';
import type { LocalStanding } from '../api/cluster-look.ts';
import type { ClusterEvents } from '../status/cluster-events.ts';
import type { CurrentCredentials } from '../util/http-credentials.ts';
import { EventStream, type EventStreamOptions } from './event-stream.ts';
import { callerOf } from './gate.ts';
import { OF_KUDU, routeSchema } from './route-schema.ts';

/** What is told of the whole cluster, and of this sidecar for the others that tell it. */
export interface StatusParts {
  readonly events: ClusterEvents;
  readonly own: LocalStanding;
}

export interface StatusRouteOptions extends StatusParts {
  readonly credentials: CurrentCredentials;
  readonly eventStream?: Omit<EventStreamOptions, 'role'>;
}

/** Adds what the status page is fed with. */
export function addStatusRoutes(
  app: FastifyInstance,
  { events, own, credentials, eventStream }: StatusRouteOptions,
): void {
  const streams = new Set<EventStream>();
  const endAll = (): void => {
    for (const stream of streams) stream[Symbol.dispose]();
  };

  const watch = routeSchema({
    tag: 'cluster',
    summary: 'Watch the whole cluster as server-sent events: `state` first, then each `change`, and once a `history`',
    answer: [
      200,
      'Events, for as long as the caller reads them; the data of each is JSON of one of these shapes.',
      { mediaType: 'text/event-stream', of: z.union([stateEvent, changeEvent, historyView]) },
    ],
  });
  // No HEAD: it would have no end.
  app.get('/v1/events', { schema: watch, exposeHeadRoute: false }, (request, reply) => {
    reply.hijack();
    const stream = new EventStream(reply.raw, { role: callerOf(request).role ?? 'read', ...eventStream });
    streams.add(stream);
    const leave = events.join(stream);
    reply.raw.once('close', () => {
      leave();
      streams.delete(stream);
      stream[Symbol.dispose]();
    });
  });
  // Whoever watches with a token that ended must not go on: all come again with what they have.
  const stop = credentials.onChange(endAll);
  app.addHook('preClose', (done) => {
    stop();
    endAll();
    done();
  });

  const status = routeSchema({
    tag: 'cluster',
    summary: 'How this sidecar is: its parts, its disk, what it holds and has shipped (for other sidecars)',
    answer: [200, 'How it is.', localStatus],
    problems: OF_KUDU,
  });
  app.get('/v1/local/status', { schema: status }, () => own.status());

  const history = routeSchema({
    tag: 'cluster',
    summary: 'The last hour of what this sidecar ships, in steps of ten seconds (for other sidecars)',
    answer: [200, 'By stream.', historyView],
    problems: OF_KUDU,
  });
  app.get('/v1/local/history', { schema: history }, async () => Promise.resolve(own.history()));
}
