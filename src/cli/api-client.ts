import * as z from 'zod';
import { problem } from '../control/schemas.ts';
import type { BodyFault } from '../util/zod-faults.ts';
import { TlsFetch, type FetchAnswer, type FetchInit, type TlsClientOptions } from '../util/tls-fetch.ts';
import { CliError, RefusedError, UnavailableError } from './cli-error.ts';
import { errorCodeOf } from '../util/error-code.ts';

const TIMEOUT_MS = 60_000;

export interface ApiTarget {
  readonly url: string;
  readonly token: string | null;
  readonly tls: TlsClientOptions;
}

/** Calls the HTTP API of a running sidecar. Every failure is a {@link CliError} that says all there is to know. */
export class ApiClient {
  readonly #target: ApiTarget;
  readonly #tls: TlsFetch;

  constructor(target: ApiTarget) {
    if (!URL.canParse(target.url) || !/^https?:$/.test(new URL(target.url).protocol))
      throw new CliError(2, `--url: got ${JSON.stringify(target.url)}; allowed: http://host:port or https://host:port`);
    this.#target = target;
    this.#tls = new TlsFetch(target.tls);
  }

  /** @returns the answer's JSON, or null where it has no body */
  async call(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const response = await this.#fetch(method, path, body);
    const text = await response.text();
    if (response.status === 503) throw new UnavailableError(1, describeFailure(response, text));
    if (response.status === 400) throw new RefusedError(describeFailure(response, text), faultsOf(text));
    if (!response.ok) throw new CliError(1, describeFailure(response, text));
    if (text === '') return null;
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw new CliError(1, `${response.url} did not answer JSON; is a Spoor sidecar listening there?`, error);
    }
  }

  async #fetch(method: string, path: string, body: unknown): Promise<FetchAnswer> {
    const { url, token } = this.#target;
    const headers: Record<string, string> = { accept: 'application/json' };
    if (token !== null) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    try {
      const target = new URL(path.replace(/^\//, ''), url.endsWith('/') ? url : `${url}/`);
      const init: FetchInit = {
        method,
        headers,
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      };
      return await (target.protocol === 'https:' ? this.#tls.fetch(target, init) : fetch(target, init));
    } catch (error) {
      throw new UnavailableError(1, `cannot reach ${url}: ${networkReason(error)}`, error);
    }
  }
}

/** Reads an answer with the API's own schema. @throws {CliError} where a sidecar of another version answers otherwise */
export function expectShape<T>(schema: z.ZodType<T>, answer: unknown): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new CliError(
    1,
    `the sidecar's answer is not of the form that this version knows:\n${z.prettifyError(parsed.error)}`,
  );
}

function describeFailure(response: FetchAnswer, text: string): string {
  const parsed = problem.safeParse(parseJson(text));
  if (!parsed.success) return `${response.url} answered ${response.status} ${response.statusText}`;
  const { title, status, detail, errors = [], remedy } = parsed.data;
  const lines = [`${title} (${status}): ${detail}`];
  for (const { path, message } of errors) lines.push(`  ${path === '' ? 'the body' : path}: ${message}`);
  if (remedy !== undefined) lines.push(remedy);
  if (status === 401) lines.push('Give the token with --token-file, SPOOR_HTTP_TOKEN or SPOOR_HTTP_TOKEN_FILE.');
  return lines.join('\n');
}

function faultsOf(text: string): readonly BodyFault[] {
  return problem.safeParse(parseJson(text)).data?.errors ?? [];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function networkReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS / 1000} s`;
  const { cause } = error;
  const hint = tlsHint(cause);
  if (hint !== null) return hint;
  const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
  const message = first instanceof Error && first.message !== '' ? first.message : error.message;
  return errorCodeOf(first) === 'ECONNREFUSED'
    ? `${message}; start a sidecar there, or name another with --url`
    : message;
}

/** What is wrong between two who speak TLS, in words; null where it is something else. */
function tlsHint(cause: unknown): string | null {
  if (!(cause instanceof Error)) return null;
  const code = errorCodeOf(cause);
  const { message } = cause;
  if (/^(?:SELF_SIGNED_CERT|DEPTH_ZERO|UNABLE_TO_(?:GET_ISSUER|VERIFY)|CERT_UNTRUSTED)/.test(code))
    return `${message}; give the CA that its certificate is of with --ca or SPOOR_HTTP_TLS_CLIENT_CA_FILE`;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'it does not speak TLS; use http://';
  return /^(?:CERT_|ERR_TLS_|ERR_SSL_)/.test(code) ? `${message} (${code})` : null;
}
