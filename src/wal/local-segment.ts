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
  readonly #cipher: SegmentCipher | null;
  readonly unreadable: string | null;
  #holders = 1;

  /** Opens it, held once. @throws what the file system says, ENOENT if the file is gone by now */
  constructor(path: string, sequenceNumber: number) {
    this.path = path;
    this.sequenceNumber = sequenceNumber;
    this.#fd = openSync(path, 'r');
    try {
      this.inode = fstatSync(this.#fd, { bigint: true }).ino;
      ({ cipher: this.#cipher, unreadable: this.unreadable } = cipherOf(this.#fd, path));
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
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

  /** Where in the file the content begins. */
  get #shift(): number {
    return this.#cipher === null ? 0 : CIPHER_HEADER_BYTES;
  }

  /**
   * What Kudu has not written yet are zeros, which it never encrypts: a read that brings nothing else is left as it is, and
   * so it has to begin where something would be written. Sixteen bytes that are zeros by encryption there are none.
   */
  #decrypt(target: Buffer, bytes: number, at: number): number {
    if (this.#cipher === null || bytes === 0) return bytes;
    const read = target.subarray(0, bytes);
    if (bytes < BLANK.length || !isZeros(read)) this.#cipher.apply(read, at);
    return bytes;
  }
}

/** Whether all of it is zeros. Only rarely is more looked at than the first bytes: then each is the one before it. */
function isZeros(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.subarray(1).equals(bytes.subarray(0, -1));
}

function cipherOf(
  fd: number,
  path: string,
): { readonly cipher: SegmentCipher | null; readonly unreadable: string | null } {
  const start = Buffer.alloc(CIPHER_HEADER_BYTES);
  if (readSync(fd, start, 0, start.length, 0) < start.length || !isEncrypted(start))
    return { cipher: null, unreadable: null };
  const server = serverKeyAbove(path);
  if (server.kind === 'key') {
    const cipher = SegmentCipher.of(start, server.key);
    return { cipher, unreadable: cipher === null ? `the file is encrypted by algorithm ${start[7]}` : null };
  }
  const why = server.kind === 'unknown' ? server.why : 'the tablet server has no key for it';
  return { cipher: null, unreadable: `the file is encrypted (encrypt_data_at_rest), and ${why}` };
}
