/** How fast a held log grows: the mean of the last ten seconds or so, since segments come whole. */
export class HoldGrowth {
  bytesPerSecond = 0;
  #last: { readonly bytes: number; readonly atMs: number } | null = null;

  /** @param nowMs by any clock that does not jump */
  note(bytes: number, nowMs: number): void {
    const last = this.#last;
    if (last && nowMs - last.atMs < 1000) return;
    this.#last = { bytes, atMs: nowMs };
    if (!last) return;
    const rate = ((bytes - last.bytes) / (nowMs - last.atMs)) * 1000;
    this.bytesPerSecond = 0.9 * this.bytesPerSecond + 0.1 * rate;
  }
}
