import type { FastifyRequest } from 'fastify';
import type { AuditedStream, ServedSidecar } from '../api/control-plane.ts';
import type { StreamView } from '../api/shapes.ts';
import type { Logger } from '../util/logger.ts';
import { callerOf } from './gate.ts';

/** What a call has changed. */
export interface AuditedChange {
  readonly stream?: string;
  /** The stream as it was and is defined; null where there was or is none. */
  readonly before?: AuditedStream | null;
  readonly after?: AuditedStream | null;
  /** What else was asked for. */
  readonly asked?: object;
}

/**
 * Says in the log who changed what. Definitions name no secrets (salts, passwords and tokens are in files and variables of
 * the sidecars), and the log masks what is configured.
 */
export class Audit {
  readonly #sidecar: ServedSidecar;
  readonly #logger: Logger;

  constructor(sidecar: ServedSidecar, logger: Logger) {
    this.#sidecar = sidecar;
    this.#logger = logger;
  }

  /** A stream as it is defined just before a change. Another sidecar may be quicker: revisions tell. */
  before(name: string): Promise<AuditedStream | null> {
    return this.#sidecar.plane.definitionOf(name);
  }

  tell(request: FastifyRequest, change: AuditedChange): void {
    const { role, certificate } = callerOf(request);
    const { remoteAddress, remotePort } = request.raw.socket;
    this.#logger.info(
      {
        audit: {
          role,
          ...(certificate !== null && { certificate }),
          from: `${remoteAddress ?? ''} ${remotePort ?? ''}`.trim(),
          call: `${request.method} ${request.url.split('?', 1)[0] ?? ''}`,
          ...change,
        },
      },
      'changed by a call of the API',
    );
  }
}

/** Of a stream as it is shown, what nobody gave. */
const SHOWN_ONLY = new Set(['tablets', 'warnings', 'createdAt', 'outcome']);

/** Of a stream as it is shown, what somebody gave, and its revision. */
export function auditedOf(view: StreamView): AuditedStream {
  return Object.fromEntries(
    Object.entries(view).filter(([field]) => !SHOWN_ONLY.has(field)),
  ) as unknown as AuditedStream;
}
