import { comparePositions, type TabletPosition } from '../../../change/position.ts';
import type { Logger } from '../../../util/logger.ts';
import { SinkError, type SinkTablet, type TabletWriter } from '../../sink.ts';
import type { Throttling } from '../connections.ts';
import { toSinkError } from '../kafka-error.ts';
import type { Lane } from './lane.ts';
import type { TabletClaim } from './tablet-claim.ts';
import type { RecordsOfWrite } from './write-cursor.ts';

export interface LaneWriterOptions {
  /** The lane that most tablets are in. */
  readonly main: Lane;
  readonly sinkId: (tableName: string) => string;
  readonly tableName: string;
  readonly logger: Logger;
  /** The tablet's records are taken again. */
  readonly onSound: () => void;
  readonly onFenced: SinkTablet['onFenced'];
}

/** How long a tablet that failed has to be sound before it is shipped with the others again. */
const SOUND_FOR_MS = 10_000;
const RELEASE_WITHIN_MS = 2_000;

/** Exactly once: a write goes into its lane's next transaction, with its position. */
export class LaneWriter implements TabletWriter {
  readonly position: TabletPosition | null;
  readonly #options: LaneWriterOptions;
  #claim: TabletClaim;
  #tableName: string;
  #written: TabletPosition | null;
  #soundSinceMs: number | null = null;

  /** @param claim in the main lane; or in the side lane, where a tablet is whose records have failed: it holds up no sound one */
  constructor(options: LaneWriterOptions, claim: TabletClaim, position: TabletPosition | null) {
    this.#options = options;
    this.#claim = claim;
    this.position = position;
    this.#written = position;
    this.#tableName = position?.tableName ?? options.tableName;
  }

  get waits(): Throttling | null {
    return this.#claim.waits;
  }

  get sinkId(): string {
    return this.#options.sinkId(this.#tableName);
  }

  async write(records: RecordsOfWrite, position: TabletPosition, signal: AbortSignal): Promise<void> {
    const { main, onSound } = this.#options;
    try {
      const nowMs = performance.now();
      if (this.#soundSinceMs !== null && nowMs - this.#soundSinceMs >= SOUND_FOR_MS) await this.#goTo(main, signal);
      await this.#claim.write(records, position, signal);
      this.#tableName = position.tableName;
      this.#written = position;
      if (this.#claim.isIn(main)) return;
      this.#soundSinceMs ??= nowMs;
      onSound();
    } catch (error) {
      throw toSinkError(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await releaseSoon(this.#claim, this.#options.logger);
  }

  async #goTo(lane: Lane, signal: AbortSignal): Promise<void> {
    const { tablet, generation } = this.#claim;
    await this.#claim.release(signal);
    this.#claim = await lane.take(tablet, generation, signal, this.#options.onFenced);
    this.#soundSinceMs = null;
    const { position } = this.#claim;
    // Another sidecar may have had it in between; whoever opens the next writer goes on from there.
    if (this.#written && (!position || comparePositions(position, this.#written) !== 0))
      throw new SinkError('unavailable', 'the tablet was shipped by another lane meanwhile');
  }
}

/** Within a while: a stop does not wait for a sink that is away. */
export async function releaseSoon(claim: TabletClaim, logger: Logger): Promise<void> {
  try {
    await claim.release(AbortSignal.timeout(RELEASE_WITHIN_MS));
  } catch (error) {
    logger.debug({ err: error, tablet: claim.tablet }, 'tablet not released: whoever takes it fences the lane');
  }
}
