import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import * as z from 'zod';
import { SinkError } from '../../sinks/sink.ts';
import { TimeLimit } from '../../util/time-limit.ts';
import { answerOf, type RegistryAnswer } from './registry-answers.ts';

/** Who we are to a registry, and whom to trust. One of the two ways to say who, or none. */
export interface RegistryAuth {
  readonly basic?: { readonly username: string; readonly password: string };
  readonly token?: string;
  /** PEM; instead of Node's own. */
  readonly ca?: string;
}

export interface RegistryClientOptions extends RegistryAuth {
  /** Of one registry: the next is asked where one cannot be reached. They may have a path. */
  readonly urls: readonly string[];
  readonly timeoutMs?: number;
}

export interface SchemaText {
  readonly schemaType: 'AVRO' | 'PROTOBUF' | 'JSON';
  readonly text: string;
}

const TIMEOUT_MS = 10_000;
/** A schema of 300 columns is 30 kB. */
const MAX_ANSWER_BYTES = 16 << 20;
const MEDIA_TYPE = 'application/vnd.schemaregistry.v1+json';
const MAX_ID = 0x7fff_ffff;

const registered = z.object({ id: z.int().min(0).max(MAX_ID) });
const stored = z.object({ schema: z.string(), schemaType: z.enum(['AVRO', 'PROTOBUF', 'JSON']).default('AVRO') });

/** The registry answered no. */
class RegistryRefusal extends SinkError {
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
  readonly #https: HttpsAgent;
  /** The one that answered last. */
  #first = 0;

  constructor(options: RegistryClientOptions) {
    this.#options = options;
    this.#https = new HttpsAgent({ keepAlive: true, ...(options.ca !== undefined && { ca: options.ca }) });
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
    this.#https.destroy();
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
    using limit = new TimeLimit(signal, timeoutMs);
    try {
      const { status, text } = await this.#send(base, method, path, body, limit.signal);
      return answerOf(status, text);
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
    base: string,
    method: string,
    path: string,
    body: string | null,
    signal: AbortSignal,
  ): Promise<{ status: number; text: string }> {
    const url = new URL(path, base.endsWith('/') ? base : `${base}/`);
    const { basic, token } = this.#options;
    const credentials =
      token !== undefined
        ? `Bearer ${token}`
        : basic && `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString('base64')}`;
    const headers = {
      accept: MEDIA_TYPE,
      ...(credentials !== undefined && { authorization: credentials }),
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
        ? httpsRequest(url, { method, headers, signal, agent: this.#https }, onResponse)
        : httpRequest(url, { method, headers, signal, agent: this.#http }, onResponse);
      request.on('error', reject);
      request.end(body ?? undefined);
    });
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
