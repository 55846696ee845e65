import type { FastifyReply } from 'fastify';
import type { StreamView } from '../api/shapes.ts';
import { etagOf } from '../streams/precondition.ts';
import { ProblemError, type Problem } from './problem.ts';

export interface NameParam {
  Params: { name: string };
}

/** Answers a stream, with the tag that a later change may name. */
export function sendStream(reply: FastifyReply, stream: StreamView): FastifyReply {
  return reply.header('etag', etagOf(stream.revision)).send(stream);
}

export function noSuchStream(name: string): ProblemError {
  return new ProblemError(404, `There is no stream named ${JSON.stringify(name)}.`);
}

export function notSupported(detail: string, more: Partial<Problem> = {}): ProblemError {
  return new ProblemError(501, detail, { code: 'SPOOR_NOT_SUPPORTED', ...more });
}
