import type { SidecarWord, TabletView } from '../api/shapes.ts';
import { HandOverCore, keyOf, type Word } from './hand-over-core.ts';

export interface HandOverOptions {
  /** Uuid of the tablet server beside us. */
  readonly selfUuid: string;
  /** Uuids of the tablet servers whose sidecars live; `fresh`: by an answer that is not remembered from before. */
  readonly aliveSidecars: (fresh: boolean, signal: AbortSignal) => Promise<ReadonlySet<string>>;
  /** Whether the other sidecars can know that we live. */
  readonly isAnnounced: () => boolean;
  /** What each of the other living sidecars has to say that is not as usual. */
  readonly exceptionsElsewhere: (signal: AbortSignal) => Promise<readonly SidecarWord[]>;
}

/** Asks the other sidecars for what hand-over-core.ts decides by. */
export class HandOver {
  readonly core: HandOverCore;
  readonly #options: HandOverOptions;

  constructor(options: HandOverOptions, now: () => number = () => performance.now()) {
    this.#options = options;
    this.core = new HandOverCore(options.selfUuid, now);
  }

  /** Asks who lives, and now and then, or where somebody waits for it, what the others say. */
  async look(signal: AbortSignal): Promise<void> {
    const { aliveSidecars, isAnnounced: knownToOthers } = this.#options;
    const { core } = this;
    const { asksAnew } = core.beginLook();
    const isAnnounced = knownToOthers();
    const failures: unknown[] = [];
    const answered = async (question: () => Promise<void>): Promise<void> => {
      await question().catch((error: unknown) => failures.push(error));
    };
    await answered(async () => {
      core.foundLiving(await aliveSidecars(asksAnew, signal));
    });
    if (core.wantsWords) await answered(() => this.#hear(isAnnounced, signal));
    if (failures.length > 0) throw failures[0] as Error;
    core.endLook(isAnnounced);
  }

  async #hear(isAnnounced: boolean, signal: AbortSignal): Promise<void> {
    const hearing = this.core.beginHearing(isAnnounced);
    const said = await this.#options.exceptionsElsewhere(signal);
    this.core.heard(hearing, new Map(said.map(({ tserverUuid, views }) => [tserverUuid, views && wordsOf(views)])));
  }
}

function wordsOf(views: readonly TabletView[]): Map<string, Word> {
  const words = new Map<string, Word>();
  for (const { stream, tabletId, role, yields, committedOpId } of views)
    if (yields === true) words.set(keyOf(stream, tabletId), 'yields');
    // Only of what is shipped is it known how far it goes.
    else if (role === 'follower') words.set(keyOf(stream, tabletId), committedOpId === null ? 'claims' : 'ships');
  return words;
}
