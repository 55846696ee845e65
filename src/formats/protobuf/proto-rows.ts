import { Cell, type ChangeBatch } from '../../change/change.ts';
import type { TableSchema } from '../../kudu/schema.ts';
import {
  MAX_VARINT32_BYTES,
  MAX_VARINT64_BYTES,
  uvarintBytes,
  writeUvarint,
  writeZigzagBigInt,
} from '../../util/varints.ts';
import type { CellWriter } from '../json-cells.ts';
import { opWords } from '../op-words.ts';
import { RowRoom } from '../typed/row-images.ts';
import type { RowWriter } from '../typed/row-writer.ts';
import { defaultBytes } from '../typed/text-cells.ts';
import { protoCell, tagOf, wireOf, Wire } from './proto-cells.ts';
import { fieldNumbers } from './proto-numbers.ts';
import { ENVELOPE, type ProtoTypes } from './proto-schema.ts';
import type { ProtoSource } from './proto-source.ts';

const BEFORE_TAG = tagOf(ENVELOPE.before, Wire.RUN)[0]!;
const AFTER_TAG = tagOf(ENVELOPE.after, Wire.RUN)[0]!;
const OP_TAG = tagOf(ENVELOPE.op, Wire.RUN)[0]!;
/** Of an image: its tag, and its length. */
const IMAGE_HEAD_BYTES = 1 + MAX_VARINT32_BYTES;

interface ProtoColumn {
  readonly tag: Buffer;
  readonly write: CellWriter;
  /** As the column is written that an INSERT left out, without its tag; null for a null. */
  readonly writeDefault: Buffer | null;
}

/** Writes the rows of one version of a table as {@link protoSchemas} says, without their frames. A null is not written. */
export class ProtoRows implements RowWriter {
  readonly #columns: readonly ProtoColumn[];
  readonly #keyColumns: number;
  readonly #room: RowRoom;
  readonly #source: ProtoSource;

  /** @throws {RangeError} a column is of a type that has no rule, or has no id */
  constructor(schema: TableSchema, source: ProtoSource, types: ProtoTypes) {
    const codecs = schema.columns.map((column) => protoCell(column, types));
    const numbers = fieldNumbers(schema);
    this.#source = source;
    this.#columns = schema.columns.map((column, place): ProtoColumn => {
      const { write } = codecs[place]!;
      const { writeDefault } = column;
      return {
        tag: tagOf(numbers[place]!, wireOf(column, types)),
        write,
        writeDefault: writeDefault === null ? null : defaultBytes(codecs[place]!, writeDefault),
      };
    });
    this.#keyColumns = schema.columns.filter(({ isKey }) => isKey).length;
    this.#room = new RowRoom(
      codecs,
      this.#columns.map(({ writeDefault }) => writeDefault ?? Buffer.alloc(0)),
      MAX_VARINT32_BYTES + MAX_VARINT64_BYTES,
    );
  }

  begin(batch: ChangeBatch): void {
    this.#source.begin(batch);
  }

  maxBytes(batch: ChangeBatch, row: number): number {
    return this.#source.maxBytes + 2 * IMAGE_HEAD_BYTES + this.#room.of(batch, row);
  }

  writeKey(out: Buffer, at: number, batch: ChangeBatch, row: number): number {
    return this.#writeColumns(out, at, batch, batch.cells, row, this.#keyColumns);
  }

  writeValue(out: Buffer, at: number, batch: ChangeBatch, row: number): number {
    const { letter, name } = opWords(batch, row);
    const width = this.#columns.length;
    const { before } = batch;
    if (before !== null && before.present[row] === 1)
      at = this.#writeImage(out, at, BEFORE_TAG, batch, before.cells, row, width);
    else if (letter === 'd') at = this.#writeImage(out, at, BEFORE_TAG, batch, batch.cells, row, this.#keyColumns);
    if (letter !== 'd') at = this.#writeImage(out, at, AFTER_TAG, batch, batch.cells, row, width);
    at = this.#source.writeSource(out, at, batch.rowIndexes[row]!, name);
    out[at++] = OP_TAG;
    out[at++] = 1;
    out[at++] = letter.charCodeAt(0);
    return this.#source.writeTimes(out, at);
  }

  /** Its length is known when it is written: the row is moved where that takes another number of bytes than most do. */
  #writeImage(
    out: Buffer,
    at: number,
    tag: number,
    batch: ChangeBatch,
    cells: Int32Array,
    row: number,
    end: number,
  ): number {
    out[at++] = tag;
    const start = at + 1;
    const written = this.#writeColumns(out, start, batch, cells, row, end);
    const length = written - start;
    const lengthBytes = uvarintBytes(length);
    if (lengthBytes > 1) out.copyWithin(at + lengthBytes, start, written);
    writeUvarint(out, at, length);
    return at + lengthBytes + length;
  }

  #writeColumns(out: Buffer, at: number, batch: ChangeBatch, cells: Int32Array, row: number, end: number): number {
    const { rows, indirect } = batch;
    const columns = this.#columns;
    const base = row * columns.length;
    for (let place = 0; place < end; place++) {
      const cell = cells[base + place]!;
      const { tag, write, writeDefault } = columns[place]!;
      // Of a whole row only what was dropped since is not set.
      if (cell === Cell.NULL || cell === Cell.UNSET || (cell === Cell.DEFAULT && writeDefault === null)) continue;
      for (let i = 0; i < tag.length; i++) out[at++] = tag[i]!;
      if (cell >= 0) at = write(out, at, rows, cell, indirect);
      else if (cell === Cell.DEFAULT) {
        out.set(writeDefault!, at);
        at += writeDefault!.length;
      } else at = writeZigzagBigInt(out, at, batch.autoIncrement![row]!);
    }
    return at;
  }
}
