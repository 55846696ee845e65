import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { ColumnSchema, DataType } from '../kudu/schema.ts';
import {
  RecordOp,
  type DecodedRecord,
  type EncodedRecord,
  type RecordCells,
  type RecordDecoder,
  type RowRecord,
  type TombstoneRecord,
} from './decoder.ts';
import { numberOf, objectOf, scalarOf, textOf } from './json-members.ts';
import { decodeJsonSchema } from './json-schema-decode.ts';
import { jsonLayout, type JsonLayout } from './json-definition.ts';
import { ValueReader } from './json-value-decode.ts';
import { parseRawJson, type RawJson, type RawObject } from './raw-json.ts';

/** Reads what json.ts writes. @param images of the stream: whether an `after` that is not marked as partial is a whole row */
export function jsonDecoder(streamName: string, images: Images = 'changed', layout: JsonLayout = PLAIN): RecordDecoder {
  const values = new ValueReader(layout);
  const stream = { name: streamName, hasWholeImages: images !== 'changed', isBlock: layout.schema === 'block', values };
  return {
    decode: (record) => decode(record, stream),
    decodeSchema: ({ value }) => (value === null ? null : decodeJsonSchema(value)),
    canonical: (column, text) => values.canonical(column, text),
    shown: (type, value) => values.shown(type, value),
  };
}

const PLAIN = jsonLayout({ type: 'json' });
const PLAIN_VALUES = new ValueReader(PLAIN);

/** How the records of a stream are written. */
interface StreamForm {
  readonly name: string;
  readonly hasWholeImages: boolean;
  /** Keys and values are payloads beside their schemas. */
  readonly isBlock: boolean;
  readonly values: ValueReader;
}

/** What an update carries, as a stream's definition says. */
export type Images = 'after' | 'full' | 'changed';

/** What `op` says. Of updates `kudu_op` says more. */
const OPS: ReadonlyMap<string, RecordOp> = new Map([
  ['"c"', RecordOp.INSERT],
  ['"u"', RecordOp.UPDATE],
  ['"d"', RecordOp.DELETE],
  ['"r"', RecordOp.COPY],
]);
const UPDATES: ReadonlyMap<string, RecordOp> = new Map([
  ['"UPSERT"', RecordOp.UPSERT],
  ['"UPSERT_IGNORE"', RecordOp.UPSERT_IGNORE],
]);
/** What `snapshot` says of a record of a copy; `true` without quotes was written by version 0.1. */
const COPIES: readonly unknown[] = ['"true"', '"incremental"', 'true'];
/** What `source.image` says of an image that is not whole. */
const NOT_WHOLE: ReadonlySet<unknown> = new Set(['"partial"', '"key-only"']);
const MARK: DecodedRecord = { kind: 'mark' };

function decode({ key, value }: EncodedRecord, stream: StreamForm): DecodedRecord {
  if (value === null) return key === null ? MARK : new JsonTombstone(key, stream);
  const text = value.toString();
  const envelope = payloadOf(text, stream);
  if (envelope.has('resolved')) return MARK;
  const source = objectOf(envelope.get('source'));
  const tabletId = textOf(source.get('tablet_id'));
  if (source.has('name') && textOf(source.get('name')) !== stream.name) return { kind: 'foreign', tabletId };
  return new JsonRow(key, text, envelope, source, tabletId, stream);
}

function payloadOf(text: string, { isBlock }: StreamForm): RawObject {
  const json = objectOf(parseRawJson(text));
  return isBlock && json.has('payload') ? objectOf(json.get('payload')) : json;
}

class JsonRow implements RowRecord {
  readonly kind = 'row';
  readonly tabletId: string;
  readonly #key: Buffer | null;
  readonly #text: string;
  readonly #envelope: RawObject;
  readonly #source: RawObject;
  readonly #stream: StreamForm;

  constructor(
    key: Buffer | null,
    text: string,
    envelope: RawObject,
    source: RawObject,
    tabletId: string,
    stream: StreamForm,
  ) {
    this.#key = key;
    this.#text = text;
    this.#envelope = envelope;
    this.#source = source;
    this.tabletId = tabletId;
    this.#stream = stream;
  }

  get tableId(): string {
    return textOf(this.#source.get('table_id'));
  }

  get op(): RecordOp {
    const op = OPS.get(scalarOf(this.#envelope.get('op')));
    if (op === undefined) throw new SyntaxError('an operation that is none');
    if (op === RecordOp.DELETE && COPIES.includes(this.#source.get('snapshot'))) return RecordOp.COPY_DELETE;
    return op === RecordOp.UPDATE ? (UPDATES.get(scalarOf(this.#source.get('kudu_op') ?? 'null')) ?? op) : op;
  }

  get term(): number {
    return numberOf(this.#source.get('term'));
  }

  get index(): number {
    return numberOf(this.#source.get('index'));
  }

  get row(): number {
    const { op } = this;
    const row = this.#source.get('row');
    return op === RecordOp.COPY || op === RecordOp.COPY_DELETE || row === 'null' ? 0 : numberOf(row);
  }

  get time(): HybridTime {
    return BigInt(textOf(this.#source.get('hybrid_time')));
  }

  get cells(): RecordCells {
    return new JsonCells(this.#image, this.#stream.values);
  }

  get isWhole(): boolean {
    const { op } = this;
    if (op === RecordOp.INSERT || op === RecordOp.COPY) return true;
    return this.#stream.hasWholeImages && !NOT_WHOLE.has(this.#source.get('image'));
  }

  checkKey(columns: readonly ColumnSchema[]): void {
    if (this.#key === null) return;
    const key = this.#key.toString();
    // An image of ours begins with the key as it is; beside a schema it is not looked for.
    const start = `"${this.#imageName}":${key.slice(0, -1)}`;
    const at = this.#text.indexOf(start);
    const next = this.#text[at + start.length];
    if (at >= 0 && (next === ',' || next === '}')) return;
    const json = payloadOf(key, this.#stream);
    const image = this.#image;
    const isSame =
      json.size === columns.length && columns.every(({ name }) => isEqual(json.get(name), image.get(name)));
    if (!isSame) throw new SyntaxError('its key is not that of its value');
  }

  get #image(): RawObject {
    return objectOf(this.#envelope.get(this.#imageName));
  }

  get #imageName(): 'before' | 'after' {
    return OPS.get(scalarOf(this.#envelope.get('op'))) === RecordOp.DELETE ? 'before' : 'after';
  }
}

class JsonTombstone implements TombstoneRecord {
  readonly kind = 'tombstone';
  readonly #key: Buffer;
  readonly #stream: StreamForm;

  constructor(key: Buffer, stream: StreamForm) {
    this.#key = key;
    this.#stream = stream;
  }

  get cells(): RecordCells {
    return new JsonCells(payloadOf(this.#key.toString(), this.#stream), this.#stream.values);
  }
}

/** The members of an image or key, each as it is written. */
export class JsonCells implements RecordCells {
  readonly names: readonly string[];
  readonly #members: RawObject;
  readonly #values: ValueReader;

  constructor(members: RawObject, values: ValueReader = PLAIN_VALUES) {
    this.#values = values;
    this.names = [...members.keys()];
    this.#members = members;
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  fits(name: string, type: DataType): boolean {
    const raw = this.#members.get(name);
    return typeof raw === 'string' && this.#values.fits(type, raw);
  }

  textOf(name: string): string {
    return scalarOf(this.#members.get(name));
  }

  keyCell(column: ColumnSchema): Buffer {
    return this.#values.keyCell(column, this.textOf(column.name));
  }
}

function isEqual(a: RawJson | undefined, b: RawJson | undefined): boolean {
  return typeof a === 'string' && a === b;
}
