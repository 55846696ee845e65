/** What is read goes on behind the bytes that are there. */
export class AvroEndError extends SyntaxError {
  constructor() {
    super('it ends within a value');
  }
}

/** Walks bytes that are written as Avro has them. Its errors are SyntaxErrors that show nothing of them. */
export class AvroCursor {
  at: number;
  readonly bytes: Buffer;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  take(count: number): Buffer {
    this.skip(count);
    return this.bytes.subarray(this.at - count, this.at);
  }

  skip(count: number): void {
    if (count < 0) throw new SyntaxError('a length below 0');
    if (this.at + count > this.bytes.length) throw new AvroEndError();
    this.at += count;
  }

  /** An int or a long. */
  long(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
    }
    throw new SyntaxError('a number that does not end');
  }

  /** A number that a double holds: a length, a count, a time. */
  number(): number {
    return Number(this.long());
  }

  skipNumber(): void {
    while (this.#byte() >= 0x80);
  }

  /** Bytes or a text, with their length before them. */
  run(): Buffer {
    return this.take(this.number());
  }

  skipRun(): void {
    this.skip(this.number());
  }

  #byte(): number {
    if (this.at >= this.bytes.length) throw new AvroEndError();
    return this.bytes[this.at++]!;
  }
}
