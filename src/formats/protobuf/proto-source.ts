import type { ChangeBatch } from '../../change/change.ts';
import { decimalDigits, writeUint } from '../../util/ascii-numbers.ts';
import { copyBytes } from '../../util/byte-arena.ts';
import { uvarintBytes, writeUvarint, writeUvarint64 } from '../../util/varints.ts';
import { OP_NAMES } from '../op-words.ts';
import { sourceWords } from '../typed/source-words.ts';
import { tagOf, Wire } from './proto-cells.ts';
import { ENVELOPE, SOURCE } from './proto-schema.ts';

const MAX_NUMBERS_BYTES = 300;
const SOURCE_TAG = tagOf(ENVELOPE.source, Wire.RUN);
const SEQUENCE_TAG = tagOf(SOURCE.sequence, Wire.RUN);
const ROW_TAG = tagOf(SOURCE.row, Wire.VARINT);
const ENDING = Buffer.from('"]', 'latin1');
/** Field and value, by the name; none of a copy. */
const KUDU_OPS: ReadonlyMap<string | null, Buffer> = new Map([
  [null, Buffer.alloc(0)],
  ...OP_NAMES.map((name): [string, Buffer] => {
    return [name, Buffer.concat([tagOf(SOURCE.kudu_op, Wire.RUN), Buffer.from([name.length]), Buffer.from(name)])];
  }),
]);

/** `source` of the rows of a batch, and the times of the envelope: what is the same for all of them is written once. */
export class ProtoSource {
  /** At most, of one row, with all of the envelope but its images. */
  maxBytes = 0;
  readonly #version: string;
  readonly #streamName: string;
  #bytes = Buffer.alloc(0);
  #isCopy = false;
  #sequenceAt = 0;
  #timesAt = 0;
  #end = 0;

  constructor(version: string, streamName: string) {
    this.#version = version;
    this.#streamName = streamName;
  }

  begin(batch: ChangeBatch): void {
    const { opId, hybridTime, copy } = batch;
    const { db, table, tablet, millis, micros, nanos, snapshot, sequence } = sourceWords(batch);
    const { tableName, tableId, tabletId } = tablet;
    const texts: readonly (readonly [number, string])[] = [
      [SOURCE.version, this.#version],
      [SOURCE.connector, 'kudu'],
      [SOURCE.name, this.#streamName],
      [SOURCE.snapshot, snapshot],
      [SOURCE.db, db],
      [SOURCE.table, table],
      [SOURCE.kudu_table, tableName],
      [SOURCE.table_id, tableId],
      [SOURCE.tablet_id, tabletId],
      [SOURCE.hybrid_time, String(hybridTime)],
    ];
    const most = texts.reduce((sum, [, text]) => sum + 8 + 3 * text.length, MAX_NUMBERS_BYTES + sequence.length);
    if (this.#bytes.length < most) this.#bytes = Buffer.allocUnsafeSlow(most);
    const out = this.#bytes;
    let at = 0;
    for (const [number, text] of texts) at = writeText(out, at, number, text);
    at = writeLong(out, at, SOURCE.ts_ms, BigInt(millis));
    at = writeLong(out, at, SOURCE.ts_us, micros);
    at = writeLong(out, at, SOURCE.ts_ns, nanos);
    at = writeLong(out, at, SOURCE.term, opId.term);
    at = writeLong(out, at, SOURCE.index, opId.index);
    at = writeLong(out, at, SOURCE.lsn, hybridTime);
    this.#sequenceAt = at;
    at += out.write(sequence, at, 'latin1');
    this.#timesAt = at;
    at = writeLong(out, at, ENVELOPE.ts_ms, BigInt(millis));
    at = writeLong(out, at, ENVELOPE.ts_us, micros);
    at = writeLong(out, at, ENVELOPE.ts_ns, nanos);
    this.#end = at;
    this.#isCopy = copy !== null;
    this.maxBytes = at + 100;
  }

  /** The field of `source`, with its tag and length. */
  writeSource(out: Buffer, at: number, row: number, kuduOp: string | null): number {
    const bytes = this.#bytes;
    const op = KUDU_OPS.get(kuduOp)!;
    const sequence = this.#timesAt - this.#sequenceAt + decimalDigits(row) + ENDING.length;
    const rowBytes = this.#isCopy ? 0 : ROW_TAG.length + uvarintBytes(row);
    const length = this.#sequenceAt + SEQUENCE_TAG.length + uvarintBytes(sequence) + sequence + rowBytes + op.length;
    at = copyBytes(out, at, SOURCE_TAG, 0, SOURCE_TAG.length);
    at = writeUvarint(out, at, length);
    at = copyBytes(out, at, bytes, 0, this.#sequenceAt);
    at = copyBytes(out, at, SEQUENCE_TAG, 0, SEQUENCE_TAG.length);
    at = writeUvarint(out, at, sequence);
    at = copyBytes(out, at, bytes, this.#sequenceAt, this.#timesAt);
    at = writeUint(out, at, row);
    at = copyBytes(out, at, ENDING, 0, ENDING.length);
    if (!this.#isCopy) at = writeUvarint(out, copyBytes(out, at, ROW_TAG, 0, ROW_TAG.length), row);
    return copyBytes(out, at, op, 0, op.length);
  }

  writeTimes(out: Buffer, at: number): number {
    return copyBytes(out, at, this.#bytes, this.#timesAt, this.#end);
  }
}

function writeText(out: Buffer, at: number, number: number, text: string): number {
  const tag = tagOf(number, Wire.RUN);
  at = copyBytes(out, at, tag, 0, tag.length);
  at = writeUvarint(out, at, Buffer.byteLength(text));
  return at + out.write(text, at);
}

function writeLong(out: Buffer, at: number, number: number, value: bigint): number {
  const tag = tagOf(number, Wire.VARINT);
  at = copyBytes(out, at, tag, 0, tag.length);
  return writeUvarint64(out, at, Number(BigInt.asUintN(32, value >> 32n)), Number(BigInt.asUintN(32, value)));
}
