import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { rootCertificates } from 'node:tls';
import {
  allowInsecureRequests,
  ClientSecretBasic,
  clientCredentialsGrantRequest,
  customFetch,
  processClientCredentialsResponse,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
  type CustomFetchOptions,
} from 'oauth4webapi';
import { steadyNow } from '../../../util/steady-clock.ts';
import { TimeLimit } from '../../../util/time-limit.ts';
import { SinkError } from '../../sink.ts';
import { isTlsCode } from '../kafka-error.ts';
import { lifeMs, type GrantedToken } from './token-life.ts';
import { errorCodeOf } from '../../../util/error-code.ts';

export interface TokenEndpointOptions {
  /** `https:`, or `http:` on this machine. */
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly scope?: string;
  /** As it is at the moment. */
  readonly clientSecret: () => string;
  /** PEM: trusted besides Node's own, as it is at the moment. Identity providers are rarely of the brokers' CA alone. */
  readonly ca: () => string | undefined;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 1 << 20;
/** Of what the endpoint says. */
const MAX_WORDS = 300;

type Post = CustomFetchOptions<'POST', URLSearchParams>;

/**
 * Asks for an access token by client credentials (RFC 6749, 4.4), as the client by HTTP Basic (2.3.1).
 * @throws {SinkError} `refused` where a person must act, with what the endpoint said, else `unavailable`; without secrets
 */
export async function requestToken(options: TokenEndpointOptions, signal: AbortSignal): Promise<GrantedToken> {
  const { tokenUrl, clientId, scope, timeoutMs = TIMEOUT_MS } = options;
  const [secret, ca] = [options.clientSecret(), options.ca()];
  const sinceMs = steadyNow();
  using limit = new TimeLimit(signal, timeoutMs);
  const server = { issuer: tokenUrl, token_endpoint: tokenUrl };
  const client = { client_id: clientId };
  let told = '';
  try {
    const response = await clientCredentialsGrantRequest(
      server,
      client,
      ClientSecretBasic(secret),
      scope === undefined ? {} : { scope },
      {
        // Where that may be is the configuration's to say, and was checked.
        [allowInsecureRequests]: true,
        [customFetch]: (url: string, post: Post) => {
          told = post.headers['authorization'] ?? '';
          return send(url, post, ca, limit.signal);
        },
      },
    );
    const granted = await processClientCredentialsResponse(server, client, response);
    const { access_token: value, expires_in: expiresInS, token_type: type } = granted;
    if (type !== 'bearer') throw new Error(`it gives tokens of type ${JSON.stringify(type)}, and not bearer`);
    return { value, sinceMs, endsMs: sinceMs + lifeMs(expiresInS, value, Date.now()) };
  } catch (error) {
    if (signal.aborted) throw error;
    const { kind, words } = limit.signal.aborted
      ? { kind: 'unavailable' as const, words: `it did not answer within ${timeoutMs} ms` }
      : explain(error);
    throw new SinkError(kind, `no token for Kafka from ${placeOf(tokenUrl)}: ${withoutSecret(words, secret, told)}`);
  }
}

/** What a URL may have behind its path is not for everybody's eyes. */
function placeOf(tokenUrl: string): string {
  const { origin, pathname } = new URL(tokenUrl);
  return `${origin}${pathname}`;
}

/** An endpoint's words may quote what it was told: the header, what that is of, and how the secret is written in it. */
function withoutSecret(words: string, secret: string, told: string): string {
  const credentials = told.replace(/^Basic /, '');
  const decoded = Buffer.from(credentials, 'base64').toString();
  const written = decoded.slice(decoded.indexOf(':') + 1);
  return [credentials, secret, written, encodeURIComponent(secret)].reduce(
    (shown, each) => (each === '' ? shown : shown.replaceAll(each, '***')),
    words,
  );
}

function explain(error: unknown): { readonly kind: 'refused' | 'unavailable'; readonly words: string } {
  if (error instanceof ResponseBodyError) {
    const { status, error: code, error_description: description } = error;
    const said = description === undefined ? code : `${code}: ${description}`;
    return { kind: kindOf(status), words: `it answers ${status}, ${short(said)}` };
  }
  if (error instanceof WWWAuthenticateChallengeError) {
    const said = error.cause
      .map(({ parameters: { error: code, error_description: description } }) => [code, description])
      .flat()
      .filter((each) => each !== undefined);
    const words = ['it answers 401', ...said].join(', ');
    return { kind: 'refused', words: short(words) };
  }
  if (error instanceof HttpStatus) return { kind: kindOf(error.status), words: short(error.message) };
  const message = error instanceof Error ? error.message : String(error);
  const code = errorCodeOf(error);
  if (isTlsCode(code)) return { kind: 'refused', words: `no TLS connection: ${message} (${code})` };
  // What the library says of an answer that is none.
  if (code.startsWith('OAUTH_')) return { kind: 'unavailable', words: `its answer is none of RFC 6749: ${message}` };
  return { kind: 'unavailable', words: short(message || code) };
}

/** One that is busy or broken is asked again; one that says no will say so until somebody changes something. */
function kindOf(status: number): 'refused' | 'unavailable' {
  return status >= 500 || status === 408 || status === 429 ? 'unavailable' : 'refused';
}

function short(words: string): string {
  const oneLine = words.replaceAll(/\s+/g, ' ');
  return oneLine.length > MAX_WORDS ? `${oneLine.slice(0, MAX_WORDS)}…` : oneLine;
}

class HttpStatus extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(`it answers ${status}${text.trim() === '' ? '' : `: ${text}`}`);
    this.status = status;
  }
}

/** Redirects are not followed: a secret goes where it was sent. */
async function send(url: string, post: Post, ca: string | undefined, signal: AbortSignal): Promise<Response> {
  const body = post.body.toString();
  const options = {
    method: 'POST',
    headers: { ...post.headers, 'content-length': Buffer.byteLength(body) },
    agent: false, // a token lives for minutes: nothing is gained by a socket that is kept
    signal,
  } as const;
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = url.startsWith('https:')
      ? httpsRequest(url, { ...options, ...(ca !== undefined && { ca: [...rootCertificates, ca] }) }, resolve)
      : httpRequest(url, options, resolve);
    request.on('error', reject);
    request.end(body);
  });
  const text = await readAll(answer);
  const status = answer.statusCode ?? 0;
  const { 'content-type': type = '', 'www-authenticate': challenge } = answer.headers;
  const isJson = /^application\/json\b/i.test(type);
  if (status !== 200 && !(isJson && status >= 400) && challenge === undefined) throw new HttpStatus(status, text);
  const headers = { 'content-type': type, ...(challenge !== undefined && { 'www-authenticate': challenge }) };
  return new Response(text, { status, headers });
}

/** @throws {Error} it is too long, or the connection ended before the answer did */
async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (!answer.complete) throw new Error('the connection ended within the answer');
  return Buffer.concat(chunks).toString();
}
