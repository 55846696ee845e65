import { closeSync, fstatSync, openSync, read as readAsync, readSync } from 'node:fs';
import type { SegmentFile } from './segment-source.ts';

/** Reads up to here are done at once: what was just appended is in memory. Longer ones may have to wait for the disk. */
export const AT_ONCE_BYTES = 64 * 1024;

/** No batch begins with so many zeros. Read into one buffer for all: of hundreds of tablets each is looked at each second. */
const BLANK = Buffer.alloc(16);
const looked = Buffer.alloc(BLANK.length);

/** A segment on this machine's disk, open from when it was seen; shared by all who follow the tablet. */
export class LocalSegment implements SegmentFile {
  readonly path: string;
  readonly sequenceNumber: number;
  readonly inode: bigint;
  readonly #fd: number;
  #holders = 1;

  /** Opens it, held once. @throws what the file system says, ENOENT if the file is gone by now */
  constructor(path: string, sequenceNumber: number) {
    this.path = path;
    this.sequenceNumber = sequenceNumber;
    this.#fd = openSync(path, 'r');
    this.inode = fstatSync(this.#fd, { bigint: true }).ino;
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
    if (target.length <= AT_ONCE_BYTES) return readSync(this.#fd, target, 0, target.length, position);
    return new Promise((resolve, reject) => {
      this.hold(); // the descriptor must not be closed, and its number given away, under a read
      readAsync(this.#fd, target, 0, target.length, position, (error, bytes) => {
        this.release();
        if (error) reject(error);
        else resolve(bytes);
      });
    });
  }

  size(): number {
    return fstatSync(this.#fd).size;
  }

  /** Whether nothing was written from byte `position` on, where the next batch would begin. @throws what the file system says */
  isBlank(position: number): boolean {
    return readSync(this.#fd, looked, 0, looked.length, position) === looked.length && looked.equals(BLANK);
  }
}
