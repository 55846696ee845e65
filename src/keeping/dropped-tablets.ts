import * as z from 'zod';
import type { DropKind, MissingChanges, TabletEnd } from '../change/change.ts';
import type { Logger } from '../util/logger.ts';
import { remembered } from '../util/remembered.ts';
import type { LocalReplica } from './local-replica.ts';
import type { Keepers } from './keepers.ts';

/** What Kudu's master knows of tablets, as far as their end is concerned. */
export interface TabletFates {
  /** Null: the tablet is there, wherever its replicas are. */
  dropKind(
    tablet: { readonly tableId: string; readonly tabletId: string },
    signal: AbortSignal,
  ): Promise<DropKind | null>;
  /** By tablet: what it has of its table, as JSON text. */
  partitionsOf(tableId: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
}

/** A tablet that is no more, and whose log is still held. */
export interface DroppedTablet {
  readonly kind: DropKind;
  readonly tableId: string;
  readonly tableName: string;
  readonly partition: string | null;
  /** Tablet servers that had its voters, in an order that all agree on. */
  readonly voterUuids: readonly string[];
  /** Generations of the streams that had it. */
  readonly generations: readonly string[];
  /** When it was found out here. */
  readonly sinceMs: number;
}

/** A tablet of a streamed table that is there. */
export interface DescribedTablet {
  readonly tabletId: string;
  readonly table: { readonly tableId: string; readonly name: string };
  /** Of the streams that have it. */
  readonly generations: readonly string[];
}

/** What remains is asked for with the next look, a second later. */
const TABLES_ASKED_A_LOOK = 16;

/** Kept with the held log: when the tablet is dropped nobody else says whose it was. */
const noteJson = z.object({
  tableId: z.string(),
  tableName: z.string(),
  partition: z.string().nullable(),
  voterUuids: z.array(z.string()),
  generations: z.array(z.string()),
  /** Up to which index a limit has let go of the log before all streams had it. */
  lostTo: z
    .string()
    .regex(/^\d{1,19}$/)
    .exactOptional(),
});
type Note = z.output<typeof noteJson>;

/**
 * Tablets that were dropped while their logs are held. What was not shipped by then is in the held log still, and its end
 * is to be told; so it is written down of every tablet what nobody will know any more.
 */
export class DroppedTablets {
  readonly #keepers: Keepers;
  readonly #fates: TabletFates;
  readonly #dropped = new Map<string, DroppedTablet>();
  /** Of tablets whose log is kept here, as the master told it. */
  readonly #partitions = new Map<string, string>();
  /** Of what all was written down that there is to say, as which text: while none of the three is another, nothing is to be done. */
  readonly #described = new WeakMap<
    DescribedTablet,
    { readonly replica: LocalReplica; readonly text: string | null }
  >();
  /** What was written down, as it was read last. */
  readonly #read = new Map<string, { readonly text: string; readonly note: Note | null }>();
  /** Of which streams' tablets it was told what is missing. */
  readonly #told = new Set<string>();
  readonly #logger: Logger;

  constructor(keepers: Keepers, fates: TabletFates, logger: Logger) {
    this.#keepers = keepers;
    this.#fates = fates;
    this.#logger = logger;
  }

  get(tabletId: string): DroppedTablet | undefined {
    return this.#dropped.get(tabletId);
  }

  /** Generations of the streams that had a tablet when that was last written down. */
  generationsOf(tabletId: string): readonly string[] {
    return this.#note(tabletId)?.generations ?? [];
  }

  /** Null where the tablet lives on elsewhere. */
  async whyGone(
    tablet: { readonly tableId: string; readonly tabletId: string },
    signal: AbortSignal,
  ): Promise<TabletEnd | null> {
    const { tabletId } = tablet;
    const event = this.#dropped.get(tabletId)?.kind ?? (await this.#fates.dropKind(tablet, signal));
    if (event === null) return null;
    const note = this.#note(tabletId);
    const read = this.#keepers.get(tabletId)?.worthIndex ?? 0n;
    const lost = BigInt(note?.lostTo ?? 0);
    const partition = note?.partition ?? this.#partitions.get(tabletId) ?? null;
    return { event, partition, lastIndex: read > lost ? read : lost };
  }

  /**
   * Writes down that a limit has let go of a tablet's log up to an index. When the tablet is dropped nothing that is left
   * of the log may tell that there was more.
   */
  noteLost(tabletId: string, toIndex: bigint): void {
    const note = this.#note(tabletId);
    if (note === null || BigInt(note.lostTo ?? 0) >= toIndex) return;
    const now: Note = { ...note, lostTo: toIndex.toString() };
    this.#keepers.get(tabletId)?.hold.describe(JSON.stringify(now));
  }

  /** An error for a person, once: nobody will ever ship these. */
  tellMissing(
    stream: { readonly name: string; readonly generation: string },
    tabletId: string,
    missing: MissingChanges,
  ): void {
    const key = `${stream.generation}/${tabletId}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const { operations, copy } = missing;
    this.#logger.error(
      {
        stream: stream.name,
        tabletId,
        ...(operations && {
          fromIndex: operations.fromIndex.toString(),
          toIndex: operations.toIndex.toString(),
        }),
        copy,
      },
      'the tablet was dropped before all of it was shipped: what is missing is lost to the stream, and its end says so',
    );
  }

  /** Writes down what is known of streamed tablets that have a replica here. */
  async write(
    streamed: readonly DescribedTablet[],
    replicas: ReadonlyMap<string, LocalReplica>,
    signal: AbortSignal,
  ): Promise<void> {
    // At once what is known at once: the tablet may be dropped before the master has said the rest.
    const vague = streamed.filter((tablet) => !this.#describe(tablet, replicas));
    const tableIds = new Set(vague.map(({ table }) => table.tableId));
    for (const tableId of [...tableIds].slice(0, TABLES_ASKED_A_LOOK))
      for (const [tabletId, text] of await this.#fates.partitionsOf(tableId, signal))
        if (this.#keepers.get(tabletId)) this.#partitions.set(tabletId, text);
    for (const tablet of vague) this.#describe(tablet, replicas);
  }

  /** @returns whether nothing about it is left to ask */
  #describe(tablet: DescribedTablet, replicas: ReadonlyMap<string, LocalReplica>): boolean {
    const { tabletId, table, generations } = tablet;
    const keeper = this.#keepers.get(tabletId);
    const replica = replicas.get(tabletId);
    if (!keeper || !replica) return true;
    const described = this.#described.get(tablet);
    if (described?.replica === replica && described.text === this.#keepers.noteOf(tabletId)) return true;
    const before = this.#note(tabletId);
    const partition = this.#partitions.get(tabletId) ?? before?.partition ?? null;
    const voterUuids = replica.voterUuids.length > 0 ? replica.voterUuids.toSorted() : (before?.voterUuids ?? []);
    const note: Note = {
      tableId: table.tableId,
      tableName: table.name,
      partition,
      voterUuids,
      generations: [...generations],
      ...(before?.lostTo !== undefined && { lostTo: before.lostTo }),
    };
    const isNews = before === null || !isSame(before, note);
    if (isNews) keeper.hold.describe(JSON.stringify(note));
    else if (partition !== null) this.#described.set(tablet, { replica, text: this.#keepers.noteOf(tabletId) });
    return partition !== null;
  }

  /** Finds out which of these tablets, which the master does not list and that have no replica here, were dropped. */
  async look(unlisted: readonly string[], signal: AbortSignal): Promise<void> {
    this.#forgetAllBut(this.#keepers.tabletIds());
    for (const tabletId of unlisted) {
      const note = this.#dropped.has(tabletId) ? null : this.#note(tabletId);
      if (note === null) continue;
      const kind = await this.#fates.dropKind({ tableId: note.tableId, tabletId }, signal);
      if (kind !== null) this.#dropped.set(tabletId, { kind, ...note, sinceMs: performance.now() });
    }
  }

  readonly #forgetAllBut = remembered((held: ReadonlySet<string>): void => {
    for (const known of [this.#dropped, this.#partitions, this.#read])
      for (const tabletId of known.keys()) if (!held.has(tabletId)) known.delete(tabletId);
  });

  /** Asked of every tablet each second, so one is parsed again only when it is another text. */
  #note(tabletId: string): Note | null {
    const text = this.#keepers.noteOf(tabletId);
    if (text === null) return null;
    let read = this.#read.get(tabletId);
    if (read?.text !== text) this.#read.set(tabletId, (read = { text, note: parseNote(text) }));
    return read.note;
  }
}

/** Whether nothing is to be written down anew. */
function isSame(before: Note, note: Note): boolean {
  return (
    before.tableId === note.tableId &&
    before.tableName === note.tableName &&
    before.partition === note.partition &&
    areSame(before.voterUuids, note.voterUuids) &&
    areSame(before.generations, note.generations)
  );
}

function areSame(before: readonly string[], now: readonly string[]): boolean {
  return before.length === now.length && before.every((each, i) => each === now[i]);
}

/** Null for one of another version: then it is as if nothing were known. */
function parseNote(text: string): Note | null {
  try {
    return noteJson.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
