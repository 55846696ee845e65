import { Cell, type ChangeBatch } from '../../change/change.ts';
import type { TableSchema } from '../../kudu/schema.ts';
import { writeZigzagBigInt } from '../../util/varints.ts';
import type { CellWriter } from '../json-cells.ts';
import { OP_NAMES, opWords } from '../op-words.ts';
import { RowRoom } from '../typed/row-images.ts';
import type { RowWriter } from '../typed/row-writer.ts';
import { defaultBytes } from '../typed/text-cells.ts';
import { avroCell } from './avro-cells.ts';
import type { AvroSource } from './avro-source.ts';
import type { TypeOptions } from './avro-types.ts';

/** Branches of a union of null and something, as a zigzag varint. */
const NULL = 0;
const SOME = 2;
const ABSENT = Buffer.from([NULL]);
/** `kudu_op`, by its name. */
const KUDU_OPS: ReadonlyMap<string | null, Buffer> = new Map([
  [null, ABSENT],
  ...OP_NAMES.map((name): [string, Buffer] => [name, Buffer.from([SOME, 2 * name.length, ...Buffer.from(name)])]),
]);

interface AvroColumn {
  readonly isKey: boolean;
  readonly write: CellWriter;
  /** As the column is written that an INSERT left out, with its branch. */
  readonly writeDefault: Buffer;
}

/** Writes the rows of one version of a table as {@link avroSchemas} says, without their frames. */
export class AvroRows implements RowWriter {
  readonly #columns: readonly AvroColumn[];
  readonly #keyColumns: number;
  readonly #room: RowRoom;
  readonly #source: AvroSource;

  /** @throws {RangeError} a column is of a type that has no rule */
  constructor(schema: TableSchema, source: AvroSource, options: TypeOptions) {
    const codecs = schema.columns.map((column) => avroCell(column, options));
    this.#source = source;
    this.#columns = schema.columns.map(({ isKey, writeDefault }, place): AvroColumn => {
      const codec = codecs[place]!;
      const branch = isKey ? [] : [Buffer.from([SOME])];
      return {
        isKey,
        write: codec.write,
        writeDefault: writeDefault === null ? ABSENT : Buffer.concat([...branch, defaultBytes(codec, writeDefault)]),
      };
    });
    this.#keyColumns = schema.columns.filter(({ isKey }) => isKey).length;
    this.#room = new RowRoom(
      codecs,
      this.#columns.map(({ writeDefault }) => writeDefault),
      1,
    );
  }

  begin(batch: ChangeBatch): void {
    this.#source.begin(batch);
  }

  maxBytes(batch: ChangeBatch, row: number): number {
    return this.#source.maxBytes + this.#room.of(batch, row);
  }

  writeKey(out: Buffer, at: number, batch: ChangeBatch, row: number): number {
    return this.#writeColumns(out, at, batch, batch.cells, row, 0, this.#keyColumns);
  }

  /** A row of the table begins with what the key has. */
  writeValue(out: Buffer, at: number, batch: ChangeBatch, row: number, keyStart: number, keyEnd: number): number {
    const { letter, name } = opWords(batch, row);
    const width = this.#columns.length;
    const { before } = batch;
    if (before !== null && before.present[row] === 1) {
      out[at++] = SOME;
      at = this.#writeColumns(out, at, batch, before.cells, row, 0, width);
    } else if (letter === 'd') {
      out[at++] = SOME;
      at = copyWithin(out, at, keyStart, keyEnd);
      for (let place = this.#keyColumns; place < width; place++) out[at++] = NULL;
    } else out[at++] = NULL;
    if (letter === 'd') out[at++] = NULL;
    else {
      out[at++] = SOME;
      at = copyWithin(out, at, keyStart, keyEnd);
      at = this.#writeColumns(out, at, batch, batch.cells, row, this.#keyColumns, width);
    }
    at = this.#source.writeSource(out, at, batch.rowIndexes[row]!);
    at = copyFew(out, at, KUDU_OPS.get(name)!);
    out[at++] = 2;
    out[at++] = letter.charCodeAt(0);
    return this.#source.writeTimes(out, at);
  }

  #writeColumns(
    out: Buffer,
    at: number,
    batch: ChangeBatch,
    cells: Int32Array,
    row: number,
    first: number,
    end: number,
  ): number {
    const { rows, indirect } = batch;
    const columns = this.#columns;
    const base = row * columns.length;
    for (let place = first; place < end; place++) {
      const cell = cells[base + place]!;
      const column = columns[place]!;
      if (cell >= 0) {
        if (!column.isKey) out[at++] = SOME;
        at = column.write(out, at, rows, cell, indirect);
      } else if (cell === Cell.NULL || cell === Cell.UNSET)
        out[at++] = NULL; // of a whole row only what was dropped since is not set
      else if (cell === Cell.DEFAULT) at = copyFew(out, at, column.writeDefault);
      else at = writeZigzagBigInt(out, at, batch.autoIncrement![row]!);
    }
    return at;
  }
}

/** A short run of what was written before. */
function copyWithin(out: Buffer, at: number, start: number, end: number): number {
  if (end - start < 64) for (let i = start; i < end; i++) out[at++] = out[i]!;
  else {
    out.copyWithin(at, start, end);
    at += end - start;
  }
  return at;
}

function copyFew(out: Buffer, at: number, from: Buffer): number {
  for (let i = 0; i < from.length; i++) out[at + i] = from[i]!;
  return at + from.length;
}
