import { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { CurrentCredentials } from '../util/http-credentials.ts';
import { AccessRule, type Caller } from './access.ts';
import { clientKey } from './client-address.ts';
import type { ClientLimits } from './client-limits.ts';
import type { ProblemError } from './problem.ts';
import { originFault } from './request-origin.ts';

export interface GateOptions {
  readonly credentials: CurrentCredentials;
  readonly limits: ClientLimits;
  /** Names besides those of this machine by which the API is called where no token is asked for. */
  readonly ownHosts: readonly string[];
}

/**
 * For whoever asks whether the process lives, who may not be trusted with a token; and the status page, which holds no data
 * and asks for a token itself.
 */
const OPEN_PATHS = new Set(['/healthz', '/readyz', '/', '/page/:file']);
const LIVENESS = '/healthz';

const callers = new WeakMap<FastifyRequest, Caller>();

/** Who makes a call, which the gate has let in. */
export function callerOf(request: FastifyRequest): Caller {
  return callers.get(request) ?? { role: null, certificate: null };
}

/** Decides of every call, before anything of its body is read, whether it is let in. */
export function addGate(app: FastifyInstance, { credentials, limits, ownHosts }: GateOptions): void {
  let rule = new AccessRule(credentials.current);
  const stop = credentials.onChange((changed) => {
    rule = new AccessRule(changed);
  });
  app.addHook('onClose', (_app, done) => {
    stop();
    done();
  });

  const check = (request: FastifyRequest): ProblemError | null => {
    const { method, raw, headers, routeOptions } = request;
    const path = routeOptions.url ?? '';
    const address = clientKey(raw.socket.remoteAddress);
    const ownNames = credentials.current.tokens === null && path !== LIVENESS ? ownHosts : null;
    const { httpVersion, rawHeaders, url: target = '' } = raw;
    const fault = originFault({ method, httpVersion, target, headers, rawHeaders }, ownNames);
    if (fault) return limits.refuse(address) ?? fault;
    const verdict = rule.decide({
      method,
      isOpen: OPEN_PATHS.has(path),
      authorization: path === LIVENESS ? undefined : headers.authorization,
      certificate: certificateOf(request),
    });
    if (verdict.kind === 'refused') return limits.refuse(address) ?? verdict.problem;
    callers.set(request, verdict.caller);
    return limits.admit(address, verdict.caller.role ?? '');
  };
  app.addHook('onRequest', (request, _reply, done) => {
    done(check(request) ?? undefined);
  });
}

/** Subject of the client's certificate, as one line; null for none. Those that are not of our CA do not come so far. */
function certificateOf({ raw: { socket } }: FastifyRequest): string | null {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null;
  return socket.getPeerX509Certificate()?.subject.replaceAll('\n', ', ') ?? null;
}
