import { decimalDigits, writeUint } from '../util/ascii-numbers.ts';
import { ByteArena } from '../util/byte-arena.ts';
import type { RecordSchemas, SinkRecord } from './record.ts';

/** {@link SinkRecord.kind} as a number; the schema that a tablet begins with apart. */
export const RecordKind = { ROW: 0, TOMBSTONE: 1, SCHEMA: 2, FIRST_SCHEMA: 3, RESOLVED: 4, DEAD_LETTER: 5 } as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

/** What records of one operation share, and the memory in which they lie. */
export interface RecordRun {
  readonly bytes: Buffer;
  readonly table: string;
  readonly timestampMs: number;
  /** Where in `bytes` their position begins, but for the number of the row: ASCII. */
  readonly positionStart: number;
  readonly positionEnd: number;
  /** {@link SinkRecord.schemas}; null for none. */
  readonly schemas: RecordSchemas | null;
}

/** So many records are a batch at most: enough for a good request, little enough to keep memory flat. */
const MAX_RECORDS = 2000;
/** Records may be of any width, so their number alone is no bound: the one that reaches it is the last. */
const MAX_BYTES = 2 << 20;
const FEW = 16;
/** Of what could become of a record: with more it is written elsewhere first. */
const LARGE_BYTES = 64 << 10;

/** What is kept of a record, in this order. */
const RUN = 0;
const ROW = 1;
const KEY = 2;
const VALUE = 3;
const END = 4;
const ROUTE = 5;
const ROUTE_END = 6;
const KIND = 7;
const NUMBERS = 8;
/** In the place of a row: the position has none. */
const NO_ROW = -1;

/**
 * Records between format and sink: bytes side by side in an arena, and numbers that say where each begins. A row is an
 * object only for who asks for one ({@link record}, or iterating).
 *
 * Filled by a format, one record after another: `begin` for each operation, and then for each of its rows `reserve`, the key
 * and the value written one behind the other into `bytes` from `at` on, and `add`.
 */
export class RecordBatch implements Iterable<SinkRecord> {
  length = 0;
  /** Of keys and values. */
  byteLength = 0;
  readonly #arena: ByteArena;
  readonly #runs: RecordRun[] = [];
  /** Chunks of the arena in which they lie. */
  readonly #held = new Set<Buffer>();
  #numbers: Int32Array;
  /** Where a record is written that may be large, and is copied from: what escaping could make of a value is far more than it does. */
  #draft: Buffer | null = null;
  /** From where the last record was written to where it lies. */
  #moved = 0;
  #position = '';
  /** What records are placed by that are not placed by bytes of their own. */
  #routes = NO_ROUTES;
  #routesEnd = 0;

  /** @param expected how many records there will be, about */
  constructor(arena: ByteArena, expected = FEW) {
    this.#arena = arena;
    this.#numbers = new Int32Array(NUMBERS * Math.max(1, Math.min(expected, MAX_RECORDS)));
  }

  /** Some of its records, in order: they lie where they lay, and go where they would go. */
  pick(records: readonly number[]): RecordBatch {
    const picked = new RecordBatch(this.#arena, records.length);
    picked.#runs.push(...this.#runs);
    [picked.#routes, picked.#routesEnd] = [this.#routes, this.#routesEnd];
    for (const record of records) {
      const at = picked.#grow();
      picked.#numbers.set(this.#numbers.subarray(NUMBERS * record, NUMBERS * (record + 1)), at);
      picked.byteLength += this.end(record) - this.keyStart(record);
    }
    return picked;
  }

  static of(records: Iterable<SinkRecord>): RecordBatch {
    const batch = new RecordBatch(new ByteArena(FEW));
    for (const record of records) batch.append(record);
    return batch;
  }

  /** Whether what comes next belongs into another batch. */
  get isFull(): boolean {
    return this.length >= MAX_RECORDS || this.byteLength >= MAX_BYTES;
  }

  /** Where the next record goes. */
  get bytes(): Buffer {
    return this.#draft ?? this.#arena.bytes;
  }

  get at(): number {
    return this.#draft ? 0 : this.#arena.at;
  }

  /**
   * The records that follow are of another operation.
   * @param position of each of them, but for the number of its row: ASCII
   * @param schemas {@link SinkRecord.schemas}
   */
  begin(table: string, position: string, timestampMs: number, schemas: RecordSchemas | null = null): void {
    const arena = this.#arena;
    arena.reserve(position.length);
    if (!this.#held.has(arena.bytes)) this.#held.add(arena.hold());
    const positionStart = arena.at;
    arena.at += arena.bytes.write(position, positionStart, 'latin1');
    this.#position = position;
    this.#runs.push({ bytes: arena.bytes, table, timestampMs, positionStart, positionEnd: arena.at, schemas });
  }

  /** Its records are not needed any more, and their memory may be written over. May be said again. */
  release(): void {
    for (const bytes of this.#held) this.#arena.release(bytes);
    this.#held.clear();
  }

  /** Makes room for a record of `count` bytes at most. */
  reserve(count: number): void {
    this.#draft = count > LARGE_BYTES ? this.#arena.draft(count) : null;
    if (!this.#draft) this.#makeRoom(count);
  }

  #makeRoom(count: number): void {
    const arena = this.#arena;
    arena.reserve(count);
    const run = this.#runs[this.#runs.length - 1]!;
    if (run.bytes === arena.bytes) return;
    arena.reserve(count + this.#position.length);
    this.begin(run.table, this.#position, run.timestampMs, run.schemas); // in the memory where the record will be
  }

  /**
   * The record that was written.
   * @param row null where the position has none
   * @param start where in `bytes` its key begins
   * @param valueStart where its key ends, and its value begins
   * @param end where its value ends, which a tombstone has none of
   */
  add(kind: RecordKind, row: number | null, start: number, valueStart: number, end: number): void {
    const moved = this.#draft ? this.#takeDraft(start, end) : 0;
    this.#moved = moved;
    const at = this.#grow();
    const numbers = this.#numbers;
    numbers[at + RUN] = this.#runs.length - 1;
    numbers[at + ROW] = row ?? NO_ROW;
    numbers[at + KEY] = start + moved;
    numbers[at + VALUE] = valueStart + moved;
    numbers[at + END] = end + moved;
    numbers[at + ROUTE] = start + moved;
    numbers[at + ROUTE_END] = valueStart + moved;
    numbers[at + KIND] = kind;
    this.byteLength += end - start;
    this.#arena.at = end + moved;
  }

  /** @returns how far what was written has moved */
  #takeDraft(start: number, end: number): number {
    const draft = this.#draft!;
    this.#draft = null;
    this.#makeRoom(end - start);
    const { bytes, at } = this.#arena;
    draft.copy(bytes, at, start, end);
    return at - start;
  }

  /** The last record was a delete: a tombstone of the same key and position follows it. */
  addTombstone(): void {
    const from = NUMBERS * (this.length - 1);
    const at = this.#grow();
    const numbers = this.#numbers;
    numbers.copyWithin(at, from, from + NUMBERS);
    numbers[at + END] = numbers[at + VALUE]!;
    numbers[at + KIND] = RecordKind.TOMBSTONE;
    this.byteLength += numbers[at + VALUE]! - numbers[at + KEY]!;
  }

  /** By what the last record is placed in a sink that has partitions: bytes from `start` to `end`, by default its key. */
  routeBy(start: number, end: number): void {
    const at = NUMBERS * (this.length - 1);
    this.#numbers[at + ROUTE] = start + this.#moved;
    this.#numbers[at + ROUTE_END] = end + this.#moved;
  }

  /** Bytes for {@link placeBy}, copied. @returns where they begin */
  addRoute(bytes: Uint8Array): number {
    const start = this.#routesEnd;
    const end = start + bytes.length;
    if (end > this.#routes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, 2 * end));
      this.#routes.copy(larger, 0, 0, start);
      this.#routes = larger;
    }
    this.#routes.set(bytes, start);
    this.#routesEnd = end;
    return start;
  }

  /** By what a record is placed in a sink that has partitions: bytes of {@link addRoute}, from `start` to `end`. */
  placeBy(i: number, start: number, end: number): void {
    this.#numbers[NUMBERS * i + ROUTE] = ~start;
    this.#numbers[NUMBERS * i + ROUTE_END] = end;
  }

  /** The last records are not in it any more. */
  drop(count: number): void {
    for (; count > 0; count--) {
      this.length--;
      this.byteLength -= this.end(this.length) - this.keyStart(this.length);
    }
  }

  /** A record that is there already, copied. */
  append({ kind, table, key, value, position, timestampMs, isFirst, schemas }: SinkRecord): void {
    if (kind === 'tombstone' ? value !== null : value === null && kind !== 'resolved')
      throw new TypeError(
        `a ${kind} ${value ? 'with' : 'without'} a value: a tombstone has none, a mark may have none`,
      );
    const valueBytes = value?.length ?? 0;
    this.begin(table, position, timestampMs, schemas ?? null);
    this.reserve(key.length + valueBytes);
    const { bytes, at } = this;
    bytes.set(key, at);
    if (value) bytes.set(value, at + key.length);
    this.add(KINDS[kind + (isFirst ? '!' : '')]!, null, at, at + key.length, at + key.length + valueBytes);
  }

  kindOf(i: number): RecordKind {
    return this.#numbers[NUMBERS * i + KIND] as RecordKind;
  }

  /** A tombstone has none, nor has a mark of a format that has no word for it. */
  hasValue(i: number): boolean {
    const kind = this.kindOf(i);
    return kind === RecordKind.RESOLVED ? this.end(i) > this.valueStart(i) : kind !== RecordKind.TOMBSTONE;
  }

  runOf(i: number): RecordRun {
    return this.#runs[this.#numbers[NUMBERS * i + RUN]!]!;
  }

  /** Where in its run's bytes the key of a record begins. */
  keyStart(i: number): number {
    return this.#numbers[NUMBERS * i + KEY]!;
  }

  /** Where its key ends, and its value begins. */
  valueStart(i: number): number {
    return this.#numbers[NUMBERS * i + VALUE]!;
  }

  /** Where its value ends; a tombstone has none. */
  end(i: number): number {
    return this.#numbers[NUMBERS * i + END]!;
  }

  /** In what the bytes lie by which it is placed in a sink that has partitions. */
  routeBytes(i: number): Buffer {
    return this.#numbers[NUMBERS * i + ROUTE]! < 0 ? this.#routes : this.runOf(i).bytes;
  }

  /** Where in {@link routeBytes} they begin. */
  routeStart(i: number): number {
    const start = this.#numbers[NUMBERS * i + ROUTE]!;
    return start < 0 ? ~start : start;
  }

  routeEnd(i: number): number {
    return this.#numbers[NUMBERS * i + ROUTE_END]!;
  }

  /** Of a record's position, as text. */
  positionBytes(i: number): number {
    const { positionStart, positionEnd } = this.runOf(i);
    const row = this.#numbers[NUMBERS * i + ROW]!;
    return positionEnd - positionStart + (row === NO_ROW ? 0 : decimalDigits(row));
  }

  /** Writes a record's position, and answers where it ends. */
  writePosition(i: number, out: Uint8Array, at: number): number {
    const { bytes, positionStart, positionEnd } = this.runOf(i);
    for (let from = positionStart; from < positionEnd; from++) out[at++] = bytes[from]!;
    const row = this.#numbers[NUMBERS * i + ROW]!;
    return row === NO_ROW ? at : writeUint(out, at, row);
  }

  /** A record's position, see {@link SinkRecord.position}. */
  position(i: number): string {
    const { bytes, positionStart, positionEnd } = this.runOf(i);
    const row = this.#numbers[NUMBERS * i + ROW]!;
    return bytes.toString('latin1', positionStart, positionEnd) + (row === NO_ROW ? '' : String(row));
  }

  /** A record by itself: views of this batch's memory. */
  record(i: number): SinkRecord {
    const { bytes, table, timestampMs, schemas } = this.runOf(i);
    const kind = this.kindOf(i);
    return {
      kind: NAMES[kind],
      table,
      key: bytes.subarray(this.keyStart(i), this.valueStart(i)),
      value: this.hasValue(i) ? bytes.subarray(this.valueStart(i), this.end(i)) : null,
      position: this.position(i),
      timestampMs,
      ...(kind === RecordKind.FIRST_SCHEMA && { isFirst: true }),
      ...(schemas !== null && { schemas }),
    };
  }

  *[Symbol.iterator](): Iterator<SinkRecord> {
    for (let i = 0; i < this.length; i++) yield this.record(i);
  }

  /** @returns where the numbers of a new record go */
  #grow(): number {
    const at = NUMBERS * this.length++;
    if (at < this.#numbers.length) return at;
    const larger = new Int32Array(4 * this.#numbers.length);
    larger.set(this.#numbers);
    this.#numbers = larger;
    return at;
  }
}

const NO_ROUTES = Buffer.alloc(0);
const NAMES = ['row', 'tombstone', 'schema', 'schema', 'resolved', 'dead-letter'] as const;
const KINDS: Readonly<Record<string, RecordKind>> = {
  row: RecordKind.ROW,
  tombstone: RecordKind.TOMBSTONE,
  schema: RecordKind.SCHEMA,
  'schema!': RecordKind.FIRST_SCHEMA,
  resolved: RecordKind.RESOLVED,
  'dead-letter': RecordKind.DEAD_LETTER,
};
