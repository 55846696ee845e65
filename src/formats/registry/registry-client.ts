import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import * as z from 'zod';
import { SinkError } from '../../sinks/sink.ts';
import { TimeLimit } from '../../util/time-limit.ts';
import { answerOf, type RegistryAnswer } from './registry-answers.ts';
import { authorizationOf, withoutSecrets, type RegistryAuth } from './registry-auth.ts';

export interface RegistryClientOptions {
  /** Of one registry: the next is asked where one cannot be reached. They may have a path. */
  readonly urls: readonly string[];
  /** Who we are, asked before each request; nobody where it is left out. */
  readonly auth?: () => RegistryAuth;
  readonly timeoutMs?: number;
}

export interface SchemaText {
  readonly schemaType: 'AVRO' | 'PROTOBUF' | 'JSON';
  readonly text: string;
}

interface RegistryRequest {
  readonly base: string;
  readonly method: string;
  readonly path: string;
  readonly body: string | null;
  readonly auth: RegistryAuth;
}

const TIMEOUT_MS = 10_000;
/** A schema of 300 columns is 30 kB. */
const MAX_ANSWER_BYTES = 16 << 20;
const MEDIA_TYPE = 'application/vnd.schemaregistry.v1+json';
const MAX_ID = 0x7fff_ffff;

const registered = z.object({ id: z.int().min(0).max(MAX_ID) });
const compatibility = z.object({ is_compatible: z.boolean() });
const types = z.array(z.string());
const stored = z.object({ schema: z.string(), schemaType: z.enum(['AVRO', 'PROTOBUF', 'JSON']).default('AVRO') });

/** The registry answered no. */
export class RegistryRefusal extends SinkError {
  readonly status: number;

  constructor(status: number, message: string) {
    super('refused', message);
    this.status = status;
  }
}

const NOT_FOUND = 404;

/**
 * Speaks Confluent's REST API of schema registries.
 *
 * Errors: {@link SinkError}, `refused` where a person must act (the message has the registry's own words), else
 * `unavailable`. What it answers is what the registry said, or nothing: an answer that is torn is no answer.
 */
export class RegistryClient implements Disposable {
  readonly #options: RegistryClientOptions;
  readonly #http = new HttpAgent({ keepAlive: true });
  #https: HttpsAgent | null = null;
  /** Whom {@link #https} trusts. */
  #ca: string | undefined;
  /** The one that answered last. */
  #first = 0;

  constructor(options: RegistryClientOptions) {
    this.#options = options;
  }

  /** Registers a schema under a subject; one that is there already keeps its number. */
  async register(subject: string, { schemaType, text }: SchemaText, signal: AbortSignal): Promise<number> {
    const path = `subjects/${encodeURIComponent(subject)}/versions`;
    return (await this.#ask(registered, 'POST', path, bodyOf(schemaType, text), `subject ${subject}`, signal)).id;
  }

  /** The number of a schema that is registered under a subject. */
  async lookUp(subject: string, { schemaType, text }: SchemaText, signal: AbortSignal): Promise<number> {
    const path = `subjects/${encodeURIComponent(subject)}`;
    return (await this.#ask(registered, 'POST', path, bodyOf(schemaType, text), `subject ${subject}`, signal)).id;
  }

  /** Whether a subject would take a schema, by the rules that it has; anything goes where it has none yet. */
  async isCompatible(subject: string, { schemaType, text }: SchemaText, signal: AbortSignal): Promise<boolean> {
    const path = `compatibility/subjects/${encodeURIComponent(subject)}/versions`;
    try {
      const body = bodyOf(schemaType, text);
      return (await this.#ask(compatibility, 'POST', path, body, `subject ${subject}`, signal)).is_compatible;
    } catch (error) {
      if (error instanceof RegistryRefusal && error.status === NOT_FOUND) return true;
      throw error;
    }
  }

  /** Kinds of schemas that it takes; null where it does not say, as old ones do, and what is no registry. */
  async schemaTypes(signal: AbortSignal): Promise<readonly string[] | null> {
    try {
      return await this.#ask(types, 'GET', 'schemas/types', null, 'schema types', signal);
    } catch (error) {
      if (error instanceof RegistryRefusal && error.status === NOT_FOUND) return null;
      throw error;
    }
  }

  /** The schema of a number; null where there is none. */
  async schemaOf(id: number, signal: AbortSignal): Promise<SchemaText | null> {
    try {
      const { schema, schemaType } = await this.#ask(stored, 'GET', `schemas/ids/${id}`, null, `schema ${id}`, signal);
      return { schemaType, text: schema };
    } catch (error) {
      if (error instanceof RegistryRefusal && error.status === NOT_FOUND) return null;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#http.destroy();
    this.#https?.destroy();
  }

  async #ask<T>(
    shape: z.ZodType<T>,
    method: 'GET' | 'POST',
    path: string,
    body: string | null,
    what: string,
    signal: AbortSignal,
  ): Promise<T> {
    const { urls } = this.#options;
    const failures: string[] = [];
    for (let tries = 0; tries < urls.length; tries++) {
      const place = (this.#first + tries) % urls.length;
      const url = urls[place]!;
      const answer = await this.#call(url, method, path, body, signal);
      signal.throwIfAborted();
      if (answer.kind === 'ok') {
        const parsed = shape.safeParse(answer.json);
        if (parsed.success) {
          this.#first = place;
          return parsed.data;
        }
        failures.push(`${url} answered for ${what} what is no answer of a schema registry`);
      } else if (answer.kind === 'refused')
        throw new RegistryRefusal(
          answer.status,
          `schema registry ${url} answered ${answer.status} for ${what}: ${answer.reason}`,
        );
      else failures.push(`${url} ${answer.reason} for ${what}`);
    }
    throw new SinkError('unavailable', `schema registry ${failures.join('; ')}`);
  }

  async #call(
    base: string,
    method: string,
    path: string,
    body: string | null,
    signal: AbortSignal,
  ): Promise<RegistryAnswer> {
    const { timeoutMs = TIMEOUT_MS } = this.#options;
    const auth = this.#options.auth?.() ?? {};
    using limit = new TimeLimit(signal, timeoutMs);
    try {
      const { status, text } = await this.#send({ base, method, path, body, auth }, limit.signal);
      return answerOf(status, text, (words) => withoutSecrets(words, auth));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const isLate = limit.signal.aborted && !signal.aborted;
      return {
        kind: 'unavailable',
        reason: isLate ? `did not answer within ${timeoutMs} ms` : `cannot be asked (${reason})`,
      };
    }
  }

  #send(
    { base, method, path, body, auth }: RegistryRequest,
    signal: AbortSignal,
  ): Promise<{ status: number; text: string }> {
    const url = new URL(path, base.endsWith('/') ? base : `${base}/`);
    const authorization = authorizationOf(auth);
    const headers = {
      accept: MEDIA_TYPE,
      ...(authorization !== undefined && { authorization }),
      ...(body !== null && { 'content-type': MEDIA_TYPE, 'content-length': Buffer.byteLength(body) }),
    };
    const isSecure = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const onResponse = (response: IncomingMessage): void => {
        readAll(response).then((text) => {
          resolve({ status: response.statusCode ?? 0, text });
        }, reject);
      };
      const request = isSecure
        ? httpsRequest(url, { method, headers, signal, agent: this.#trusting(auth.ca) }, onResponse)
        : httpRequest(url, { method, headers, signal, agent: this.#http }, onResponse);
      request.on('error', reject);
      request.end(body ?? undefined);
    });
  }

  /** Connections of before trust whom nobody trusts any more: those that are idle end now, the others with their answer. */
  #trusting(ca: string | undefined): HttpsAgent {
    if (this.#https !== null && ca === this.#ca) return this.#https;
    if (this.#https !== null) {
      this.#https.maxFreeSockets = 0;
      for (const socket of Object.values(this.#https.freeSockets).flat()) socket?.destroy();
    }
    this.#ca = ca;
    this.#https = new HttpsAgent({ keepAlive: true, ...(ca !== undefined && { ca }) });
    return this.#https;
  }
}

/** @throws {Error} it is too long, or the connection ended before the answer did */
async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (!response.complete) throw new Error('the connection ended within the answer');
  return Buffer.concat(chunks).toString();
}

/** Avro is what is meant where nothing is said, and some registries know no other. */
function bodyOf(schemaType: string, schema: string): string {
  return JSON.stringify({ schema, ...(schemaType !== 'AVRO' && { schemaType }) });
}
