import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { TimeLimit } from '../util/time-limit.ts';
import type { SystemTable } from './system-table.ts';
import type { SidecarView } from '../replication/views.ts';

/** The columns of the sidecars table, all strings; the first is the key. */
export const SIDECAR_COLUMNS = ['id', 'http', 'tserver', 'tserver_uuid', 'version', 'last_seen'] as const;
type SidecarsTable = SystemTable<(typeof SIDECAR_COLUMNS)[number]>;

const HEARTBEAT_MS = 5000;
const CALL_TIMEOUT_MS = 5000;
const ANNOUNCE_TIMEOUT_MS = 1000;
/** A sidecar that was not seen for so long is forgotten. */
const FORGET_AFTER_MS = 24 * 3600 * 1000;

/** Tells the other sidecars that we are here, and lists them. A sidecar's id is its tablet server's uuid. */
export class SidecarRegistry {
  readonly #table: SidecarsTable;
  readonly #self: Omit<SidecarView, 'lastSeen'>;
  readonly #logger: Logger;
  #isAnnounced = false;

  constructor(table: SidecarsTable, self: Omit<SidecarView, 'lastSeen'>, logger: Logger) {
    this.#table = table;
    this.#self = self;
    this.#logger = logger;
  }

  /** A first beat, so that the others know us before we begin to work; they may be told later where that takes long. */
  async announce(signal: AbortSignal): Promise<void> {
    await this.#tryBeat(signal, ANNOUNCE_TIMEOUT_MS);
  }

  /** Beats until `signal` aborts. A beat that fails is made up for by the next. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#tryBeat(signal, CALL_TIMEOUT_MS);
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
    const row = { id, http, tserver, tserver_uuid: tserverUuid, version, last_seen: new Date().toISOString() };
    await this.#table.upsert([row], signal);
  }

  async list(signal: AbortSignal): Promise<readonly SidecarView[]> {
    const rows = await this.#table.scan({}, signal);
    return rows
      .map(({ id, http, tserver, tserver_uuid, version, last_seen }) => ({
        id,
        http,
        tserver,
        tserverUuid: tserver_uuid,
        version,
        lastSeen: last_seen,
      }))
      .filter(({ lastSeen }) => Date.now() - Date.parse(lastSeen) < FORGET_AFTER_MS)
      .sort((a, b) => a.tserver.localeCompare(b.tserver));
  }
}
