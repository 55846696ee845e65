import type { Change, ChangeBatch } from '../../change/change.ts';
import { RecordKind, type RecordBatch } from '../../change/record-batch.ts';
import { hybridTimeToMicros } from '../../kudu/hybrid-time.ts';
import type { TableSchema } from '../../kudu/schema.ts';
import { SinkError } from '../../sinks/sink.ts';
import type { RecordFormat } from '../format.ts';
import { encodeSchemaChange, encodeTabletEvent } from '../json-schema.ts';
import type { SchemaIds } from '../registry/schema-ids.ts';
import { letterOf } from '../op-words.ts';
import type { RowWriter, SchemaTexts, TypedFormat } from './row-writer.ts';

/** Which subject a schema has, in the words of Confluent's serialisers. */
export type SubjectNames = 'topic' | 'record' | 'topic-record';

export interface RegisteredOptions {
  readonly format: TypedFormat;
  readonly ids: SchemaIds;
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
  /** What stands before each key and value: magic byte, number of the schema, and what the format adds. */
  readonly keyFrame: Buffer;
  readonly valueFrame: Buffer;
}

const MAGIC = 0;
const FRAME_BYTES = 5;
/** Of both frames, whatever a format adds. */
const MAX_FRAMES_BYTES = 64;
const NO_KEY = Buffer.alloc(0);

/**
 * Records in Confluent's framing, their schemas in a registry. Schema changes and what befell a tablet stay JSON in a topic of
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
      else if (change.kind === 'schema' && this.#options.autoRegister)
        await this.#makeReady(change.after.tableName, change.after.schema, signal);
    }
  }

  encode(change: Change, fromRow: number, out: RecordBatch): number | null {
    switch (change.kind) {
      case 'rows':
        return this.#encodeRows(change, fromRow, out);
      case 'schema':
        out.append(encodeSchemaChange(change));
        return null;
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
    const { writer, keyFrame, valueFrame } = table;
    const position = isCopy ? `base.${hybridTime}` : `${opId.term}.${opId.index}.`;
    writer.begin(batch);
    records.begin(tablet.tableName, `${tablet.tabletId}/${position}`, millisOf(hybridTime));
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
    const known = this.#tables.get(schema);
    if (known?.has(tableName)) return;
    const { format, ids, autoRegister } = this.#options;
    const { texts, topic, writer } = this.#describe(tableName, schema);
    const { key: keySubject, value: valueSubject } = subjectsOf(texts, topic, this.#options.subject);
    const idOf = (subject: string, text: string): Promise<number> =>
      ids.idOf({ subject, text, schemaType: format.schemaType, register: autoRegister }, signal);
    const keyFrame = frame(await idOf(keySubject, texts.key), format.preamble);
    const valueFrame = frame(await idOf(valueSubject, texts.value), format.preamble);
    const ready = known ?? new Map<string, ReadyTable>();
    ready.set(tableName, { writer, keyFrame, valueFrame });
    this.#tables.set(schema, ready);
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
function subjectsOf(
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

function frame(id: number, preamble: Buffer): Buffer {
  const bytes = Buffer.alloc(FRAME_BYTES);
  bytes[0] = MAGIC;
  bytes.writeInt32BE(id, 1);
  return Buffer.concat([bytes, preamble]);
}

function copy(out: Buffer, at: number, from: Buffer): number {
  for (let i = 0; i < from.length; i++) out[at + i] = from[i]!;
  return at + from.length;
}

function millisOf(hybridTime: bigint): number {
  return Math.floor(Number(hybridTimeToMicros(hybridTime)) / 1000);
}
