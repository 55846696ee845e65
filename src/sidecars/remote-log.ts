import { type OpId, formatOpId } from '../kudu/opid.ts';
import type { Filling, GapFiller } from '../source/gap-filler.ts';
import type { KnownSidecar } from '../api/shapes.ts';
import type { Logger } from '../util/logger.ts';
import { decodeLog, isHad, type HadSegments, type ReceivedSegment } from '../wal/log-transfer.ts';
import type { TabletHold } from '../wal/tablet-hold.ts';
import { IdleLimit } from './idle-limit.ts';
import type { SidecarClient } from './sidecar-client.ts';
import { backoffMs, type Backoff } from '../util/backoff.ts';

/** A sidecar that sends nothing for so long is asked no more. */
const IDLE_TIMEOUT_MS = 10_000;
/** When a sidecar that had nothing new is asked again: what is new with it is to be had soon. */
const ASK_AGAIN: Backoff = { baseMs: 15_000, capMs: 60_000 };
/** What a sidecar has for one position is worth so many tries: its newest segment may grow for ever. */
const MAX_TIMES_TOLD = 3;
/** In one question; what does not fit comes once more. */
const MAX_HAD = 100;

/** Where the log of a tablet is held here. */
export type ReceivingHold = Pick<TabletHold, 'receive' | 'received' | 'damagedCount'>;

export interface RemoteLogOptions {
  readonly selfId: string;
  /** Those that are known, silent ones too. */
  readonly listSidecars: (signal: AbortSignal) => Promise<readonly KnownSidecar[]>;
  readonly holdOf: (tabletId: string) => ReceivingHold;
  readonly client: SidecarClient;
  readonly logger: Logger;
  /** Milliseconds without a byte after which a sidecar is given up. */
  readonly idleTimeoutMs?: number;
}

/** What somebody lacks of a tablet's log, and what came of asking for it. */
interface Question {
  readonly after: bigint;
  /** Damage that was known here when this was last answered. */
  damagedCount: number;
  readonly sidecars: Map<string, Asked>;
}

/** What came of asking one sidecar one question. */
interface Asked {
  /** How often it was said that it had something; what was new with it before did not help. */
  timesTold: number;
  /** It had more than came whole. */
  brokeOff: boolean;
  timesInVain: number;
  notBeforeMs: number;
}

/**
 * The held logs of the other sidecars: the same operations lie on the machines of all replicas, so what one of them
 * lacks another may have.
 */
export class RemoteLog implements GapFiller {
  readonly #options: RemoteLogOptions;
  readonly #idleTimeoutMs: number;
  /** The last of each asker about each tablet. */
  readonly #questions = new Map<string, Question>();

  constructor(options: RemoteLogOptions) {
    this.#options = options;
    this.#idleTimeoutMs = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS;
  }

  /**
   * Asks the other sidecars, one after the other, for a tablet's log after a position, and puts it where the tablet's
   * log is held; what came before is not fetched again. `filled`: there is something held that the asker was not told of,
   * and its first operation is `after`'s next or an earlier one, or damage was found, and what is held has another order
   * by that; of a segment that did not come whole nothing stays. `nobody`: no sidecar has it. `silent`: none that answers
   * has it, and one that does not may.
   *
   * @throws what {@link TabletHold.receive} does when the log cannot be kept here, and the signal's reason
   */
  async fill(tabletId: string, after: OpId, signal: AbortSignal, asker = ''): Promise<Filling> {
    const { listSidecars, selfId, holdOf } = this.#options;
    const logger = this.#options.logger.child({ tabletId, after: formatOpId(after) });
    const question = this.#questionOf(`${tabletId}/${asker}`, after);
    const { damagedCount } = holdOf(tabletId);
    if (damagedCount > question.damagedCount) {
      question.damagedCount = damagedCount;
      return 'filled';
    }
    const known = (await listSidecars(signal)).filter(({ id }) => id !== selfId);
    const others = known.filter(({ isAlive }) => isAlive);
    let isSilent = others.length < known.length;
    let isNews = false;
    const timesTold = ({ id }: KnownSidecar): number => question.sidecars.get(id)?.timesTold ?? 0;
    for (const sidecar of others.sort((a, b) => timesTold(a) - timesTold(b))) {
      signal.throwIfAborted();
      const asked = askedOf(question, sidecar.id);
      if (asked.notBeforeMs > performance.now()) continue;
      const came = { segments: 0 };
      try {
        if (await this.#take(sidecar, { tabletId, after, asked, came, logger, signal })) {
          Object.assign(asked, { timesTold: asked.timesTold + 1, brokeOff: false, timesInVain: 0 });
          return 'filled';
        }
        asked.notBeforeMs = performance.now() + backoffMs(++asked.timesInVain, ASK_AGAIN);
      } catch (error) {
        if (error instanceof KeepError) throw error.cause;
        signal.throwIfAborted();
        isSilent = true;
        if (came.segments > 0) {
          isNews ||= asked.timesTold < MAX_TIMES_TOLD;
          Object.assign(asked, { timesTold: asked.timesTold + 1, brokeOff: true });
        }
        const reason = error instanceof Error ? error.message : String(error);
        logger.warn({ sidecar: sidecar.id, http: sidecar.http, reason }, 'log not received from a sidecar');
      }
    }
    if (isNews) return 'filled'; // reading goes on with what came, and the rest is asked for when it ends there
    return isSilent ? 'silent' : 'nobody';
  }

  #questionOf(key: string, { index }: OpId): Question {
    const last = this.#questions.get(key);
    if (last?.after === index) return last;
    const question = { after: index, damagedCount: last?.damagedCount ?? 0, sidecars: new Map<string, Asked>() };
    this.#questions.set(key, question);
    return question;
  }

  /**
   * Takes in what is new of a sidecar's log. False when the sidecar has nothing of it, or not what comes next, or all was
   * told before: the headers of its log, which come first then, say whether it is worth more.
   * @throws when it does not give all it began; `came` counts the segments that came whole then
   */
  async #take(sidecar: KnownSidecar, request: TakeRequest): Promise<boolean> {
    const { tabletId, after, asked, came, logger } = request;
    const hold = this.#options.holdOf(tabletId);
    if (asked.timesTold > 0 && !(await this.#hasNews(sidecar, request, hadOf(hold, sidecar.id, true)))) return false;
    let [had, bytes] = [0, 0];
    const query = hadQuery(hadOf(hold, sidecar.id, asked.timesTold > 0));
    for await (const segment of this.#ask(sidecar, request, query)) {
      const { sequenceNumber, generation, minIndex, lastAppendMs } = segment;
      if (had + came.segments === 0 && (minIndex === null || minIndex > after.index + 1n)) {
        logger.info(
          { sidecar: sidecar.id, firstIndex: String(minIndex) },
          "a sidecar's log does not reach back either",
        );
        return false;
      }
      if (!segment.isSent) {
        had++;
        continue;
      }
      const content = new Watched(segment.content);
      await hold
        .receive(`${sidecar.id}.${generation}`, sequenceNumber, content, { lastAppendMs })
        .catch((error: unknown) => {
          throw content.hasFailed ? error : new KeepError('the log cannot be kept', { cause: error });
        });
      came.segments++;
      bytes += segment.bytes;
    }
    if (came.segments + had === 0) return false;
    logger.info(
      { sidecar: sidecar.id, segments: came.segments, bytes, ...(had > 0 && { had }) },
      'log received from a sidecar',
    );
    return came.segments > 0 || (had > 0 && asked.timesTold === 0);
  }

  /**
   * Whether a sidecar that has given its log has more of it: what the transfer broke off before, or a segment that may have
   * the operation in question. That segment may grow while the operation's COMMIT, which is what is missing, never comes.
   */
  async #hasNews(sidecar: KnownSidecar, request: TakeRequest, had: readonly HadSegments[]): Promise<boolean> {
    const { after, asked } = request;
    let isNews = false;
    for await (const segment of this.#ask(sidecar, request, '&headers=only')) {
      const { minIndex } = segment;
      const mayHelp = asked.brokeOff || (minIndex !== null && minIndex <= after.index + 1n);
      isNews ||= mayHelp && !isHad(segment, had);
    }
    return isNews && asked.timesTold < MAX_TIMES_TOLD;
  }

  /** The segments of a sidecar's log; none where it holds nothing of the tablet. */
  async *#ask(
    { http }: KnownSidecar,
    { tabletId, after, signal }: TakeRequest,
    query: string,
  ): AsyncGenerator<ReceivedSegment> {
    const { client } = this.#options;
    using idle = new IdleLimit(signal, this.#idleTimeoutMs);
    const path = `/v1/local/tablets/${tabletId}/log?after=${formatOpId(after)}${query}`;
    const response = await idle.watch(() => client.call(http, path, { signal: idle.signal }));
    if (response.ok && response.body !== null) {
      yield* decodeLog(idle.chunksOf(response.body));
      return;
    }
    await response.body?.cancel();
    if (response.status !== 404) throw new Error(`HTTP ${response.status}`);
  }
}

interface TakeRequest {
  readonly tabletId: string;
  readonly after: OpId;
  readonly asked: Asked;
  readonly came: { segments: number };
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

function askedOf({ sidecars }: Question, id: string): Asked {
  const known = sidecars.get(id);
  if (known !== undefined) return known;
  const asked: Asked = { timesTold: 0, brokeOff: false, timesInVain: 0, notBeforeMs: Number.NEGATIVE_INFINITY };
  sidecars.set(id, asked);
  return asked;
}

/**
 * What is held of a sidecar's log, in runs.
 * @param evenDamaged what came once for a question and is damaged here is damaged there: before that it may be whole there
 */
function hadOf(hold: ReceivingHold, sidecarId: string, evenDamaged: boolean): readonly HadSegments[] {
  const had: HadSegments[] = [];
  for (const { name, segments } of hold.received(`${sidecarId}.`)) {
    const generation = name.slice(sidecarId.length + 1);
    for (const { sequenceNumber: to, size: lastBytes, isDamaged } of segments) {
      if (isDamaged && !evenDamaged) continue;
      const last = had.at(-1);
      const goesOn = last?.generation === generation && last.to === to - 1;
      if (goesOn) had.pop();
      had.push({ generation, from: goesOn ? last.from : to, to, lastBytes });
    }
  }
  return had;
}

function hadQuery(had: readonly HadSegments[]): string {
  if (had.length === 0) return '';
  const pieces = had.slice(-MAX_HAD);
  return `&have=${pieces.map(({ generation, from, to, lastBytes }) => `${generation}:${from}-${to}:${lastBytes}`).join()}`;
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
