/** Of a row that is read by itself, before anything was measured. */
const POINT_MS = 0.3;
/** Fewer rows are not worth a scan that may pass over many others. */
const FEW = 8;
/** A scan is given so much of what the rows would cost one by one, and this at least: it may not be known yet what it takes. */
const PATIENCE = 1.5;
const MIN_PATIENCE_MS = 1_000;
/** What was too slow is looked at again: by so much it is thought less so with each read that went the other way. */
const FORGETTING = 0.97;
const SMOOTHING = 0.3;
/** Bytes of rows that are asked for at a time, by the width that they had so far, and how many rows that may be. */
const MAX_BYTES = 8 << 20;
const FIRST_ROWS = 256;
const MIN_ROWS = 16;
const MAX_ROWS = 4096;

/** What it took so far to read rows of one tablet by their keys, and which way is the better for the next ones. Milliseconds. */
export class KeyReadCosts {
  /** Of a scan over all; 0 before the first. */
  #listMs = 0;
  #pointMs = POINT_MS;
  #rowBytes = MAX_BYTES / FIRST_ROWS;

  /** How many rows are to be asked for at a time. */
  get keysAtATime(): number {
    return Math.max(MIN_ROWS, Math.min(MAX_ROWS, Math.floor(MAX_BYTES / this.#rowBytes)));
  }

  noteWidth(rowBytes: number): void {
    this.#rowBytes = rowBytes;
  }

  /** How long a scan over all may take for `count` rows before it is given up; 0: one by one is better. */
  listPatienceMs(count: number): number {
    const asPoints = count * this.#pointMs;
    return count < FEW || this.#listMs > asPoints ? 0 : Math.max(MIN_PATIENCE_MS, PATIENCE * asPoints);
  }

  noteList(ms: number, isWhole: boolean): void {
    if (!isWhole) this.#listMs = 2 * Math.max(ms, this.#listMs);
    else this.#listMs += this.#listMs === 0 ? ms : SMOOTHING * (ms - this.#listMs);
  }

  notePoints(ms: number, count: number): void {
    if (count === 0) return;
    this.#pointMs += SMOOTHING * (ms / count - this.#pointMs);
    this.#listMs *= FORGETTING;
  }
}
