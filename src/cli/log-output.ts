import { writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Log that nobody reads is kept up to here; then lines are left out, and counted. */
const MAX_QUEUED_BYTES = 1 << 20;

/** Standard output, as {@link LogOutput} needs it. */
export type OutputStream = Pick<NodeJS.WriteStream, 'write' | 'writableLength' | 'on'> & { readonly fd: number };

/**
 * Where the program's log goes: standard output, whatever that is and becomes. It never throws and never waits: whoever
 * holds logs and ships them must not end, nor stand still, because the disk of its log is full or its reader hangs. Lines
 * that found no place are left out, and counted as soon as there is room again.
 */
export class LogOutput {
  readonly #stream: OutputStream;
  /** A pipe, a socket or a terminal, whose reader may be slow or go away. Else a file, which takes a line or says why not. */
  readonly #hasReader: boolean;
  #isGone = false;
  #lost = 0;
  /** A line went out in part. */
  #isTorn = false;

  constructor(stream: OutputStream) {
    this.#stream = stream;
    this.#hasReader = stream instanceof Socket;
    stream.on('error', () => {
      this.#isGone ||= this.#hasReader; // for good: what is gone does not come back under the same number
    });
  }

  readonly write = (line: string): void => {
    const isTaken = this.#lost > 0 ? this.#take(lostLine(this.#lost) + line) : this.#take(line);
    this.#lost = isTaken ? 0 : this.#lost + 1;
  };

  #take(text: string): boolean {
    if (this.#isGone || (this.#hasReader && this.#stream.writableLength > MAX_QUEUED_BYTES)) return false;
    if (!this.#hasReader) return this.#writeToFile(text);
    this.#stream.write(text);
    return true;
  }

  /** Not by the stream, which after one failure takes nothing more although there may be room again. */
  #writeToFile(text: string): boolean {
    let left = Buffer.from(this.#isTorn ? `\n${text}` : text);
    try {
      while (left.length > 0) {
        left = left.subarray(writeSync(this.#stream.fd, left));
        this.#isTorn = left.length > 0;
      }
      return true;
    } catch {
      return false;
    }
  }
}

function lostLine(lost: number): string {
  const time = new Date().toISOString();
  return `${JSON.stringify({ level: 'warn', time, lost, msg: 'lines of this log were lost, since there was no room for them' })}\n`;
}
