import type { ChangeBatch } from '../../change/change.ts';
import { copyBytes } from '../../util/byte-arena.ts';
import { decimalDigits, writeUint } from '../../util/ascii-numbers.ts';
import { writeZigzag32, writeZigzagBigInt } from '../../util/varints.ts';
import { sourceWords } from '../typed/source-words.ts';

/** Of all that `source` and the times behind it have but their texts. */
const MAX_NUMBERS_BYTES = 256;
const SOME = 2;
const NONE = 0;
const ENDING = Buffer.from('"]', 'latin1');

/**
 * `source` of the rows of a batch, and what of the envelope stands behind `op`: what is the same for all of them is written once, and
 * copied for each. Order of the fields: {@link avroSchemas}.
 */
export class AvroSource {
  /** At most, of one row, with all of the envelope but its images. */
  maxBytes = 0;
  readonly #version: string;
  readonly #streamName: string;
  #bytes = Buffer.alloc(0);
  #isCopy = false;
  /** In `#bytes`: where the sequence begins and ends, the second part, and the times of the envelope. */
  #sequenceAt = 0;
  #restAt = 0;
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
    const texts = [this.#version, this.#streamName, db, table, tableName, tableId, tabletId, sequence];
    const most = texts.reduce((sum, text) => sum + 5 + 3 * text.length, MAX_NUMBERS_BYTES);
    if (this.#bytes.length < most) this.#bytes = Buffer.allocUnsafeSlow(most);
    const out = this.#bytes;
    let at = writeText(out, 0, this.#version);
    at = writeText(out, at, 'kudu');
    at = writeText(out, at, this.#streamName);
    at = writeZigzagBigInt(out, at, BigInt(millis));
    at = writeText(out, writeBranch(out, at, NONE), snapshot); // the first branch is the text
    at = writeText(out, at, db);
    this.#sequenceAt = at;
    at += out.write(sequence, at, 'latin1');
    this.#restAt = at;
    at = writeZigzagBigInt(out, writeBranch(out, at, SOME), micros);
    at = writeZigzagBigInt(out, writeBranch(out, at, SOME), nanos);
    for (const text of [table, tableName, tableId, tabletId]) at = writeText(out, at, text);
    at = writeZigzagBigInt(out, at, opId.term);
    at = writeZigzagBigInt(out, at, opId.index);
    at = writeText(out, at, String(hybridTime));
    at = writeZigzagBigInt(out, at, hybridTime);
    this.#timesAt = at;
    at = writeZigzagBigInt(out, writeBranch(out, at, SOME), BigInt(millis));
    at = writeZigzagBigInt(out, writeBranch(out, at, SOME), micros);
    at = writeZigzagBigInt(out, writeBranch(out, at, SOME), nanos);
    at = writeBranch(out, at, NONE); // no transaction
    this.#end = at;
    this.#isCopy = copy !== null;
    this.maxBytes = at + 80;
  }

  /** All but `kudu_op`, which is the last. */
  writeSource(out: Buffer, at: number, row: number): number {
    const bytes = this.#bytes;
    at = copyBytes(out, at, bytes, 0, this.#sequenceAt);
    out[at++] = SOME;
    const prefix = this.#restAt - this.#sequenceAt;
    at = writeZigzag32(out, at, prefix + decimalDigits(row) + ENDING.length);
    at = copyBytes(out, at, bytes, this.#sequenceAt, this.#restAt);
    at = writeUint(out, at, row);
    at = copyBytes(out, at, ENDING, 0, ENDING.length);
    at = copyBytes(out, at, bytes, this.#restAt, this.#timesAt);
    if (this.#isCopy) return writeBranch(out, at, NONE); // no operation, so no place in it
    return writeZigzag32(out, writeBranch(out, at, SOME), row);
  }

  /** What stands behind `op`. */
  writeTimes(out: Buffer, at: number): number {
    return copyBytes(out, at, this.#bytes, this.#timesAt, this.#end);
  }
}

function writeBranch(out: Buffer, at: number, branch: number): number {
  out[at] = branch;
  return at + 1;
}

function writeText(out: Buffer, at: number, text: string): number {
  const length = Buffer.byteLength(text);
  at = writeZigzag32(out, at, length);
  return at + out.write(text, at);
}
