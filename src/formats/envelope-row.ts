import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { ColumnSchema, DataType } from '../kudu/schema.ts';
import { RecordOp, type RecordCells, type RowRecord } from './decoder.ts';
import { numberOf, objectOf, scalarOf, textOf } from './json-members.ts';
import type { RawJson, RawObject } from './raw-json.ts';

/** Reads the values of columns, as a format and the options of a stream write them. */
export interface CellReader {
  /** Whether the text of a record can be a value of a column of that type. */
  fits(type: DataType, raw: string): boolean;
  /** @throws {SyntaxError} a text that is no value of a key column of that type */
  keyCell(column: ColumnSchema, raw: string): Buffer;
}

/** What an update carries, as a stream's definition says. */
export type Images = 'after' | 'full' | 'changed';

/** A record of a row in Debezium's envelope, whatever the format: all scalars as JSON has them. */
export interface Envelope {
  readonly envelope: RawObject;
  readonly source: RawObject;
  /** The record's own key; null where it has none. */
  readonly key: () => RawObject | null;
  /** Of the stream: whether an image that does not say otherwise is a whole row, and with `full` what it was before too. */
  readonly images: Images;
  /** Of a delete, columns that are not of the key are null where they are not known. */
  readonly deletesHaveNulls: boolean;
  readonly values: CellReader;
}

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

/** What every format's record of a row says, see docs/records.md. */
export class EnvelopeRow implements RowRecord {
  readonly kind = 'row';
  readonly tabletId: string;
  readonly #of: Envelope;

  constructor(of: Envelope) {
    this.#of = of;
    this.tabletId = textOf(of.source.get('tablet_id'));
  }

  get tableId(): string {
    return textOf(this.#of.source.get('table_id'));
  }

  get op(): RecordOp {
    const { source } = this.#of;
    const op = this.#letter;
    if (op === RecordOp.DELETE && COPIES.includes(source.get('snapshot'))) return RecordOp.COPY_DELETE;
    return op === RecordOp.UPDATE ? (UPDATES.get(scalarOf(source.get('kudu_op') ?? 'null')) ?? op) : op;
  }

  get term(): number {
    return numberOf(this.#of.source.get('term'));
  }

  get index(): number {
    return numberOf(this.#of.source.get('index'));
  }

  get row(): number {
    const { op } = this;
    const row = this.#of.source.get('row');
    return op === RecordOp.COPY || op === RecordOp.COPY_DELETE || row === 'null' ? 0 : numberOf(row);
  }

  get time(): HybridTime {
    return BigInt(textOf(this.#of.source.get('hybrid_time')));
  }

  get cells(): RecordCells {
    const { deletesHaveNulls, values } = this.#of;
    const image = this.#image;
    const key = deletesHaveNulls && this.imageName === 'before' ? this.#of.key() : null;
    return new MemberCells(key ? new Map([...image].filter(([name]) => key.has(name))) : image, values);
  }

  get before(): RecordCells | null | undefined {
    const { images, envelope, values } = this.#of;
    const { op } = this;
    if (images !== 'full' || op === RecordOp.COPY || op === RecordOp.COPY_DELETE || this.#isPartial) return undefined;
    const before = envelope.get('before') ?? 'null';
    return before === 'null' ? null : new MemberCells(objectOf(before), values);
  }

  get isWhole(): boolean {
    const { op } = this;
    if (op === RecordOp.INSERT || op === RecordOp.COPY) return true;
    return this.#of.images !== 'changed' && !this.#isPartial;
  }

  checkKey(columns: readonly ColumnSchema[]): void {
    const key = this.#of.key();
    if (key === null) return;
    const image = this.#image;
    const isSame = key.size === columns.length && columns.every(({ name }) => isEqual(key.get(name), image.get(name)));
    if (!isSame) throw new SyntaxError('its key is not that of its value');
  }

  /** Which image of the envelope says what the row is, or of a delete was. */
  get imageName(): 'before' | 'after' {
    return OPS.get(scalarOf(this.#of.envelope.get('op'))) === RecordOp.DELETE ? 'before' : 'after';
  }

  get #letter(): RecordOp {
    const op = OPS.get(scalarOf(this.#of.envelope.get('op')));
    if (op === undefined) throw new SyntaxError('an operation that is none');
    return op;
  }

  get #isPartial(): boolean {
    return NOT_WHOLE.has(this.#of.source.get('image'));
  }

  get #image(): RawObject {
    return objectOf(this.#of.envelope.get(this.imageName));
  }
}

/** The members of an image or key, each as it is written. */
export class MemberCells implements RecordCells {
  readonly names: readonly string[];
  readonly #members: RawObject;
  readonly #values: CellReader;

  constructor(members: RawObject, values: CellReader) {
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
