/*
 * When two sidecars may both think that a tablet is theirs to ship: who waits for whom; the decisions alone. hand-over.ts
 * asks the others, tells what they say, and when it was asked.
 */

/** One sidecar's word on one tablet of a stream. */
export type Word = 'ships' | 'claims' | 'yields';

/** How often the others are asked while nothing happens. With more than fifty of them less often: ten are asked a second. */
const ASK_EVERY_MS = 5_000;
const ASK_EACH_MS = 100;
/** An old word counts no longer: whoever does not answer for so long is taken to be as able as it lives. */
const WORD_COUNTS_MS = 15_000;
/** A stand-in sees within some 4 s that we are back, and finishes the write in hand; past this it is fenced. */
const FINISH_WITHIN_MS = 15_000;
/** Who does not answer for so long is no longer waited for. */
const ANSWER_WITHIN_MS = 5_000;

const NO_WORDS: ReadonlyMap<string, Word> = new Map();

/** A question to the others that is under way. */
export interface Hearing {
  readonly look: number;
}

/** A moment since which the others are to be asked. */
export interface Since {
  readonly looks: number;
  readonly atMs: number;
}

/**
 * Keeps a stand-in and the sidecar that it stands in for from shipping one tablet side by side. No record would be lost by
 * that, since the sink fences one; but one that is fenced cannot save how far it got, and at-least-once repeats that.
 *
 * A stand-in shows its claim, then asks whether the leader's sidecar lives and can, and begins only where it does not. One
 * that starts, or can ship again, says that first, then asks for the others' claims, and begins only where there is none.
 * Whichever comes first, one of the two sees the other.
 */
export class HandOverCore {
  readonly selfUuid: string;
  readonly #now: () => number;
  readonly #started: Since;
  #alive: ReadonlySet<string> = new Set();
  /** Of tablets that we would begin to ship in another's place, as `stream/tablet`; and since when each is shown. */
  #claims = new Map<string, number>();
  /** The same, of the round before. */
  #claimed = new Map<string, number>();
  /** Those that have been there ever since it was asked who lives and can, */
  #asked = new Set<string>();
  /** and that was answered. */
  #examined = new Set<string>();
  /** By sidecar, what it said last of which tablets, and when. */
  readonly #words = new Map<string, { readonly of: ReadonlyMap<string, Word>; readonly atMs: number }>();
  /** Mostly nobody has anything to say of any. */
  #areSilent = true;
  /** Looks at the others that have begun since they can know that we live; the last of them that was answered, and by all? */
  #looks = 0;
  #answered = { look: 0, byAll: false };
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #isOver = false;
  /** Somebody waits for what the others say. */
  #isAwaited = false;
  /** One lives that did not when they were asked last. */
  #hasCome = false;

  constructor(selfUuid: string, now: () => number) {
    this.selfUuid = selfUuid;
    this.#now = now;
    this.#started = { looks: 0, atMs: now() };
  }

  lives(uuid: string): boolean {
    return this.#alive.has(uuid);
  }

  hasClaim(stream: string, tabletId: string): boolean {
    return this.#claims.size > 0 && this.#claims.has(keyOf(stream, tabletId));
  }

  /** What each of the other living sidecars said of a tablet of a stream, by the uuid of its tablet server. */
  words(stream: string, tabletId: string): ReadonlyMap<string, Word> {
    if (this.#areSilent) return NO_WORDS;
    let said: Map<string, Word> | null = null;
    for (const [uuid, { of }] of this.#words) {
      const word = of.size > 0 && this.lives(uuid) ? of.get(keyOf(stream, tabletId)) : undefined;
      if (word !== undefined) (said ??= new Map()).set(uuid, word);
    }
    return said ?? NO_WORDS;
  }

  /** What was claimed is claimed no more, unless it is claimed again at once. */
  dropClaims(): void {
    for (const keys of [this.#asked, this.#examined])
      for (const key of keys) if (!this.#claims.has(key)) keys.delete(key);
    this.#claimed = this.#claims;
    this.#claims = new Map();
    this.#isAwaited = false;
  }

  /** Now: what others say is to be asked behind it. */
  get since(): Since {
    return { looks: this.#looks, atMs: this.#now() };
  }

  /**
   * Whether we may begin what we lead, or can lead again.
   * @param since when we said that we can again; null where that was never in doubt: then it is our start
   */
  mayLead(stream: string, tabletId: string, since: Since | null): boolean {
    if (since === null && this.#isOver) return true;
    const { looks, atMs } = since ?? this.#started;
    const waitedMs = this.#now() - atMs;
    this.#isAwaited = true;
    if (waitedMs > FINISH_WITHIN_MS) return true;
    const isAnswered = this.#answered.look > looks;
    if (isAnswered && this.#standsIn(keyOf(stream, tabletId))) return false;
    return (isAnswered && this.#answered.byAll) || waitedMs > ANSWER_WITHIN_MS;
  }

  /** Claims a tablet that is ours to ship in another's place; answers whether we may begin now. To be asked after each look. */
  mayStandIn(stream: string, tabletId: string): boolean {
    const key = keyOf(stream, tabletId);
    const shownSinceMs = this.#claimed.get(key) ?? this.#claims.get(key) ?? this.#now();
    this.#claims.set(key, shownSinceMs);
    if (!this.#examined.has(key)) return false;
    return !this.#standsIn(key) || this.#now() - shownSinceMs > FINISH_WITHIN_MS;
  }

  /** A look at the others begins. @returns whether who lives is to be asked anew, whatever is known from before */
  beginLook(): { readonly asksAnew: boolean } {
    this.#asked = new Set(this.#claims.keys());
    return { asksAnew: this.#asked.size > 0 };
  }

  /** In a look: who lives. */
  foundLiving(uuids: ReadonlySet<string>): void {
    if ([...uuids].some((uuid) => !this.#alive.has(uuid))) this.#hasCome = true;
    this.#alive = uuids;
  }

  /** In a look, behind who lives: whether the others are to be asked what they say. */
  get wantsWords(): boolean {
    return this.#hasCome || this.#asked.size > 0 || this.#isAwaited || !this.#isOver || this.#isDue;
  }

  /** They are asked now. @param isAnnounced whether they can know that we live @returns to be told with the answers */
  beginHearing(isAnnounced: boolean): Hearing {
    this.#hasCome = false;
    this.#askedAtMs = this.#now();
    return { look: isAnnounced ? ++this.#looks : 0 };
  }

  /** What each said, by the uuid of its tablet server; null where one that may live does not answer. */
  heard({ look }: Hearing, said: ReadonlyMap<string, ReadonlyMap<string, Word> | null>): void {
    const atMs = this.#now();
    for (const [uuid, word] of this.#words) if (atMs - word.atMs > WORD_COUNTS_MS) this.#words.delete(uuid);
    for (const [uuid, of] of said) if (of !== null) this.#words.set(uuid, { of, atMs });
    this.#areSilent = [...this.#words.values()].every(({ of }) => of.size === 0);
    this.#answered = { look, byAll: [...said.values()].every((of) => of !== null) };
    this.#noteStart();
  }

  /** The look is over, and all of it was answered. @param isAnnounced as it was when the look began */
  endLook(isAnnounced: boolean): void {
    if (isAnnounced) this.#examined = this.#asked;
  }

  get #isDue(): boolean {
    return this.#now() - this.#askedAtMs > Math.max(ASK_EVERY_MS, this.#alive.size * ASK_EACH_MS);
  }

  /** Whether another sidecar ships it in its leader's place, or is about to. */
  #standsIn(key: string): boolean {
    return [...this.#words].some(([uuid, { of }]) => this.lives(uuid) && (of.get(key) ?? 'yields') !== 'yields');
  }

  /** While we are there nobody stands in for us unasked: once those have finished who did, that is over. */
  #noteStart(): void {
    const { look, byAll } = this.#answered;
    const standIns = [...this.#words.values()].some(({ of }) => [...of.values()].some((word) => word !== 'yields'));
    const isLate = this.#now() - this.#started.atMs > FINISH_WITHIN_MS;
    if (isLate || (look > 0 && byAll && !standIns)) this.#isOver = true;
  }
}

/** What a tablet of a stream goes by here. */
export function keyOf(stream: string, tabletId: string): string {
  return `${stream}/${tabletId}`;
}
