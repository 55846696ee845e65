import type { DecodedRecord, EncodedRecord, RecordDecoder, SchemaRecord, TabletEventRecord } from '../decoder.ts';
import { EnvelopeRow, MemberCells } from '../envelope-row.ts';
import { decodeJsonSchema } from '../json-schema-decode.ts';
import { objectOf, textOf } from '../json-members.ts';
import { ValueReader } from '../json-value-decode.ts';
import type { LossyOptions } from '../lossy-keys.ts';
import type { RawObject } from '../raw-json.ts';
import type { RegistryClient, SchemaText } from '../registry/registry-client.ts';

/**
 * Reads what was written under one schema. What it gives is in the form of a JSON record, decimals that are no doubles as text and
 * times as {@link RegisteredDecoderOptions.times} says: from there on the formats are read alike.
 */
export type RecordReader = (record: Buffer) => RawObject;
/** @throws {SyntaxError} it is no schema of ours */
export type ReaderCompiler = (schema: SchemaText) => RecordReader;

const MAGIC = 0;
const FRAME_BYTES = 5;

export interface RegisteredDecoderOptions extends LossyOptions {
  readonly streamName: string;
  readonly images: 'after' | 'full';
  /** Null: records have their schemas with them. */
  readonly registry: Pick<RegistryClient, 'schemaOf'> | null;
  readonly compile: ReaderCompiler;
  /** How readers give times, where schemas say what is written; else as the stream's options have them. */
  readonly times?: LossyOptions['time'];
}

/** Reads records in Confluent's framing, whose schemas are in a registry; or without it, and with their schemas. */
export class RegisteredDecoder implements RecordDecoder {
  readonly #options: RegisteredDecoderOptions;
  readonly #values: ValueReader;
  readonly #shown: ValueReader;
  /** By the number of a schema; a text where there is no such schema, or none that can be read. */
  readonly #readers = new Map<number, RecordReader | string>();
  /** By the text of a schema. */
  readonly #compiled = new Map<string, RecordReader>();

  constructor(options: RegisteredDecoderOptions) {
    this.#options = options;
    const { decimals, time, times = time } = options;
    const values = {
      decimals: decimals === 'double' ? 'nearest' : 'string',
      binary: 'base64',
      nonFinite: 'string',
    } as const;
    this.#values = new ValueReader({ ...values, time: times });
    this.#shown = new ValueReader({ ...values, time });
  }

  /** @throws {SinkError} `unavailable`: the registry cannot be asked; `refused`: we may not */
  async prepare(records: readonly EncodedRecord[], signal: AbortSignal): Promise<void> {
    const { registry } = this.#options;
    if (registry === null) return;
    for (const { key, value } of records) {
      for (const bytes of [key, value]) {
        const id = bytes === null ? null : schemaIdOf(bytes);
        if (id === null || this.#readers.has(id)) continue;
        this.#readers.set(id, await this.#readerOf(registry, id, signal));
      }
    }
  }

  decode({ key, value, schemas }: EncodedRecord): DecodedRecord {
    if (value === null) {
      if (key === null) return { kind: 'mark' };
      return { kind: 'tombstone', cells: new MemberCells(this.#read(key, schemas?.key), this.#values) };
    }
    const envelope = this.#read(value, schemas?.value);
    const source = objectOf(envelope.get('source'));
    const { streamName, images } = this.#options;
    if (textOf(source.get('name')) !== streamName)
      return { kind: 'foreign', tabletId: textOf(source.get('tablet_id')) };
    const ownKey = key && this.#read(key, schemas?.key);
    return new EnvelopeRow({
      envelope,
      source,
      key: () => ownKey,
      images,
      values: this.#values,
      deletesHaveNulls: true,
    });
  }

  decodeSchema({ value }: EncodedRecord): SchemaRecord | TabletEventRecord | null {
    return value && decodeJsonSchema(value);
  }

  canonical: RecordDecoder['canonical'] = (column, text) => this.#values.canonical(column, text);

  shown: NonNullable<RecordDecoder['shown']> = (type, value) => this.#shown.shown(type, value);

  #read(bytes: Buffer, text: string | undefined): RawObject {
    if (this.#options.registry === null) return this.#compile(text)(bytes);
    const id = schemaIdOf(bytes);
    if (id === null) throw new SyntaxError('it does not begin with the number of a schema');
    const reader = this.#readers.get(id);
    if (reader === undefined) throw new TypeError('a record that was not prepared');
    if (typeof reader === 'string') throw new SyntaxError(reader);
    return reader(bytes.subarray(FRAME_BYTES));
  }

  #compile(text: string | undefined): RecordReader {
    if (text === undefined) throw new SyntaxError('there is no schema with it');
    let reader = this.#compiled.get(text);
    if (!reader) this.#compiled.set(text, (reader = this.#options.compile({ schemaType: 'AVRO', text })));
    return reader;
  }

  async #readerOf(
    registry: Pick<RegistryClient, 'schemaOf'>,
    id: number,
    signal: AbortSignal,
  ): Promise<RecordReader | string> {
    const schema = await registry.schemaOf(id, signal);
    if (schema === null) return `the registry has no schema ${id}`;
    try {
      return this.#options.compile(schema);
    } catch (error) {
      if (error instanceof SyntaxError) return `schema ${id} ${error.message}`;
      throw error;
    }
  }
}

function schemaIdOf(bytes: Buffer): number | null {
  return bytes.length >= FRAME_BYTES && bytes[0] === MAGIC ? bytes.readInt32BE(1) : null;
}
