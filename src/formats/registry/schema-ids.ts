import { waitFor } from '../../util/wait-for.ts';
import type { RegistryClient, SchemaText } from './registry-client.ts';

export interface SchemaAsked {
  readonly subject: string;
  readonly text: string;
  readonly schemaType: 'AVRO' | 'PROTOBUF';
  /** Whether it is put there where it is not; else it is only looked up. */
  readonly register: boolean;
}

/** The longest that a question may take that nobody waits for any more. */
const MAX_QUESTION_MS = 60_000;

/**
 * The numbers that a registry has given to schemas, each asked for once: a number never changes. Tablets that ask at the
 * same time for the same wait for one answer.
 */
export class SchemaIds {
  readonly #client: Pick<RegistryClient, 'register' | 'lookUp'>;
  readonly #known = new Map<string, number>();
  readonly #asked = new Map<string, Promise<number>>();

  constructor(client: Pick<RegistryClient, 'register' | 'lookUp'>) {
    this.#client = client;
  }

  /** @throws {SinkError} as the client does */
  async idOf(schema: SchemaAsked, signal: AbortSignal): Promise<number> {
    const key = JSON.stringify([schema.subject, schema.schemaType, schema.text]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    let asked = this.#asked.get(key);
    if (!asked) {
      asked = this.#ask(schema).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    const id = await waitFor(asked, signal);
    this.#known.set(key, id);
    return id;
  }

  /** Not bound to the one who asked first: others may wait for the answer. */
  #ask({ subject, text, schemaType, register }: SchemaAsked): Promise<number> {
    const signal = AbortSignal.timeout(MAX_QUESTION_MS);
    const schema: SchemaText = { schemaType, text };
    return register ? this.#client.register(subject, schema, signal) : this.#client.lookUp(subject, schema, signal);
  }
}
