import type { OpId } from '../kudu/opid.ts';
import { formatOpId } from '../kudu/opid.ts';
import type { Filling, GapFiller } from '../replication/other-replicas.ts';
import type { SidecarView } from '../replication/views.ts';
import { LinkedAbort } from '../util/linked-abort.ts';
import type { Logger } from '../util/logger.ts';
import { isAlive } from './living-sidecars.ts';
import { decodeLog } from '../wal/log-transfer.ts';
import type { TabletHold } from '../wal/tablet-hold.ts';

/** A sidecar that sends nothing for so long is asked no more. */
const IDLE_TIMEOUT_MS = 10_000;

export interface PeerLogOptions {
  readonly selfId: string;
  /** Those that are known, silent ones too. */
  readonly listSidecars: (signal: AbortSignal) => Promise<readonly SidecarView[]>;
  /** Where the log of a tablet is held here. */
  readonly holdOf: (tabletId: string) => Pick<TabletHold, 'receive'>;
  /** Bearer token of the cluster's sidecars, or null. */
  readonly token: string | null;
  readonly logger: Logger;
  /** Milliseconds without a byte after which a sidecar is given up. */
  readonly idleTimeoutMs?: number;
}

/**
 * The held logs of the other sidecars: the same operations lie on the machines of all replicas, so what one of them
 * lacks another may have.
 */
export class PeerLog implements GapFiller {
  readonly #options: PeerLogOptions;
  readonly #idleTimeoutMs: number;
  /** By tablet: who gave a log for the position that was asked for last. */
  readonly #gave = new Map<string, { readonly after: bigint; readonly sidecars: Set<string> }>();

  constructor(options: PeerLogOptions) {
    this.#options = options;
    this.#idleTimeoutMs = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS;
  }

  /**
   * Asks the other sidecars, one after the other, for a tablet's log after a position, and puts it where the tablet's
   * log is held. `filled`: a segment or more of one was taken in, and its first operation is `after`'s next or an earlier
   * one; of a segment that did not come whole nothing stays. `nobody`: no sidecar has it. `silent`: none that answers has
   * it, and one that does not may.
   *
   * @throws what {@link TabletHold.receive} does when the log cannot be kept here, and the signal's reason
   */
  async fill(tabletId: string, after: OpId, signal: AbortSignal): Promise<Filling> {
    const { listSidecars, selfId } = this.#options;
    const logger = this.#options.logger.child({ tabletId, after: formatOpId(after) });
    const gave = this.#gaveInVain(tabletId, after);
    const known = (await listSidecars(signal)).filter(({ id }) => id !== selfId);
    const others = known.filter(isAlive);
    let isSilent = others.length < known.length;
    const came = { segments: 0 };
    let isNews = false;
    for (const sidecar of others.sort((a, b) => Number(gave.has(a.id)) - Number(gave.has(b.id)))) {
      signal.throwIfAborted();
      try {
        if (!(await this.#take(sidecar, tabletId, after, came, logger, signal))) continue;
        if (gave.has(sidecar.id)) continue; // the same as before, which did not help
        gave.add(sidecar.id);
        return 'filled';
      } catch (error) {
        if (error instanceof KeepError) throw error.cause;
        signal.throwIfAborted();
        isSilent = true;
        if (came.segments > 0 && !gave.has(sidecar.id)) isNews = true;
        if (came.segments > 0) gave.add(sidecar.id);
        came.segments = 0;
        const reason = error instanceof Error ? error.message : String(error);
        logger.warn({ sidecar: sidecar.id, http: sidecar.http, reason }, 'log not received from a sidecar');
      }
    }
    if (isNews) return 'filled'; // reading goes on with what came, and the rest is asked for when it ends there
    return isSilent ? 'silent' : 'nobody';
  }

  /**
   * The sidecars that gave their log for this very position before. It did not help: what comes next there is not
   * whole (its COMMIT was lost), so the others are asked first.
   */
  #gaveInVain(tabletId: string, { index }: OpId): Set<string> {
    const known = this.#gave.get(tabletId);
    if (known?.after === index) return known.sidecars;
    const sidecars = new Set<string>();
    this.#gave.set(tabletId, { after: index, sidecars });
    return sidecars;
  }

  /**
   * False when the sidecar has nothing of it, or not what comes next.
   * @param came counts the segments that came whole, whatever became of the others
   * @throws when it does not give all it began
   */
  async #take(
    sidecar: SidecarView,
    tabletId: string,
    after: OpId,
    came: { segments: number },
    logger: Logger,
    signal: AbortSignal,
  ): Promise<boolean> {
    using idle = new IdleLimit(signal, this.#idleTimeoutMs);
    const response = await idle.watch(() => this.#ask(sidecar, tabletId, after, idle.signal));
    if (response === null) return false;
    const hold = this.#options.holdOf(tabletId);
    let segments = 0;
    let bytes = 0;
    for await (const segment of decodeLog(idle.chunksOf(response))) {
      const { sequenceNumber, generation, minIndex, lastAppendMs } = segment;
      if (segments === 0 && (minIndex === null || minIndex > after.index + 1n)) {
        logger.info(
          { sidecar: sidecar.id, firstIndex: String(minIndex) },
          "a sidecar's log does not reach back either",
        );
        return false;
      }
      const content = new Watched(segment.content);
      await hold
        .receive(`${sidecar.id}.${generation}`, sequenceNumber, content, { lastAppendMs })
        .catch((error: unknown) => {
          throw content.hasFailed ? error : new KeepError('the log cannot be kept', { cause: error });
        });
      segments++;
      came.segments++;
      bytes += segment.bytes;
    }
    logger.info({ sidecar: sidecar.id, segments, bytes }, 'log received from a sidecar');
    return segments > 0;
  }

  /** The answer's body, or null where that sidecar holds nothing of the tablet. */
  async #ask(
    { http }: SidecarView,
    tabletId: string,
    after: OpId,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array> | null> {
    const { token } = this.#options;
    const response = await fetch(`http://${http}/v1/local/tablets/${tabletId}/log?after=${formatOpId(after)}`, {
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
      signal,
    });
    if (response.ok && response.body !== null) return response.body;
    await response.body?.cancel();
    if (response.status === 404) return null;
    throw new Error(`HTTP ${response.status}`);
  }
}

/** What went wrong is on this side: the next sidecar's log could not be kept either. */
class KeepError extends Error {}

/** Chunks, and whether it was they that failed. */
class Watched implements AsyncIterable<Uint8Array> {
  readonly #chunks: AsyncIterable<Uint8Array>;
  hasFailed = false;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#chunks;
    } catch (error) {
      this.hasFailed = true;
      throw error;
    }
  }
}

/** A signal that aborts with another one, or when a wait under its watch takes too long. */
class IdleLimit implements Disposable {
  readonly #linked: LinkedAbort;
  readonly #ms: number;

  constructor(outer: AbortSignal, ms: number) {
    this.#linked = new LinkedAbort(outer);
    this.#ms = ms;
  }

  get signal(): AbortSignal {
    return this.#linked.signal;
  }

  async watch<T>(wait: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#linked.abort(new DOMException(`nothing came for ${this.#ms / 1000} s`, 'TimeoutError'));
    }, this.#ms);
    try {
      return await wait();
    } catch (error) {
      throw this.signal.aborted ? this.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The chunks, each waited for under watch; what their taker takes his time with is not counted. */
  async *chunksOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const iterator = chunks[Symbol.asyncIterator]();
    try {
      for (;;) {
        const result = await this.watch(() => iterator.next());
        if (result.done === true) return;
        yield result.value;
      }
    } finally {
      await iterator.return?.();
    }
  }

  [Symbol.dispose](): void {
    this.#linked[Symbol.dispose]();
  }
}
