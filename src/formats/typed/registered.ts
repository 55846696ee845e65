import type { Change, ChangeBatch } from '../../change/change.ts';
import { RecordKind, type RecordBatch } from '../../change/record-batch.ts';
import type { RecordSchemas } from '../../change/record.ts';
import { hybridTimeToMicros } from '../../kudu/hybrid-time.ts';
import type { TableSchema } from '../../kudu/schema.ts';
import { SinkError } from '../../sinks/sink.ts';
import type { RecordFormat } from '../format.ts';
import { encodeSchemaChange, encodeTabletEvent } from '../json-schema.ts';
import type { SchemaId, SchemaIds } from '../registry/schema-ids.ts';
import { letterOf } from '../op-words.ts';
import type { RowWriter, SchemaTexts, TypedFormat } from './row-writer.ts';

/** Which subject a schema has, in the words of Confluent's serialisers. */
export type SubjectNames = 'topic' | 'record' | 'topic-record';

export interface RegisteredOptions {
  readonly format: TypedFormat;
  /** The numbers of schemas; null where there is no registry, and the schemas themselves go with the records. */
  readonly ids: SchemaIds | null;
  readonly subject: SubjectNames;
  /** Whether a schema that the registry does not know is put there; else somebody else has to. */
  readonly autoRegister: boolean;
  /** Where the records of a table go, by its name. @throws {RangeError} nowhere */
  readonly topicOf: (tableName: string) => string;
  readonly tombstones: boolean;
}

/** What is ready for the rows of a table in one version of it. */
interface ReadyTable {
  readonly writer: RowWriter;
  readonly key: Frame;
  readonly value: Frame;
  /** That go with its records; null where a registry has them. */
  readonly schemas: RecordSchemas | null;
}

const MAGIC = 0;
const FRAME_BYTES = 5;
/** Of both frames, whatever a format adds. */
const MAX_FRAMES_BYTES = 64;
const NO_KEY = Buffer.alloc(0);

/**
 * Records in Confluent's framing, their schemas in a registry; or without a frame, their schemas beside them. Schema changes and what befell a tablet stay JSON in a topic of
 * their own; a mark has neither key nor value, which every reader of such records passes over, and says what it is in its headers.
 */
export class RegisteredFormat implements RecordFormat {
  readonly needsWholeRows = true;
  readonly #options: RegisteredOptions;
  readonly #tables = new WeakMap<TableSchema, Map<string, ReadyTable>>();

  constructor(options: RegisteredOptions) {
    this.#options = options;
  }

  /** A version is registered when the table takes it, whether rows follow or not: so the registry sees every one, in order. */
  async prepare(changes: readonly Change[], signal: AbortSignal): Promise<void> {
    for (const change of changes) {
      if (change.kind === 'rows') await this.#makeReady(change.tablet.tableName, change.schema, signal);
      else if (change.kind === 'schema' && (this.#options.autoRegister || this.#options.ids === null))
        await this.#makeReady(change.after.tableName, change.after.schema, signal);
    }
  }

  encode(change: Change, fromRow: number, out: RecordBatch): number | null {
    switch (change.kind) {
      case 'rows':
        return this.#encodeRows(change, fromRow, out);
      case 'schema': {
        const schemas = this.#tables.get(change.after.schema)?.get(change.after.tableName)?.schemas;
        out.append({ ...encodeSchemaChange(change), ...(schemas && { schemas }) });
        return null;
      }
      case 'event':
        out.append(encodeTabletEvent(change));
        return null;
      case 'resolved': {
        const { tablet, hybridTime } = change;
        const timestampMs = millisOf(hybridTime);
        const position = `${tablet.tabletId}/${hybridTime}`;
        out.append({ kind: 'resolved', table: tablet.tableName, key: NO_KEY, value: null, position, timestampMs });
        return null;
      }
    }
  }

  #encodeRows(batch: ChangeBatch, fromRow: number, records: RecordBatch): number | null {
    const { tablet, opId, hybridTime, rowCount, partial, rowIndexes } = batch;
    const isCopy = batch.copy !== null;
    const table = this.#tables.get(batch.schema)?.get(tablet.tableName);
    if (!table) throw new TypeError('rows of a table that was not prepared');
    const { writer } = table;
    const [keyFrame, valueFrame] = [table.key.bytes, table.value.bytes];
    const position = isCopy ? `base.${hybridTime}` : `${opId.term}.${opId.index}.`;
    writer.begin(batch);
    records.begin(tablet.tableName, `${tablet.tabletId}/${position}`, millisOf(hybridTime), table.schemas);
    for (let row = fromRow; row < rowCount; row++) {
      if (records.isFull) return row;
      if (partial?.[row] === 1)
        throw new RangeError(
          "the row cannot be read as it was then, since the table's history does not reach back so far: a resync ships it as it is now",
        );
      records.reserve(MAX_FRAMES_BYTES + writer.maxBytes(batch, row));
      const out = records.bytes;
      const start = records.at;
      const keyStart = copy(out, start, keyFrame);
      const valueStart = writer.writeKey(out, keyStart, batch, row);
      const bodyStart = copy(out, valueStart, valueFrame);
      const end = writer.writeValue(out, bodyStart, batch, row, keyStart, valueStart);
      records.add(RecordKind.ROW, isCopy ? null : rowIndexes[row]!, start, valueStart, end);
      if (this.#options.tombstones && letterOf(batch, row) === 'd') records.addTombstone();
    }
    return null;
  }

  async #makeReady(tableName: string, schema: TableSchema, signal: AbortSignal): Promise<void> {
    let tables = this.#tables.get(schema);
    if (!tables) this.#tables.set(schema, (tables = new Map<string, ReadyTable>()));
    let table = tables.get(tableName);
    if (table?.key.isConfirmed && table.value.isConfirmed) return;
    table ??= this.#compile(tableName, schema);
    await table.key.makeReady(signal);
    await table.value.makeReady(signal);
    tables.set(tableName, table);
  }

  #compile(tableName: string, schema: TableSchema): ReadyTable {
    const { format, ids, autoRegister: register, subject } = this.#options;
    const { schemaType, preamble } = format;
    const { texts, topic, writer } = this.#describe(tableName, schema);
    if (ids === null)
      return { writer, key: UNFRAMED, value: UNFRAMED, schemas: { key: texts.key, value: texts.value } };
    const subjects = subjectsOf(texts, topic, subject);
    const frameOf = (which: 'key' | 'value'): Frame =>
      new RegisteredFrame(ids.of({ subject: subjects[which], text: texts[which], schemaType, register }), preamble);
    return { writer, key: frameOf('key'), value: frameOf('value'), schemas: null };
  }

  /** @throws {SinkError} `refused`: the table has no schema in this format */
  #describe(
    tableName: string,
    schema: TableSchema,
  ): { readonly texts: SchemaTexts; readonly topic: string; readonly writer: RowWriter } {
    const { format, topicOf } = this.#options;
    try {
      const topic = topicOf(tableName);
      return { topic, texts: format.schemas(schema, topic), writer: format.compile(schema, topic) };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new SinkError('refused', `table ${JSON.stringify(tableName)} has no schema: ${error.message}`, error);
    }
  }
}

/** Subjects of the two schemas of a table. */
export function subjectsOf(
  { keyName, valueName }: SchemaTexts,
  topic: string,
  names: SubjectNames,
): { readonly key: string; readonly value: string } {
  switch (names) {
    case 'topic':
      return { key: `${topic}-key`, value: `${topic}-value` };
    case 'record':
      return { key: keyName, value: valueName };
    case 'topic-record':
      return { key: `${topic}-${keyName}`, value: `${topic}-${valueName}` };
  }
}

/** What stands before each key, or each value. */
interface Frame {
  readonly bytes: Buffer;
  readonly isConfirmed: boolean;
  makeReady(signal: AbortSignal): Promise<void>;
}

const UNFRAMED: Frame = { bytes: NO_KEY, isConfirmed: true, makeReady: () => Promise.resolve() };

/** Magic byte, number of the schema, and what the format adds. */
class RegisteredFrame implements Frame {
  bytes = NO_KEY;
  readonly #id: SchemaId;
  readonly #preamble: Buffer;
  #number: number | null = null;

  constructor(id: SchemaId, preamble: Buffer) {
    this.#id = id;
    this.#preamble = preamble;
  }

  /** Whether the registry was asked a while ago at most, and the bytes have what it said. */
  get isConfirmed(): boolean {
    const { confirmed } = this.#id;
    return confirmed !== null && confirmed === this.#number;
  }

  async makeReady(signal: AbortSignal): Promise<void> {
    const number = await this.#id.get(signal);
    if (number === this.#number) return;
    const bytes = Buffer.alloc(FRAME_BYTES);
    bytes[0] = MAGIC;
    bytes.writeInt32BE(number, 1);
    this.bytes = Buffer.concat([bytes, this.#preamble]);
    this.#number = number;
  }
}

function copy(out: Buffer, at: number, from: Buffer): number {
  for (let i = 0; i < from.length; i++) out[at + i] = from[i]!;
  return at + from.length;
}

function millisOf(hybridTime: bigint): number {
  return Math.floor(Number(hybridTimeToMicros(hybridTime)) / 1000);
}
