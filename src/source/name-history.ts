import type { TabletPosition } from '../change/position.ts';

/** What a table is called, as a tablet server has it at a schema version. */
export interface NamedVersion {
  readonly tableName: string;
  readonly schemaVersion: number;
}

/** Asked of the tablet server beside us; null where it has no replica any more, and so no ALTER will come. */
export type NameLookUp = () => Promise<NamedVersion | null>;

/**
 * The name of a tablet's table at the operation that is being read. Records go by it, of whatever kind they are:
 *
 * - A tablet begins with the name that its table had when the stream met it: the joining name.
 * - ALTERs give it other names from their own operation on, but for those that the joining name is newer than. What they
 *   say is history: a table that joined as `orders` was never called otherwise as far as the stream goes.
 *
 * Each ALTER says what the table is called, whether it renames it or not, and the log does not say what the table was
 * called before the first. So up to which schema version there may be such history is asked for once, and is then part of
 * the position: whoever ships the tablet next goes by the same name. It ends at the first ALTER that says the joining name.
 */
export class NameHistory {
  #current: string;
  /** See {@link TabletPosition.named}. */
  #joinedUntil: number;
  readonly #isFromFirst: boolean;

  constructor({ opId, tableName, named }: TabletPosition) {
    this.#current = tableName;
    this.#joinedUntil = named ?? -1;
    this.#isFromFirst = opId.index === 0n && named === undefined;
  }

  get current(): string {
    return this.#current;
  }

  /**
   * Of a tablet that is read from its first operation on: up to where the joining name may hold.
   * @param version in force at that operation
   */
  async settle(version: number, lookUp: NameLookUp | undefined): Promise<void> {
    if (!this.#isFromFirst || !lookUp) return;
    const now = await lookUp();
    if (now === null) this.#joinedUntil = Number.MAX_SAFE_INTEGER;
    else if (now.tableName === this.#current) this.#joinedUntil = now.schemaVersion;
    // Born after its table was renamed: it never had the other name.
    else if (version >= now.schemaVersion) this.#current = now.tableName;
    // Renamed since it joined, by this version at the latest.
    else this.#joinedUntil = now.schemaVersion - 1;
  }

  /** @returns the name from this ALTER on */
  alter(version: number, name: string | null): string {
    if (name === null || (version <= this.#joinedUntil && name !== this.#current)) return this.#current;
    this.#joinedUntil = -1;
    return (this.#current = name);
  }

  /** What a position at a schema version says of the name. */
  at(version: number): Pick<TabletPosition, 'tableName' | 'named'> {
    return { tableName: this.#current, ...(version < this.#joinedUntil && { named: this.#joinedUntil }) };
  }
}
