import { STATUS_CODES } from 'node:http';
import type { FastifySchema } from 'fastify';
import type * as z from 'zod';
import { PROBLEM_TYPE } from './problem.ts';
import { jsonSchema, problem } from './schemas.ts';

/** Kudu is needed for the answer, and refuses or is away. */
export const OF_KUDU = [502, 503] as const;
/** A body that cannot be read, also where none is asked for. */
export const OF_BODY = [400, 413, 415] as const;

/** What is no JSON as a whole, and is made of it. */
export interface TypedShape {
  readonly mediaType: string;
  readonly of: z.ZodType;
}

/** What openapi.json says of a route, besides its path. */
export interface RouteDoc {
  readonly tag: 'streams' | 'cluster' | 'health';
  readonly summary: string;
  readonly body?: z.ZodType;
  /** Its query string. */
  readonly query?: z.ZodType;
  /** Request headers that it looks at. */
  readonly headers?: z.ZodType;
  /** Whether streams come with an entity tag. */
  readonly etag?: boolean;
  /** The answer when all goes well: status, what it is, and its shape (or media type where it is not JSON, or null for no body). */
  readonly answer?: readonly [status: number, description: string, shape: z.ZodType | string | TypedShape | null];
  /** The answer where nothing was to be done but to say what would be. */
  readonly dryAnswer?: readonly [status: number, description: string, shape: z.ZodType];
  /** Status codes that come as problem+json, or one with the shape of what stands there besides. 401, 429 and 500 go without saying. */
  readonly problems?: readonly (number | readonly [status: number, shape: z.ZodType])[];
  /** Answered without a token, whatever is configured. */
  readonly open?: boolean;
}

const ETAG = { ETag: { type: 'string', description: 'Of the stream, for If-Match: its revision in quotes.' } };

declare module 'fastify' {
  interface FastifySchema {
    doc?: RouteDoc;
  }
}

/** What a route says of itself, where fastify keeps it. Nothing is validated by it. */
export function routeSchema(doc: RouteDoc): FastifySchema {
  return { doc };
}

/**
 * The same as `@fastify/swagger` reads it. Made when somebody asks for openapi.json: of some thirty routes it takes longer than all
 * else that the API does before it listens.
 */
export function openApiSchema({ doc, ...schema }: FastifySchema): FastifySchema {
  return doc === undefined ? schema : { ...schema, ...describeRoute(doc) };
}

function describeRoute(doc: RouteDoc): FastifySchema {
  const response: Record<string, unknown> = {};
  for (const answer of [doc.answer, doc.dryAnswer])
    if (answer) {
      const [status, description, shape] = answer;
      response[status] = { description, ...(doc.etag === true && { headers: ETAG }), ...answerContent(shape) };
    }
  for (const each of [...(doc.problems ?? []), ...(doc.open === true ? [] : [401]), 429, 500]) {
    const [status, shape] = typeof each === 'number' ? [each, problem] : each;
    response[status] = {
      description: STATUS_CODES[status],
      content: { [PROBLEM_TYPE]: { schema: jsonSchema(shape, 'output') } },
    };
  }
  return {
    tags: [doc.tag],
    summary: doc.summary,
    ...(doc.body && { body: jsonSchema(doc.body, 'input') }),
    ...(doc.query && { querystring: jsonSchema(doc.query, 'input') }),
    ...(doc.headers && { headers: jsonSchema(doc.headers, 'input') }),
    ...(doc.open === true && { security: [] }),
    response,
  };
}

function answerContent(shape: z.ZodType | string | TypedShape | null): object {
  if (shape === null) return { type: 'null' };
  if (typeof shape === 'string') return { content: { [shape]: { schema: { type: 'string' } } } };
  if ('mediaType' in shape) return { content: { [shape.mediaType]: { schema: jsonSchema(shape.of, 'output') } } };
  return { content: { 'application/json': { schema: jsonSchema(shape, 'output') } } };
}
