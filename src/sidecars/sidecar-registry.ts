import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { TimeLimit } from '../util/time-limit.ts';
import type { SystemTable } from '../streams/system-table.ts';
import type { KnownSidecar, SidecarView } from '../api/shapes.ts';

/** The columns of the sidecars table, all strings; the first is the key. */
export const SIDECAR_COLUMNS = ['id', 'http', 'tserver', 'tserver_uuid', 'version', 'last_seen'] as const;
type SidecarsTable = SystemTable<(typeof SIDECAR_COLUMNS)[number]>;

const HEARTBEAT_MS = 5000;
const CALL_TIMEOUT_MS = 5000;
const ANNOUNCE_TIMEOUT_MS = 1000;
/** Three beats and more: a sidecar that has not been heard of for so long does not ship any more, as far as others care. */
export const SIDECAR_ALIVE_MS = 15_000;
/** A sidecar that was not seen for so long is forgotten. */
const FORGET_AFTER_MS = 24 * 3600 * 1000;
/** How often it is looked whether another one goes by our address, in beats. */
const BEATS_PER_CHECK = 6;

/**
 * Tells the other sidecars that we are here, and lists them. A sidecar's id is its tablet server's uuid. When one was seen
 * is told by Kudu's time: the clocks of their machines need not agree.
 */
export class SidecarRegistry {
  readonly #table: SidecarsTable;
  readonly #self: Omit<SidecarView, 'lastSeen'>;
  readonly #kuduNow: () => number;
  readonly #logger: Logger;
  #isAnnounced = false;
  /** Who else is called by our address, as it was told last. */
  #namesakes = '';

  constructor(
    table: SidecarsTable,
    self: Omit<SidecarView, 'lastSeen'>,
    { kuduNow, logger }: { readonly kuduNow: () => number; readonly logger: Logger },
  ) {
    this.#table = table;
    this.#self = self;
    this.#kuduNow = kuduNow;
    this.#logger = logger;
  }

  /** A first beat, so that the others know us before we begin to work; they may be told later where that takes long. */
  async announce(signal: AbortSignal): Promise<void> {
    await this.#tryBeat(signal, ANNOUNCE_TIMEOUT_MS);
  }

  /** Beats until `signal` aborts. A beat that fails is made up for by the next. */
  async run(signal: AbortSignal): Promise<void> {
    for (let beats = 0; !signal.aborted; beats++) {
      await this.#tryBeat(signal, CALL_TIMEOUT_MS);
      if (beats % BEATS_PER_CHECK === 0) await this.tellNamesakes(signal);
      await pause(HEARTBEAT_MS, signal);
    }
  }

  async #tryBeat(signal: AbortSignal, timeoutMs: number): Promise<void> {
    try {
      using limit = new TimeLimit(signal, timeoutMs);
      await this.beat(limit.signal);
    } catch (error) {
      this.#logger.debug({ reason: error instanceof Error ? error.message : String(error) }, 'heartbeat failed');
    }
  }

  /**
   * Tells, once, of living sidecars that are called by our address. Whoever calls it gets one of them, and never the
   * other: that one is not asked to hold a new stream's log, nor for what it holds.
   */
  async tellNamesakes(signal: AbortSignal): Promise<void> {
    const { id, http } = this.#self;
    try {
      using limit = new TimeLimit(signal, CALL_TIMEOUT_MS);
      const all = await this.list(limit.signal);
      const others = all.filter((other) => other.id !== id && other.http === http && other.isAlive);
      const namesakes = others.map((other) => `${other.tserverUuid} (${other.tserver})`).join(', ');
      if (namesakes !== '' && namesakes !== this.#namesakes)
        this.#logger.error(
          { http, others: namesakes },
          'other sidecars are called by the address of this one, give each a SPOOR_HTTP_LISTEN that the others reach, or a SPOOR_HTTP_ADVERTISE of its own',
        );
      this.#namesakes = namesakes;
    } catch (error) {
      this.#logger.debug({ reason: error instanceof Error ? error.message : String(error) }, 'sidecars not listed');
    }
  }

  /** Whether a beat has arrived: from then on the others can know that we live. */
  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  async beat(signal: AbortSignal): Promise<void> {
    await this.#say(this.#self.http, signal);
    this.#isAnnounced = true;
  }

  /**
   * Tells the others that we have stopped: they need not wait for our silence. They go on to know us, since what we hold
   * is still there. Failing costs just that wait.
   */
  async leave(signal: AbortSignal): Promise<void> {
    try {
      await this.#say('', signal);
    } catch (error) {
      this.#logger.debug({ reason: error instanceof Error ? error.message : String(error) }, 'left without a word');
    }
  }

  async #say(http: string, signal: AbortSignal): Promise<void> {
    const { id, tserver, tserverUuid, version } = this.#self;
    const lastSeen = new Date(this.#kuduNow()).toISOString();
    const row = { id, http, tserver, tserver_uuid: tserverUuid, version, last_seen: lastSeen };
    await this.#table.upsert([row], signal);
  }

  async list(signal: AbortSignal): Promise<readonly KnownSidecar[]> {
    const rows = await this.#table.scan({}, signal);
    const nowMs = this.#kuduNow();
    const silentMs = (lastSeen: string): number => nowMs - Date.parse(lastSeen);
    return rows
      .map(({ id, http, tserver, tserver_uuid, version, last_seen }) => ({
        id,
        http,
        tserver,
        tserverUuid: tserver_uuid,
        version,
        lastSeen: last_seen,
        isAlive: http !== '' && silentMs(last_seen) < SIDECAR_ALIVE_MS,
      }))
      .filter(({ lastSeen }) => silentMs(lastSeen) < FORGET_AFTER_MS)
      .sort((a, b) => a.tserver.localeCompare(b.tserver));
  }
}
