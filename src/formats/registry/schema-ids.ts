import { TimeLimit } from '../../util/time-limit.ts';
import { waitFor } from '../../util/wait-for.ts';
import { SinkError } from '../../sinks/sink.ts';
import { RegistryRefusal, type RegistryClient } from './registry-client.ts';

export interface SchemaAsked {
  readonly subject: string;
  readonly text: string;
  readonly schemaType: 'AVRO' | 'PROTOBUF';
  /** Whether it is put there where it is not; else it is only looked up. */
  readonly register: boolean;
}

/** A schema that a registry had under one number, and has under another now: it lost what it had. */
export interface ChangedNumber {
  readonly subject: string;
  readonly before: number;
  readonly now: number;
}

export interface SchemaIdsOptions {
  readonly client: Pick<RegistryClient, 'register' | 'lookUp'>;
  readonly onChanged?: (change: ChangedNumber) => void;
  /** A registry has something against being asked again; what it said last stands. */
  readonly onTrouble?: (subject: string, error: SinkError) => void;
  /** Milliseconds of a clock that goes on evenly. */
  readonly now?: () => number;
}

/** The longest that a question may take that nobody waits for any more. */
const MAX_QUESTION_MS = 60_000;
/** A number that was confirmed so long ago is asked for again by who needs it next: the registry may have been made anew. */
export const CONFIRM_EVERY_MS = 60_000;
/** For how long rows wait for that, whose number is known: a registry that is away holds up nobody. */
const CONFIRM_PATIENCE_MS = 2_000;
const NOT_FOUND = 404;

/** The numbers that a registry has given to schemas. Tablets that ask at the same time for the same wait for one answer. */
export class SchemaIds {
  readonly #options: SchemaIdsOptions;
  readonly #known = new Map<string, SchemaId>();

  constructor(options: SchemaIdsOptions) {
    this.#options = options;
  }

  of(schema: SchemaAsked): SchemaId {
    const key = JSON.stringify([schema.subject, schema.schemaType, schema.text, schema.register]);
    let id = this.#known.get(key);
    if (!id) this.#known.set(key, (id = new SchemaId(schema, this.#options)));
    return id;
  }
}

/** The number of one schema. */
export class SchemaId {
  readonly #schema: SchemaAsked;
  readonly #options: SchemaIdsOptions;
  readonly #now: () => number;
  #id: number | null = null;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asked: Promise<number> | null = null;

  constructor(schema: SchemaAsked, options: SchemaIdsOptions) {
    this.#schema = schema;
    this.#options = options;
    this.#now = options.now ?? performance.now.bind(performance);
  }

  /** What can be written without asking; null where {@link get} has to be waited for. */
  get confirmed(): number | null {
    return this.#now() - this.#askedAtMs < CONFIRM_EVERY_MS ? this.#id : null;
  }

  /** @throws {SinkError} as the client does. Of a number that is known: only where the registry has not the schema any more */
  async get(signal: AbortSignal): Promise<number> {
    const { confirmed } = this;
    if (confirmed !== null) return confirmed;
    const known = this.#id;
    this.#asked ??= (known === null ? this.#ask() : this.#confirm(known)).finally(() => (this.#asked = null));
    if (known === null) return waitFor(this.#asked, signal);
    using patience = new TimeLimit(signal, CONFIRM_PATIENCE_MS);
    try {
      return await waitFor(this.#asked, patience.signal);
    } catch (error) {
      if (signal.aborted || !patience.signal.aborted) throw error;
      return this.#id ?? (await this.get(signal)); // null: it is lost already, only not there again yet
    }
  }

  /** Not bound to the one who asked first: others may wait for the answer. */
  async #ask(): Promise<number> {
    const { client } = this.#options;
    const { subject, register, ...schema } = this.#schema;
    const signal = AbortSignal.timeout(MAX_QUESTION_MS);
    return this.#is(
      await (register ? client.register(subject, schema, signal) : client.lookUp(subject, schema, signal)),
    );
  }

  /** Rows go on under the number that is known meanwhile, all but those of who asks. */
  async #confirm(known: number): Promise<number> {
    const { client, onChanged, onTrouble } = this.#options;
    const { subject, register, ...schema } = this.#schema;
    this.#askedAtMs = this.#now();
    const signal = AbortSignal.timeout(MAX_QUESTION_MS);
    let id: number;
    try {
      id = await client.lookUp(subject, schema, signal);
    } catch (error) {
      if (!isNotFound(error)) {
        // It cannot say that the number is good, nor that it is not.
        if (error instanceof SinkError && error.kind === 'refused') onTrouble?.(subject, error);
        return known;
      }
      this.#id = null;
      if (!register) throw error;
      id = await client.register(subject, schema, signal);
    }
    if (id !== known) onChanged?.({ subject, before: known, now: id });
    return this.#is(id);
  }

  #is(id: number): number {
    this.#id = id;
    this.#askedAtMs = this.#now();
    return id;
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof RegistryRefusal && error.status === NOT_FOUND;
}
