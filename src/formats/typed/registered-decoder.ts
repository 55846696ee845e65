import type { HybridTime } from '../../kudu/hybrid-time.ts';
import type { ColumnSchema, DataType } from '../../kudu/schema.ts';
import {
  RecordOp,
  type DecodedRecord,
  type EncodedRecord,
  type RecordCells,
  type RecordDecoder,
  type RowRecord,
  type SchemaRecord,
  type TabletEventRecord,
} from '../decoder.ts';
import { jsonDecoder, JsonCells } from '../json-decode.ts';
import { numberOf, objectOf, scalarOf, textOf } from '../json-members.ts';
import { ValueReader } from '../json-value-decode.ts';
import type { LossyOptions } from '../lossy-keys.ts';
import type { RawObject } from '../raw-json.ts';
import type { RegistryClient, SchemaText } from '../registry/registry-client.ts';

/**
 * Reads what was written under one schema. What it gives is in the form of a JSON record, its scalars as JSON with the stream's
 * options would have them: from there on the formats are read alike.
 */
export type RecordReader = (record: Buffer) => RawObject;
/** @throws {SyntaxError} it is no schema of ours */
export type ReaderCompiler = (schema: SchemaText) => RecordReader;

const MAGIC = 0;
const FRAME_BYTES = 5;

export interface RegisteredDecoderOptions {
  readonly streamName: string;
  readonly registry: Pick<RegistryClient, 'schemaOf'>;
  readonly compile: ReaderCompiler;
  /** As the stream's records have decimals and times. */
  readonly values: LossyOptions;
}

/** Reads records in Confluent's framing, whose schemas are in a registry. */
export class RegisteredDecoder implements RecordDecoder {
  readonly #options: RegisteredDecoderOptions;
  readonly #values: ValueReader;
  /** By the number of a schema; a text where there is no such schema, or none that can be read. */
  readonly #readers = new Map<number, RecordReader | string>();
  readonly #json: RecordDecoder;

  constructor(options: RegisteredDecoderOptions) {
    const { decimals, time } = options.values;
    this.#options = options;
    this.#values = new ValueReader({
      decimals: decimals === 'double' ? 'nearest' : decimals,
      time,
      binary: 'base64',
      nonFinite: 'string',
    });
    this.#json = jsonDecoder(options.streamName);
  }

  /** @throws {SinkError} `unavailable`: the registry cannot be asked; `refused`: we may not */
  async prepare(records: readonly EncodedRecord[], signal: AbortSignal): Promise<void> {
    for (const { key, value } of records) {
      for (const bytes of [key, value]) {
        const id = bytes === null ? null : schemaIdOf(bytes);
        if (id === null || this.#readers.has(id)) continue;
        this.#readers.set(id, await this.#readerOf(id, signal));
      }
    }
  }

  decode({ key, value }: EncodedRecord): DecodedRecord {
    if (value === null) {
      if (key === null) return { kind: 'mark' };
      return { kind: 'tombstone', cells: new JsonCells(this.#read(key), this.#values) };
    }
    const envelope = this.#read(value);
    const source = objectOf(envelope.get('source'));
    const tabletId = textOf(source.get('tablet_id'));
    if (textOf(source.get('name')) !== this.#options.streamName) return { kind: 'foreign', tabletId };
    return new TypedRow(key === null ? null : this.#read(key), envelope, source, this.#values);
  }

  decodeSchema(record: EncodedRecord): SchemaRecord | TabletEventRecord | null {
    return this.#json.decodeSchema(record);
  }

  canonical: RecordDecoder['canonical'] = (column, text) => this.#values.canonical(column, text);

  shown(type: DataType, value: Buffer): Buffer {
    return this.#values.shown(type, value);
  }

  #read(bytes: Buffer): RawObject {
    const id = schemaIdOf(bytes);
    if (id === null) throw new SyntaxError('it does not begin with the number of a schema');
    const reader = this.#readers.get(id);
    if (reader === undefined) throw new TypeError('a record that was not prepared');
    if (typeof reader === 'string') throw new SyntaxError(reader);
    return reader(bytes.subarray(FRAME_BYTES));
  }

  async #readerOf(id: number, signal: AbortSignal): Promise<RecordReader | string> {
    const schema = await this.#options.registry.schemaOf(id, signal);
    if (schema === null) return `the registry has no schema ${id}`;
    try {
      return this.#options.compile(schema);
    } catch (error) {
      if (error instanceof SyntaxError) return `schema ${id} ${error.message}`;
      throw error;
    }
  }
}

const OPS: ReadonlyMap<string, RecordOp> = new Map([
  ['c', RecordOp.INSERT],
  ['u', RecordOp.UPDATE],
  ['d', RecordOp.DELETE],
  ['r', RecordOp.COPY],
]);
const UPDATES: ReadonlyMap<string, RecordOp> = new Map([
  ['"UPSERT"', RecordOp.UPSERT],
  ['"UPSERT_IGNORE"', RecordOp.UPSERT_IGNORE],
]);

class TypedRow implements RowRecord {
  readonly kind = 'row';
  readonly tabletId: string;
  readonly #key: RawObject | null;
  readonly #envelope: RawObject;
  readonly #source: RawObject;
  readonly #values: ValueReader;

  constructor(key: RawObject | null, envelope: RawObject, source: RawObject, values: ValueReader) {
    this.#key = key;
    this.#envelope = envelope;
    this.#source = source;
    this.#values = values;
    this.tabletId = textOf(source.get('tablet_id'));
  }

  get tableId(): string {
    return textOf(this.#source.get('table_id'));
  }

  get op(): RecordOp {
    const op = OPS.get(textOf(this.#envelope.get('op')));
    if (op === undefined) throw new SyntaxError('an operation that is none');
    const isCopy = textOf(this.#source.get('snapshot')) !== 'false';
    if (op === RecordOp.DELETE && isCopy) return RecordOp.COPY_DELETE;
    return op === RecordOp.UPDATE ? (UPDATES.get(scalarOf(this.#source.get('kudu_op') ?? 'null')) ?? op) : op;
  }

  get term(): number {
    return numberOf(this.#source.get('term'));
  }

  get index(): number {
    return numberOf(this.#source.get('index'));
  }

  get row(): number {
    const row = this.#source.get('row') ?? 'null';
    return row === 'null' ? 0 : numberOf(row);
  }

  get time(): HybridTime {
    return BigInt(textOf(this.#source.get('hybrid_time')));
  }

  /** The other columns of a delete are null where they are not known. */
  get cells(): RecordCells {
    const after = this.#envelope.get('after');
    if (after instanceof Map) return new JsonCells(after as RawObject, this.#values);
    const before = objectOf(this.#envelope.get('before'));
    if (this.#key === null) return new JsonCells(before, this.#values);
    return new JsonCells(new Map([...before].filter(([name]) => this.#key!.has(name))), this.#values);
  }

  /** As a schema promises. */
  get isWhole(): boolean {
    return true;
  }

  checkKey(columns: readonly ColumnSchema[]): void {
    if (this.#key === null) return;
    const image = this.cells;
    const key = new JsonCells(this.#key, this.#values);
    const isSame =
      key.names.length === columns.length &&
      columns.every(({ name }) => key.has(name) && image.has(name) && key.textOf(name) === image.textOf(name));
    if (!isSame) throw new SyntaxError('its key is not that of its value');
  }
}

function schemaIdOf(bytes: Buffer): number | null {
  return bytes.length >= FRAME_BYTES && bytes[0] === MAGIC ? bytes.readInt32BE(1) : null;
}
