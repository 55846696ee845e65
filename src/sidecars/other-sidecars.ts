import * as z from 'zod';
import { reasonedView, type KnownSidecar, type ReasonedView, type SidecarWord } from '../api/shapes.ts';
import type { Logger } from '../util/logger.ts';
import { TimeLimit } from '../util/time-limit.ts';
import type { SidecarClient } from './sidecar-client.ts';
import { errorCodeOf } from '../util/error-code.ts';

const ASK_TIMEOUT_MS = 2000;
const REFUSED = Symbol('refused');
const ALL = '/v1/local';
const EXCEPTIONS = '/v1/local?only=exceptions';

export interface OtherSidecarsOptions {
  readonly selfId: string;
  readonly listSidecars: (signal: AbortSignal) => Promise<readonly KnownSidecar[]>;
  readonly client: SidecarClient;
  readonly logger: Logger;
}

const localAnswer = z.array(z.unknown());

/** What the other sidecars say of their tablets, and are asked to do. */
export class OtherSidecars {
  readonly #options: OtherSidecarsOptions;

  constructor(options: OtherSidecarsOptions) {
    this.#options = options;
  }

  /** What one ships; null where it may live and does not answer. */
  tabletsOf(sidecar: KnownSidecar, signal: AbortSignal): Promise<readonly ReasonedView[] | null> {
    return this.#ask(sidecar, ALL, signal);
  }

  /** The tablets that the other sidecars show, of those that answer. */
  async shown(signal: AbortSignal): Promise<readonly ReasonedView[]> {
    const others = await this.#others(signal);
    const answers = await Promise.all(others.map((sidecar) => this.#ask(sidecar, ALL, signal)));
    return answers.flatMap((views) => views ?? []);
  }

  /**
   * What these sidecars, but for ourselves, say of the tablets that they stand in for or cannot ship. One of an older
   * version says all that it ships instead.
   */
  async exceptionsOf(sidecars: readonly KnownSidecar[], signal: AbortSignal): Promise<readonly SidecarWord[]> {
    const others = sidecars.filter(({ id }) => id !== this.#options.selfId);
    return Promise.all(
      others.map(async (sidecar) => {
        const views = await this.#ask(sidecar, EXCEPTIONS, signal);
        return { tserverUuid: sidecar.tserverUuid, views };
      }),
    );
  }

  /** Has the logs of these tablets held beside their replicas. Who does not answer does not hold them yet. */
  async hold(tabletIds: readonly string[], signal: AbortSignal): Promise<void> {
    const body = JSON.stringify({ tablets: tabletIds });
    const others = await this.#others(signal);
    await Promise.all(others.map((sidecar) => this.#call(sidecar, '/v1/local/holds', signal, body)));
  }

  async #others(signal: AbortSignal): Promise<readonly KnownSidecar[]> {
    const { listSidecars, selfId } = this.#options;
    return (await listSidecars(signal)).filter((sidecar) => sidecar.isAlive && sidecar.id !== selfId);
  }

  /** What a sidecar of another version says is taken as far as it is understood. Null where one that may live is silent. */
  async #ask(sidecar: KnownSidecar, path: string, signal: AbortSignal): Promise<readonly ReasonedView[] | null> {
    const answer = await this.#call(sidecar, path, signal);
    if (answer === null) return null;
    if (answer === REFUSED) return [];
    const { id, http } = sidecar;
    const listed = localAnswer.safeParse(parseJson(answer));
    if (!listed.success) {
      this.#options.logger.debug({ sidecar: id, http }, 'what answers is no sidecar');
      return [];
    }
    const parsed = listed.data.map((tablet) => reasonedView.safeParse(tablet));
    const views = parsed.flatMap(({ data }) => data ?? []);
    const reason = parsed.find(({ success }) => !success)?.error?.message;
    if (reason !== undefined)
      this.#options.logger.debug(
        { sidecar: id, http, tablets: parsed.length - views.length, reason },
        'tablets of a sidecar are left out: what it says of them is not understood',
      );
    return views;
  }

  /**
   * POSTs a body, or GETs without one. Null where that sidecar does not answer as it should; {@link REFUSED} where nobody
   * listens: no process is there.
   */
  async #call(
    sidecar: KnownSidecar,
    path: string,
    signal: AbortSignal,
    body?: string,
  ): Promise<string | typeof REFUSED | null> {
    const { client, logger } = this.#options;
    using limit = new TimeLimit(signal, ASK_TIMEOUT_MS);
    try {
      const response = await client.call(sidecar.http, path, {
        signal: limit.signal,
        ...(body !== undefined && { body }),
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return await response.text();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.debug({ sidecar: sidecar.id, http: sidecar.http, path, reason }, 'sidecar does not answer');
      return isRefusal(error) ? REFUSED : null;
    }
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && errorCodeOf(error.cause) === 'ECONNREFUSED';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
