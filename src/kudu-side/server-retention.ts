import { rm } from 'node:fs/promises';
import { KuduError } from '../kudu/errors.ts';
import { explain } from './kudu-refusal.ts';
import type { CallOptions } from '../kudu/rpc/deadline.ts';
import type { ServerFlag } from '../kudu/tserver-proxy.ts';
import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { readRetentionState, writeRetentionState, type RetentionState } from './retention-state.ts';

/** Segments of every tablet's log, the one being written included, that log GC leaves. Runtime, not persisted. */
const FLAG = 'log_min_segments_to_retain';
/** With fewer, what is written while Spoor restarts may be gone before it is back. */
const ROOM_SEGMENTS = 10;
/**
 * More is never set, however far behind a tablet is: the flag is for all tablets of the server, which keep so much each and
 * read it at every start. As many as Kudu's own log_max_segments_to_retain has by default.
 */
const MAX_SEGMENTS = 80;
const ROUND_MS = 3000;
/** The server writes a line for every call that it refuses, and an ACL changes with a restart only. */
const REFUSED_AGAIN_MS = 60_000;
const CALL_TIMEOUT_MS = 5000;

/** The part of kudu/tserver-proxy.ts that is used here. */
export interface FlagServer {
  readonly address: string;
  getFlags(names: readonly string[], options: CallOptions): Promise<readonly ServerFlag[]>;
  setFlag(request: { readonly name: string; readonly value: string }, options: CallOptions): Promise<string>;
}

export interface ServerRetentionOptions {
  readonly tserver: FlagServer;
  /** How many segments of every log the server has to keep now, see `HoldStore.neededSegments`. */
  readonly neededSegments: () => number;
  /** Remembers the flag's own value; in the folder of held logs. */
  readonly stateFile: string;
  /** SPOOR_HOLD_SERVER. */
  readonly enabled: boolean;
  readonly logger: Logger;
}

/**
 * The tablet server's own retention of its logs, beside our links. Enabled, `log_min_segments_to_retain` is the value
 * that the operator gave it or what the laggard tablet needs up to a bound, whichever is more. That stays so when Spoor stops: its
 * purpose is the time when nobody links. A restart of the server forgets it, and the next round sets it again.
 *
 * Not enabled, it is only said whether the operator's value leaves room for a stop of Spoor, and what an earlier
 * process raised is taken back.
 */
export class ServerRetention {
  readonly #options: ServerRetentionOptions;
  readonly #logger: Logger;
  /** Undefined until the file was read. */
  #state: RetentionState | null | undefined;
  #trouble: string | null = null;
  #isCapped = false;

  constructor(options: ServerRetentionOptions) {
    this.#options = options;
    this.#logger = options.logger.child({ flag: FLAG });
  }

  /** Looks again and again until `signal` aborts, or there is nothing more to do. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const againMs = await this.round(signal);
      if (againMs === null) return;
      await pause(againMs, signal);
    }
  }

  /** Looks once, and does what is to be done. @returns after how many milliseconds to look again; null for never */
  async round(signal: AbortSignal): Promise<number | null> {
    const { enabled, stateFile } = this.#options;
    try {
      if (this.#state === undefined) this.#state = await readRetentionState(stateFile);
      const value = await this.#ask(signal);
      if (enabled) await this.#follow(value, signal);
      else this.#advise(await this.#takeBack(value, signal));
      this.#trouble = null;
      return enabled ? ROUND_MS : null;
    } catch (error) {
      if (signal.aborted) return null;
      return this.#tell(error);
    }
  }

  async #ask(signal: AbortSignal): Promise<number> {
    const [flag] = await this.#options.tserver.getFlags([FLAG], { signal, timeoutMs: CALL_TIMEOUT_MS });
    const value = Number(flag?.value);
    if (!Number.isSafeInteger(value)) throw new Error(`${FLAG} is ${flag?.value ?? 'not a flag of this server'}`);
    return value;
  }

  async #follow(value: number, signal: AbortSignal): Promise<void> {
    const original = this.#originalOf(value);
    const target = Math.max(original, this.#cap(this.#options.neededSegments()));
    if (target === value) return;
    const ours = new Set(this.#state?.ours).add(target);
    this.#state = { original, ours: [...ours] };
    // Before the flag: a crash between the two leaves a value that is known, whichever it is.
    await writeRetentionState(this.#options.stateFile, this.#state);
    await this.#set(target, signal);
    this.#state = { original, ours: [target] };
    const fields = { original, from: value, to: target };
    if (value === original || target === original) this.#logger.info(fields, 'server retention changed');
    else this.#logger.debug(fields, 'server retention changed');
  }

  #cap(needed: number): number {
    const isCapped = needed > MAX_SEGMENTS;
    if (isCapped && !this.#isCapped)
      this.#logger.warn(
        { needed, most: MAX_SEGMENTS },
        'a tablet is further behind than the server retention follows: what is written while Spoor is down may be lost to it',
      );
    this.#isCapped = isCapped;
    return Math.min(needed, MAX_SEGMENTS);
  }

  /** What the operator wants: the flag's value unless it is one of ours. */
  #originalOf(value: number): number {
    return this.#state?.ours.includes(value) === true ? this.#state.original : value;
  }

  async #takeBack(value: number, signal: AbortSignal): Promise<number> {
    if (!this.#state) return value;
    const original = this.#originalOf(value);
    if (original !== value) {
      await this.#set(original, signal);
      this.#logger.info({ original, from: value, to: original }, 'server retention taken back');
    }
    await rm(this.#options.stateFile, { force: true });
    this.#state = null;
    return original;
  }

  async #set(value: number, signal: AbortSignal): Promise<void> {
    await this.#options.tserver.setFlag({ name: FLAG, value: String(value) }, { signal, timeoutMs: CALL_TIMEOUT_MS });
  }

  #advise(value: number): void {
    if (value >= ROOM_SEGMENTS) return;
    const now = `kudu tserver set_flag ${this.#options.tserver.address} ${FLAG} ${ROOM_SEGMENTS}`;
    this.#logger.warn(
      { value, now, forGood: `--${FLAG}=${ROOM_SEGMENTS}` },
      'log_min_segments_to_retain of the tablet server leaves little room for a time without Spoor, set more',
    );
  }

  /** Once for each kind of trouble, until it is over. */
  #tell(error: unknown): number | null {
    const { enabled } = this.#options;
    const reason = explain(error);
    const isKudu = error instanceof KuduError;
    const mayNot = isKudu && error.notAuthorized;
    const trouble = isKudu ? `${error.kind} ${error.code}` : reason;
    if (trouble !== this.#trouble) {
      if (mayNot && !enabled) this.#logger.info({ reason }, 'server retention not looked at, that takes a superuser');
      else if (enabled && !(isKudu && error.retriable)) this.#logger.warn({ reason }, 'server retention cannot be set');
      else this.#logger.debug({ reason }, 'server retention cannot be seen');
    }
    this.#trouble = trouble;
    if (!mayNot) return ROUND_MS;
    return enabled ? REFUSED_AGAIN_MS : null;
  }
}
