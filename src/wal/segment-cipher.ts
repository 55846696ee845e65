import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/*
 * A file that Kudu has encrypted at rest (kudu/util/env_posix.cc):
 *
 *   7 "kuduenc"   u8 algorithm   the file's key, encrypted   zeros   from byte 64 on: what would be in a plain file
 *
 * The file's key is random, and stands there by AES-ECB under the server's key; the rest is by AES-CTR under the file's,
 * with the offset in the file, by blocks, as counter. So every file has a key of its own, and any offset can be read alone.
 */

const MAGIC = Buffer.from('kuduenc', 'latin1');
/** What stands before the first byte of a plain file's content. */
export const CIPHER_HEADER_BYTES = 64;
/** By the byte behind the magic: bytes of the file's key, and in how many encrypted ones it stands. */
const ALGORITHMS = [
  { name: 'aes-128-ctr', keyBytes: 16, storedBytes: 16 },
  { name: 'aes-192-ctr', keyBytes: 24, storedBytes: 32 },
  { name: 'aes-256-ctr', keyBytes: 32, storedBytes: 32 },
] as const;
const BLOCK_BYTES = 16;
const NOTHING = Buffer.alloc(BLOCK_BYTES);

/** Whether a file that begins so is encrypted. */
export function isEncrypted(start: Buffer): boolean {
  return start.subarray(0, MAGIC.length).equals(MAGIC);
}

/** What one encrypted file is read, or written, with. */
export class SegmentCipher {
  readonly #algorithm: (typeof ALGORITHMS)[number];
  readonly #key: Buffer;

  private constructor(algorithm: (typeof ALGORITHMS)[number], key: Buffer) {
    this.#algorithm = algorithm;
    this.#key = key;
  }

  /**
   * @param header the first {@link CIPHER_HEADER_BYTES} of a file that {@link isEncrypted}
   * @returns null when its algorithm is not known
   */
  static of(header: Buffer, serverKey: Buffer): SegmentCipher | null {
    const algorithm = ALGORITHMS[header[MAGIC.length]!];
    if (algorithm === undefined) return null;
    const from = MAGIC.length + 1;
    const stored = header.subarray(from, from + algorithm.storedBytes);
    const decipher = createDecipheriv(`aes-${serverKey.length * 8}-ecb`, serverKey, null).setAutoPadding(false);
    return new SegmentCipher(algorithm, decipher.update(stored).subarray(0, algorithm.keyBytes));
  }

  /** For a file of ours, with a key as long as the server's. @returns its header as well */
  static create(serverKey: Buffer): { readonly header: Buffer; readonly cipher: SegmentCipher } {
    const number = ALGORITHMS.findIndex(({ keyBytes }) => keyBytes === serverKey.length);
    const algorithm = ALGORITHMS[number]!;
    const key = randomBytes(algorithm.storedBytes);
    const header = Buffer.alloc(CIPHER_HEADER_BYTES);
    MAGIC.copy(header);
    header[MAGIC.length] = number;
    const cipher = createCipheriv(`aes-${serverKey.length * 8}-ecb`, serverKey, null).setAutoPadding(false);
    cipher.update(key).copy(header, MAGIC.length + 1);
    return { header, cipher: new SegmentCipher(algorithm, key.subarray(0, algorithm.keyBytes)) };
  }

  /**
   * Decrypts, or encrypts, in place: the same with this cipher.
   * @param offset in the file of the first of `bytes`
   */
  apply(bytes: Buffer, offset: number): void {
    const counter = Buffer.alloc(BLOCK_BYTES);
    counter.writeBigUInt64BE(BigInt(Math.floor(offset / BLOCK_BYTES)), BLOCK_BYTES / 2);
    const stream = createDecipheriv(this.#algorithm.name, this.#key, counter);
    const within = offset % BLOCK_BYTES;
    if (within > 0) stream.update(NOTHING.subarray(0, within));
    stream.update(bytes).copy(bytes);
  }
}

/** What is to be a segment on this disk, as a file that a server with that key would have written. */
export async function* encrypted(
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  serverKey: Buffer,
): AsyncGenerator<Uint8Array> {
  const { header, cipher } = SegmentCipher.create(serverKey);
  yield header;
  let at = CIPHER_HEADER_BYTES;
  for await (const bytes of content) {
    const piece = Buffer.from(bytes); // what came may be a view of what the sender of it keeps
    cipher.apply(piece, at);
    at += piece.length;
    yield piece;
  }
}
