/** The bytes are not what a protobuf writer makes: cut short, or a field with another wire type than its own. */
export class WireFormatError extends Error {
  override readonly name = 'WireFormatError';
}

/** Source: protobuf.dev/programming-guides/encoding; groups (3, 4) are not used by anything we read. */
const WireType = { VARINT: 0, FIXED64: 1, LEN: 2, FIXED32: 5 } as const;

/**
 * Walks the fields of one protobuf message where it lies, without copying and without a generated class.
 *
 * For the few messages that pass by millions of times; everything else goes through the protobuf library.
 * Use: `while (r.next()) switch (r.field) { case 1: x = r.uint(); break; default: r.skip(); }`. Every field must be
 * read or skipped, once. A field that comes twice is given twice.
 * Errors: every method throws {@link WireFormatError} rather than look past `end`.
 */
export class WireReader {
  readonly bytes: Buffer;
  /** Number and wire type of the field that {@link next} stands before. */
  field = 0;
  type = 0;
  /** Where the content of the length-delimited field that {@link span} read begins and ends. */
  from = 0;
  to = 0;
  #pos: number;
  #end: number;

  constructor(bytes: Buffer, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.#pos = start;
    this.#end = end;
  }

  /** Starts again with another message in the same bytes, so that one reader serves many. */
  aim(start: number, end: number): void {
    this.#pos = start;
    this.#end = end;
  }

  /** Moves on to the next field; false at the end of the message. */
  next(): boolean {
    if (this.#pos >= this.#end) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.type = tag & 7;
    if (this.field === 0 || this.field > 0x1fffffff) throw new WireFormatError('a field number is out of range');
    return true;
  }

  /** A bool, an enum or an unsigned number, up to 2^53 - 1. */
  uint(): number {
    this.#expect(WireType.VARINT);
    return this.#varint();
  }

  /** An int64, two's complement. */
  int64(): bigint {
    this.#expect(WireType.VARINT);
    const byte = this.bytes[this.#pos]!;
    if (byte < 0x80 && this.#pos < this.#end) {
      this.#pos++;
      return BigInt(byte);
    }
    let low = 0; // bits 0..48
    let scale = 1;
    for (let i = 0; i < 7; i++) {
      const b = this.#byte();
      low += (b & 0x7f) * scale;
      if (b < 0x80) return BigInt(low);
      scale *= 128;
    }
    let high = 0; // bits 49..69
    scale = 1;
    for (let i = 0; i < 3; i++) {
      const b = this.#byte();
      high += (b & 0x7f) * scale;
      if (b < 0x80) return BigInt.asIntN(64, BigInt(low) + (BigInt(high) << 49n));
      scale *= 128;
    }
    throw new WireFormatError('a varint is longer than 10 bytes');
  }

  fixed64(): bigint {
    this.#expect(WireType.FIXED64);
    const at = this.#take(8);
    return this.bytes.readBigUInt64LE(at);
  }

  /** Reads a length-delimited field: its bounds are then in {@link from} and {@link to}. */
  span(): void {
    this.#expect(WireType.LEN);
    const length = this.#varint();
    this.from = this.#take(length);
    this.to = this.from + length;
  }

  /** A length-delimited field as a view of the same memory. */
  view(): Buffer {
    this.span();
    return this.bytes.subarray(this.from, this.to);
  }

  /** A length-delimited field as a message of its own. */
  message(): WireReader {
    this.span();
    return new WireReader(this.bytes, this.from, this.to);
  }

  skip(): void {
    switch (this.type) {
      case WireType.VARINT:
        for (let i = 0; i < 10; i++) if (this.#byte() < 0x80) return;
        throw new WireFormatError('a varint is longer than 10 bytes');
      case WireType.FIXED64:
        this.#take(8);
        return;
      case WireType.LEN:
        this.#take(this.#varint());
        return;
      case WireType.FIXED32:
        this.#take(4);
        return;
      default:
        throw new WireFormatError(`field ${this.field} has wire type ${this.type}`);
    }
  }

  #expect(type: number): void {
    if (this.type !== type) throw new WireFormatError(`field ${this.field} has wire type ${this.type}, not ${type}`);
  }

  #byte(): number {
    if (this.#pos >= this.#end) throw new WireFormatError('the message is cut short');
    return this.bytes[this.#pos++]!;
  }

  /** @returns where `length` bytes begin that are all inside the message */
  #take(length: number): number {
    const at = this.#pos;
    if (length > this.#end - at) throw new WireFormatError('the message is cut short');
    this.#pos = at + length;
    return at;
  }

  #varint(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    let scale = 128;
    for (let i = 1; i < 10; i++) {
      const b = this.#byte();
      value += (b & 0x7f) * scale;
      if (b < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new WireFormatError('a number is larger than 2^53 - 1');
        return value;
      }
      scale *= 128;
    }
    throw new WireFormatError('a varint is longer than 10 bytes');
  }
}
