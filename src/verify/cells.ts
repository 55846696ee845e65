import type { DataType } from '../kudu/schema.ts';

/** How cells lie in a payload: u16 how many; for each u32 number of a column, u32 bytes, its text. */
const HEAD_BYTES = 2;
const CELL_HEAD_BYTES = 8;

/** Writes cells behind one another into memory that grows with them and is used again. */
export class CellsWriter {
  #out = Buffer.allocUnsafeSlow(4096);
  #at = 0;
  #countAt = 0;

  /** What was written since {@link begin}; valid until the next `begin`. */
  get bytes(): Buffer {
    return this.#out.subarray(0, this.#at);
  }

  /** Begins anew, behind `headBytes` bytes of the caller's own, which it is given. */
  begin(headBytes: number): Buffer {
    this.#at = 0;
    this.#reserve(headBytes + HEAD_BYTES);
    this.#countAt = headBytes;
    this.#at = headBytes + HEAD_BYTES;
    this.#out.writeUInt16LE(0, headBytes);
    return this.#out.subarray(0, headBytes);
  }

  /** Cells of another image follow. */
  beginNext(): void {
    this.#reserve(HEAD_BYTES);
    this.#countAt = this.#at;
    this.#out.writeUInt16LE(0, this.#at);
    this.#at += HEAD_BYTES;
  }

  add(id: number, text: string): void {
    const most = text.length * 3;
    this.#reserve(CELL_HEAD_BYTES + most);
    const start = this.#at + CELL_HEAD_BYTES;
    this.#end(id, start, start + this.#out.write(text, start));
  }

  /** @param write writes the text into the memory from a place on, at most `most` bytes, and answers where it ends */
  addWritten(id: number, most: number, write: (out: Buffer, at: number) => number): void {
    this.#reserve(CELL_HEAD_BYTES + most);
    const start = this.#at + CELL_HEAD_BYTES;
    this.#end(id, start, write(this.#out, start));
  }

  #end(id: number, start: number, end: number): void {
    this.#out.writeUInt32LE(id, this.#at);
    this.#out.writeUInt32LE(end - start, this.#at + 4);
    this.#out.writeUInt16LE(this.#out.readUInt16LE(this.#countAt) + 1, this.#countAt);
    this.#at = end;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#out.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#out.length * 2, this.#at + bytes));
    this.#out.copy(grown, 0, 0, this.#at);
    this.#out = grown;
  }
}

/** Where the cells end that lie at `at` of a payload. */
export function endOfCells(payload: Buffer, at: number): number {
  let next = at + HEAD_BYTES;
  for (let left = payload.readUInt16LE(at); left > 0; left--) next += CELL_HEAD_BYTES + payload.readUInt32LE(next + 4);
  return next;
}

/** The cells that lie at `at` of a payload: views of it. */
export function readCells(payload: Buffer, at: number): Map<number, Buffer> {
  const cells = new Map<number, Buffer>();
  let next = at + HEAD_BYTES;
  for (let left = payload.readUInt16LE(at); left > 0; left--) {
    const start = next + CELL_HEAD_BYTES;
    const end = start + payload.readUInt32LE(next + 4);
    cells.set(payload.readUInt32LE(next), payload.subarray(start, end));
    next = end;
  }
  return cells;
}

/** What of a column matters to whom it is compared. */
export interface ComparedColumn {
  readonly id: number;
  readonly name: string;
  readonly type: DataType;
  readonly isKey: boolean;
  /** Canonical: what rows show that were there before the column. */
  readonly readDefault: Buffer;
}
