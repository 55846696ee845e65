import { STATUS_CODES } from 'node:http';
import { ERRORS, SpoorError } from '../errors.ts';
import { KuduError } from '../kudu/errors.ts';
import type { FieldChange } from '../streams/change-definition.ts';
import { PreconditionError } from '../streams/precondition.ts';
import {
  RefusedDefinitionError,
  StreamExistsError,
  UnchangeableError,
  UnknownMemberError,
} from '../streams/stream-errors.ts';
import type { BodyFault } from '../util/zod-faults.ts';
import { errorCodeOf } from '../util/error-code.ts';

export const PROBLEM_TYPE = 'application/problem+json';

/** An error as the API answers it (RFC 9457; `type` is about:blank and so left out). */
export interface Problem {
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Faults of the body, all of them. */
  readonly errors?: readonly (BodyFault & Partial<Pick<FieldChange, 'now' | 'asked'>>)[];
  /** A code of docs/errors.md, and what a person does about it. */
  readonly code?: string;
  readonly remedy?: string;
}

/** Thrown by a route to answer with just this problem. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string,
    more: Partial<Problem> = {},
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
    this.problem = { title: titleOf(status), status, detail, ...more };
    this.headers = headers;
  }
}

/** What fastify itself refuses before a route sees it, by its error code. */
const FASTIFY_DETAILS: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'The body must be JSON, with content-type: application/json.',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body has another length than content-length says.',
  FST_ERR_CTP_BODY_TOO_LARGE: 'The body is too large.',
};

/** The answer to whatever was thrown. What is not meant for the caller's eyes becomes a 500 without particulars. */
export function toProblem(error: unknown): { problem: Problem; headers: Readonly<Record<string, string>> } {
  if (error instanceof ProblemError) return { problem: error.problem, headers: error.headers };
  const etag = error instanceof PreconditionError ? error.etag : null;
  return { problem: problemOf(error), headers: etag === null ? {} : { etag } };
}

function problemOf(error: unknown): Problem {
  if (error instanceof StreamExistsError) return { title: titleOf(409), status: 409, detail: error.message };
  if (error instanceof PreconditionError) return { title: titleOf(412), status: 412, detail: error.message };
  if (error instanceof UnchangeableError)
    return { title: titleOf(409), status: 409, detail: error.message, errors: error.changes.map(unchangeable) };
  if (error instanceof RefusedDefinitionError) {
    const errors = error.faults.map((message) => ({ path: error.path, message }));
    return { title: titleOf(400), status: 400, detail: error.message, errors };
  }
  if (error instanceof UnknownMemberError) return unknownMembers(error.message, [error]);
  if (error instanceof AggregateError && isUnknownMembers(error.errors))
    return unknownMembers(error.message, error.errors);
  if (error instanceof SpoorError) return spoorProblem(error.code, error.message, error.remedy);
  if (error instanceof KuduError) return spoorProblem('SPOOR_KUDU_UNAVAILABLE', error.message);
  const status = statusOfFastifyError(error);
  if (status !== null && error instanceof Error) {
    return { title: titleOf(status), status, detail: FASTIFY_DETAILS[errorCodeOf(error)] ?? error.message };
  }
  return {
    title: titleOf(500),
    status: 500,
    detail: 'Something went wrong inside; the log of this sidecar says what.',
  };
}

function unchangeable({ path, now, asked }: FieldChange): BodyFault & Pick<FieldChange, 'now' | 'asked'> {
  const text = (value: unknown): string => (value === undefined ? 'not given' : JSON.stringify(value));
  return { path, message: `is ${text(now)}, and cannot become ${text(asked)} while the stream goes on`, now, asked };
}

function isUnknownMembers(errors: readonly unknown[]): errors is readonly UnknownMemberError[] {
  return errors.every((error) => error instanceof UnknownMemberError);
}

function unknownMembers(detail: string, members: readonly UnknownMemberError[]): Problem {
  const errors = members.map(({ path, message }) => ({ path, message }));
  return { title: titleOf(400), status: 400, detail, errors };
}

function spoorProblem(code: keyof typeof ERRORS, detail: string, remedy: string = ERRORS[code].remedy): Problem {
  const { httpStatus: status } = ERRORS[code];
  return { title: titleOf(status), status, detail, code, remedy };
}

function statusOfFastifyError(error: unknown): number | null {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number') return null;
  return error.statusCode >= 400 && error.statusCode < 500 ? error.statusCode : null;
}

function titleOf(status: number): string {
  return STATUS_CODES[status] ?? 'Error';
}
