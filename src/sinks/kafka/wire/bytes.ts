const UUID_BYTES = 16;

/** Writes Kafka's primitive types, big-endian, into memory that grows. Source: kafka.apache.org/protocol "Protocol Primitive Types". */
export class ByteWriter {
  #bytes: Buffer;
  #length = 0;

  constructor(initialBytes = 256) {
    this.#bytes = Buffer.allocUnsafe(initialBytes);
  }

  /** What was written so far: a view, valid until the next write. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  int8(value: number): this {
    const at = this.#reserve(1);
    this.#bytes.writeInt8(value, at);
    return this;
  }

  int16(value: number): this {
    const at = this.#reserve(2);
    this.#bytes.writeInt16BE(value, at);
    return this;
  }

  int32(value: number): this {
    const at = this.#reserve(4);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }

  int64(value: bigint): this {
    const at = this.#reserve(8);
    this.#bytes.writeBigInt64BE(value, at);
    return this;
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  /** STRING and NULLABLE_STRING: int16 length, or -1 for null. */
  string(value: string | null): this {
    if (value === null) return this.int16(-1);
    const length = Buffer.byteLength(value);
    this.int16(length);
    const at = this.#reserve(length);
    this.#bytes.write(value, at, 'utf8');
    return this;
  }

  /** COMPACT_STRING: unsigned varint of length + 1. */
  compactString(value: string): this {
    const length = Buffer.byteLength(value);
    this.unsignedVarint(length + 1);
    const at = this.#reserve(length);
    this.#bytes.write(value, at, 'utf8');
    return this;
  }

  /** UUID as Kafka prints it: 16 bytes in base64url. Null: the one of zeros, which stands for none. */
  uuid(value: string | null): this {
    const at = this.#reserve(UUID_BYTES);
    this.#bytes.fill(0, at, at + UUID_BYTES);
    if (value !== null) this.#bytes.write(value, at, UUID_BYTES, 'base64url');
    return this;
  }

  unsignedVarint(value: number): this {
    let rest = value;
    for (; rest > 0x7f; rest >>>= 7) this.#byte((rest & 0x7f) | 0x80);
    return this.#byte(rest);
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.int32(items.length);
    for (const item of items) write(item);
    return this;
  }

  /** COMPACT_ARRAY: unsigned varint of count + 1. */
  compactArray<T>(items: readonly T[], write: (item: T) => void): this {
    this.unsignedVarint(items.length + 1);
    for (const item of items) write(item);
    return this;
  }

  /** The end of a structure of a flexible version: no further fields. */
  noTags(): this {
    return this.unsignedVarint(0);
  }

  #byte(value: number): this {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
    return this;
  }

  /** May move the bytes: to be called before `#bytes` is looked at. */
  #reserve(bytes: number): number {
    const at = this.#length;
    const end = at + bytes;
    if (end > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, at);
      this.#bytes = grown;
    }
    this.#length = end;
    return at;
  }
}

/** Reads what a broker answered. @throws {RangeError} when the bytes end early */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int8(): number {
    return this.#bytes.readInt8(this.#take(1));
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#take(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  boolean(): boolean {
    return this.int8() !== 0;
  }

  nullableString(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.#text(length);
  }

  string(): string {
    return this.nullableString() ?? '';
  }

  nullableCompactString(): string | null {
    const length = this.unsignedVarint();
    return length === 0 ? null : this.#text(length - 1);
  }

  compactString(): string {
    return this.nullableCompactString() ?? '';
  }

  uuid(): string | null {
    const at = this.#take(UUID_BYTES);
    const bytes = this.#bytes.subarray(at, at + UUID_BYTES);
    return bytes.every((byte) => byte === 0) ? null : bytes.toString('base64url');
  }

  unsignedVarint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes.readUInt8(this.#take(1));
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  /** BYTES and NULLABLE_BYTES: int32 length, or -1 for null, which comes as none. A view, not a copy. */
  bytes(): Buffer {
    const length = Math.max(0, this.int32());
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  array<T>(read: () => T): T[] {
    return this.#items(this.int32(), read);
  }

  compactArray<T>(read: () => T): T[] {
    return this.#items(this.unsignedVarint() - 1, read);
  }

  /** Fields of newer protocol versions: skipped. */
  tags(): void {
    for (let count = this.unsignedVarint(); count > 0; count--) {
      this.unsignedVarint();
      this.#take(this.unsignedVarint());
    }
  }

  #items<T>(count: number, read: () => T): T[] {
    const items: T[] = [];
    for (let i = 0; i < count; i++) items.push(read());
    return items;
  }

  #text(length: number): string {
    const at = this.#take(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#bytes.length)
      throw new RangeError(`the answer ends after ${this.#bytes.length} bytes, ${at + bytes} were expected`);
    this.#at = at + bytes;
    return at;
  }
}
