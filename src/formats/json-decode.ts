import type { HybridTime } from '../kudu/hybrid-time.ts';
import { DataType, type ColumnSchema } from '../kudu/schema.ts';
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
import { canonicalText, isOfType, keyCell } from './json-values.ts';
import { parseRawJson, type RawJson, type RawObject } from './raw-json.ts';

/** Reads what json.ts writes. @param images of the stream: whether an `after` that is not marked as partial is a whole row */
export function jsonDecoder(streamName: string, images: Images = 'changed'): RecordDecoder {
  const isWhole = images !== 'changed';
  return {
    decode: (record) => decode(record, streamName, isWhole),
    decodeSchema: ({ value }) => (value === null ? null : decodeJsonSchema(value)),
    canonical,
  };
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
const BACKSLASH = 0x5c;

function decode({ key, value }: EncodedRecord, streamName: string, isWhole: boolean): DecodedRecord {
  if (value === null) return key === null ? MARK : new JsonTombstone(key);
  const text = value.toString();
  const envelope = objectOf(parseRawJson(text));
  if (envelope.has('resolved')) return MARK;
  const source = objectOf(envelope.get('source'));
  const tabletId = textOf(source.get('tablet_id'));
  if (source.has('name') && textOf(source.get('name')) !== streamName) return { kind: 'foreign', tabletId };
  return new JsonRow(key, text, envelope, source, tabletId, isWhole);
}

class JsonRow implements RowRecord {
  readonly kind = 'row';
  readonly tabletId: string;
  readonly #key: Buffer | null;
  readonly #text: string;
  readonly #envelope: RawObject;
  readonly #source: RawObject;
  readonly #hasWholeImages: boolean;

  constructor(
    key: Buffer | null,
    text: string,
    envelope: RawObject,
    source: RawObject,
    tabletId: string,
    hasWholeImages: boolean,
  ) {
    this.#key = key;
    this.#text = text;
    this.#envelope = envelope;
    this.#source = source;
    this.tabletId = tabletId;
    this.#hasWholeImages = hasWholeImages;
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
    return new JsonCells(this.#image);
  }

  get isWhole(): boolean {
    const { op } = this;
    if (op === RecordOp.INSERT || op === RecordOp.COPY) return true;
    return this.#hasWholeImages && !NOT_WHOLE.has(this.#source.get('image'));
  }

  checkKey(columns: readonly ColumnSchema[]): void {
    if (this.#key === null) return;
    const key = this.#key.toString();
    // An image of ours begins with the key as it is.
    const start = `"${this.#imageName}":${key.slice(0, -1)}`;
    const at = this.#text.indexOf(start);
    const next = this.#text[at + start.length];
    if (at >= 0 && (next === ',' || next === '}')) return;
    const json = objectOf(parseRawJson(key));
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

  constructor(key: Buffer) {
    this.#key = key;
  }

  get cells(): RecordCells {
    return new JsonCells(objectOf(parseRawJson(this.#key.toString())));
  }
}

/** The members of an image or key, each as it is written. */
export class JsonCells implements RecordCells {
  readonly names: readonly string[];
  readonly #members: RawObject;

  constructor(members: RawObject) {
    this.names = [...members.keys()];
    this.#members = members;
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  fits(name: string, type: DataType): boolean {
    const raw = this.#members.get(name);
    return typeof raw === 'string' && isOfType(type, raw);
  }

  textOf(name: string): string {
    return scalarOf(this.#members.get(name));
  }

  keyCell(column: ColumnSchema): Buffer {
    return keyCell(column, this.textOf(column.name));
  }
}

/** As they are, but for numbers with a point and strings with escapes. */
function canonical(type: DataType, text: Buffer): Buffer {
  const isNumber = type === DataType.FLOAT || type === DataType.DOUBLE;
  return isNumber || text.includes(BACKSLASH) ? Buffer.from(canonicalText(type, text.toString())) : text;
}

function isEqual(a: RawJson | undefined, b: RawJson | undefined): boolean {
  return typeof a === 'string' && a === b;
}
