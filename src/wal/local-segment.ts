import { closeSync, fstatSync, openSync, read as readAsync, readSync } from 'node:fs';
import { CIPHER_HEADER_BYTES, isEncrypted, SegmentCipher } from './segment-cipher.ts';
import type { SegmentFile } from './segment-source.ts';
import { serverKeyAbove } from './server-key.ts';

/** Reads up to here are done at once: what was just appended is in memory. Longer ones may have to wait for the disk. */
export const AT_ONCE_BYTES = 64 * 1024;

/** No batch begins with so many zeros. Read into one buffer for all: of hundreds of tablets each is looked at each second. */
const BLANK = Buffer.alloc(16);
const looked = Buffer.alloc(BLANK.length);

/**
 * A segment on this machine's disk, open from when it was seen; shared by all who follow the tablet. One that Kudu has
 * encrypted at rest is read as if it were plain: offsets and size are those of its content.
 */
export class LocalSegment implements SegmentFile {
  readonly path: string;
  readonly sequenceNumber: number;
  readonly inode: bigint;
  readonly #fd: number;
  #encryption: Encryption | null;
  #holders = 1;

  /** Opens it, held once. @throws what the file system says, ENOENT if the file is gone by now */
  constructor(path: string, sequenceNumber: number) {
    this.path = path;
    this.sequenceNumber = sequenceNumber;
    this.#fd = openSync(path, 'r');
    try {
      this.inode = fstatSync(this.#fd, { bigint: true }).ino;
      this.#encryption = encryptionOf(this.#fd, path);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  get unreadable(): string | null {
    return this.#encryption?.unreadable ?? null;
  }

  get held(): boolean {
    return this.#holders > 0;
  }

  hold(): void {
    if (this.#holders === 0) throw new Error(`${this.path} is closed`);
    this.#holders++;
  }

  release(): void {
    if (this.#holders === 0) throw new Error(`${this.path} was released once too often`);
    if (--this.#holders === 0) closeSync(this.#fd);
  }

  read(target: Buffer, position: number): number | Promise<number> {
    if (position === 0 && this.unreadable !== null) this.#encryption = encryptionOf(this.#fd, this.path); // asked again
    if (this.#known === null) return 0;
    const at = position + this.#shift;
    if (target.length <= AT_ONCE_BYTES)
      return this.#decrypt(target, readSync(this.#fd, target, 0, target.length, at), at);
    return new Promise((resolve, reject) => {
      this.hold(); // the descriptor must not be closed, and its number given away, under a read
      readAsync(this.#fd, target, 0, target.length, at, (error, bytes) => {
        this.release();
        if (error) reject(error);
        else resolve(this.#decrypt(target, bytes, at));
      });
    });
  }

  size(): number {
    return Math.max(0, fstatSync(this.#fd).size - this.#shift);
  }

  /** Whether nothing was written from byte `position` on, where the next batch would begin. @throws what the file system says */
  isBlank(position: number): boolean {
    const at = position + this.#shift;
    return readSync(this.#fd, looked, 0, looked.length, at) === looked.length && looked.equals(BLANK);
  }

  /** Null while the file has only its name: then nothing is read of it, and it is looked at again. */
  get #known(): Encryption | null {
    return (this.#encryption ??= encryptionOf(this.#fd, this.path));
  }

  /** Where in the file the content begins. */
  get #shift(): number {
    return this.#known?.cipher ? CIPHER_HEADER_BYTES : 0;
  }

  /**
   * What Kudu has not written yet are zeros, which it never encrypts: a read that brings nothing else is left as it is, and
   * so it has to begin where something would be written. Sixteen bytes that are zeros by encryption there are none.
   */
  #decrypt(target: Buffer, bytes: number, at: number): number {
    const cipher = this.#encryption?.cipher;
    if (!cipher || bytes === 0) return bytes;
    const read = target.subarray(0, bytes);
    if (bytes < BLANK.length || !isZeros(read)) cipher.apply(read, at);
    return bytes;
  }
}

/** Whether all of it is zeros. Only rarely is more looked at than the first bytes: then each is the one before it. */
function isZeros(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.subarray(1).equals(bytes.subarray(0, -1));
}

interface Encryption {
  /** Null: it is plain, or cannot be read. */
  readonly cipher: SegmentCipher | null;
  /** Why it cannot be read. */
  readonly unreadable: string | null;
}
const PLAIN: Encryption = { cipher: null, unreadable: null };

/** @returns null where it cannot be told yet: a tablet copy makes files under their names, and writes into them then */
function encryptionOf(fd: number, path: string): Encryption | null {
  const start = Buffer.alloc(CIPHER_HEADER_BYTES);
  if (readSync(fd, start, 0, start.length, 0) === 0) return null;
  if (!isEncrypted(start)) return PLAIN;
  const server = serverKeyAbove(path);
  if (server.kind === 'key') {
    const cipher = SegmentCipher.of(start, server.key);
    return { cipher, unreadable: cipher === null ? `the file is encrypted by algorithm ${start[7]}` : null };
  }
  const why = 'why' in server ? server.why : 'the tablet server has no key for it';
  return { cipher: null, unreadable: `the file is encrypted (encrypt_data_at_rest), and ${why}` };
}
