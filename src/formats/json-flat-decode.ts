import type { HybridTime } from '../kudu/hybrid-time.ts';
import { microsToHybridTime } from '../kudu/hybrid-time.ts';
import type { ColumnSchema } from '../kudu/schema.ts';
import {
  RecordOp,
  type DecodedRecord,
  type EncodedRecord,
  type RecordCells,
  type RecordDecoder,
  type RowRecord,
} from './decoder.ts';
import { MemberCells } from './envelope-row.ts';
import type { JsonLayout } from './json-definition.ts';
import { payloadOf } from './json-decode.ts';
import { SinkError } from '../sinks/sink.ts';
import { decodeJsonSchema } from './json-schema-decode.ts';
import { ValueReader } from './json-value-decode.ts';

/** `spoor.pos`: of a copy, or of an operation. */
const POSITION = /^([^/]+)\/(?:base\.(\d{1,19})|(\d{1,15})\.(\d{1,15})\.(\d{1,9}))$/;
/** Of a copy: the record does not say where in the log its cut is. */
const NO_INDEX = -1;

/**
 * Reads what json-flat.ts writes. A record's value is the row and nothing else: which operation it is of its position says, when
 * that was its time stamp, in whole milliseconds, and of which table it is the tablet. Its `decode` throws {@link SinkError} where
 * the sink has a time stamp of its own.
 */
export function flatDecoder(layout: JsonLayout): RecordDecoder {
  const values = new ValueReader(layout);
  const isBlock = layout.schema === 'block';
  const cellsOf = (bytes: Buffer): RecordCells => new MemberCells(payloadOf(bytes.toString(), { isBlock }), values);
  return {
    hasMillisOnly: true,
    decode: (record) => decode(record, cellsOf),
    decodeSchema: ({ value }) => value && decodeJsonSchema(value),
    canonical: (column, text) => values.canonical(column, text),
    shown: (type, value) => values.shown(type, value),
  };
}

function decode(
  { key, value, position, timestampMs }: EncodedRecord,
  cellsOf: (bytes: Buffer) => RecordCells,
): DecodedRecord {
  if (key === null || key.length === 0) return { kind: 'mark' };
  const [, tabletId, copiedAt, term, index, row] = POSITION.exec(position ?? '') ?? [];
  if (tabletId === undefined) {
    if (value !== null) throw new SyntaxError('it has no position (the header spoor.pos), so no operation');
    return {
      kind: 'tombstone',
      get cells() {
        return cellsOf(key);
      },
    };
  }
  if (copiedAt !== undefined) {
    const op = value === null ? RecordOp.COPY_DELETE : RecordOp.COPY;
    return new FlatRow({ tabletId, op, term: 0, index: NO_INDEX, row: 0, time: BigInt(copiedAt), key, value, cellsOf });
  }
  if (typeof timestampMs !== 'number')
    throw new SinkError(
      'refused',
      'flat records say by their time stamp alone when their operation was, and the sink has another one in its place: it can be verified where the topic has message.timestamp.type=CreateTime (not LogAppendTime), or with envelope "debezium"',
    );
  const op = value === null ? RecordOp.DELETE : RecordOp.UPDATE;
  const time = microsToHybridTime(BigInt(timestampMs) * 1000n);
  const place = { term: Number(term), index: Number(index), row: Number(row) };
  return new FlatRow({ tabletId, op, ...place, time, key, value, cellsOf });
}

interface FlatParts extends Pick<RowRecord, 'tabletId' | 'op' | 'term' | 'index' | 'row' | 'time'> {
  readonly key: Buffer;
  readonly value: Buffer | null;
  readonly cellsOf: (bytes: Buffer) => RecordCells;
}

class FlatRow implements RowRecord {
  readonly kind = 'row';
  readonly tableId = null;
  readonly tabletId: string;
  readonly op: RecordOp;
  readonly term: number;
  readonly index: number;
  readonly row: number;
  readonly time: HybridTime;
  /** A flat stream is refused, or its tablet blocked, where rows are not whole. */
  readonly isWhole = true;
  readonly before = undefined;
  readonly #parts: FlatParts;

  constructor(parts: FlatParts) {
    this.#parts = parts;
    ({
      tabletId: this.tabletId,
      op: this.op,
      term: this.term,
      index: this.index,
      row: this.row,
      time: this.time,
    } = parts);
  }

  get cells(): RecordCells {
    const { key, value, cellsOf } = this.#parts;
    return cellsOf(value ?? key);
  }

  checkKey(columns: readonly ColumnSchema[]): void {
    const { key, value, cellsOf } = this.#parts;
    if (value === null) return;
    const [own, cells] = [cellsOf(key), cellsOf(value)];
    const isSame =
      own.names.length === columns.length &&
      columns.every(({ name }) => own.has(name) && cells.has(name) && own.textOf(name) === cells.textOf(name));
    if (!isSame) throw new SyntaxError('its key is not that of its value');
  }
}
