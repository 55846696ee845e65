import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ProblemError } from './problem.ts';

/** Nothing that the API takes is nested so deep, and what walks a body walks it by calling itself. */
const MAX_DEPTH = 64;
/** JSON, and what is written as JSON: `application/merge-patch+json`. */
const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json$/i;

/**
 * Reads the bodies of calls as JSON. Clients and proxies name a type, a length or chunks also where they send nothing
 * (curl -d '', axios, fetch): a body without content is none, whatever is said of it. One that comes without a type, as
 * Go's and Java's clients send it, is taken for JSON.
 */
export function addBodyParser(app: FastifyInstance, maxBytes: number): void {
  app.removeAllContentTypeParsers();
  app.addHook('onRequest', ({ headers }, _reply, done) => {
    // What is no media type at all is refused before any parser sees whether there is a body.
    const length = headers['content-length'];
    if (headers['transfer-encoding'] === undefined && (length === undefined || Number(length) === 0))
      delete headers['content-type'];
    done(Number(length) > maxBytes ? tooLarge(maxBytes, Number(length)) : undefined);
  });
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    try {
      done(null, request.is404 ? undefined : parseBody(request, body));
    } catch (error) {
      done(error as Error, undefined);
    }
  });
}

function tooLarge(maxBytes: number, bytes: number): ProblemError {
  return new ProblemError(413, `The body is too large: ${bytes} bytes; at most ${maxBytes} bytes are taken.`);
}

function parseBody({ headers }: FastifyRequest, body: Buffer): unknown {
  if (body.length === 0) return undefined;
  const encoding = headers['content-encoding']?.trim() ?? '';
  if (encoding !== '' && encoding.toLowerCase() !== 'identity') {
    const detail = `The body is encoded with ${JSON.stringify(encoding)}; send it as it is, without content-encoding.`;
    throw new ProblemError(415, detail, {}, { 'accept-encoding': 'identity' });
  }
  checkType(headers['content-type']);
  const text = decodeText(body);
  if (text.trim() === '') return undefined;
  const value = parseText(text);
  checkTree(value, 1);
  return value;
}

function checkType(contentType: string | undefined): void {
  if (contentType === undefined) return;
  const [type = '', ...parameters] = contentType.split(';').map((part) => part.trim());
  const wanted = 'The body must be JSON, with content-type: application/json';
  if (!JSON_TYPE.test(type)) throw new ProblemError(415, `${wanted}; it came with ${JSON.stringify(contentType)}.`);
  for (const parameter of parameters) {
    const charset = /^charset\s*=\s*"?([^"]*)"?$/i.exec(parameter)?.[1];
    if (charset !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(charset))
      throw new ProblemError(415, `${wanted}, in UTF-8; it came with charset ${JSON.stringify(charset)}.`);
  }
}

/** A byte order mark, which some write in front, is left out. */
function decodeText(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw new ProblemError(400, 'The body is not valid JSON: it is not UTF-8.');
  }
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new ProblemError(
      400,
      `The body is not valid JSON: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Refuses what would come in the way of those who look at it: too deep, or with names that JavaScript means something by. */
function checkTree(value: unknown, depth: number): void {
  if (!isObject(value)) return;
  if (depth > MAX_DEPTH) throw new ProblemError(400, `The body is JSON nested deeper than ${MAX_DEPTH} levels.`);
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    if (name === '__proto__' || (name === 'constructor' && isObject(member) && Object.hasOwn(member, 'prototype')))
      throw new ProblemError(400, `The body is JSON with a field ${JSON.stringify(name)} that means a prototype.`);
    checkTree(member, depth + 1);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
