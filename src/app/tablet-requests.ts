import type { ResyncedStream, ResyncRequest, RewindRequest, SkipRequest, TabletView } from '../api/shapes.ts';
import { compareOpIds, formatOpId, parseOpId } from '../kudu/opid.ts';
import { membershipIn } from '../streams/membership.ts';
import type { MemberTablet, StoredStream } from '../streams/stored-stream.ts';
import { UnknownMemberError } from '../streams/stream-errors.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import { tabletIdsOf } from './stream-changes.ts';
import { tablesOf, type StreamTablesOptions } from './stream-tables.ts';

export interface TabletRequestsOptions extends StreamTablesOptions {
  /** By encoded primary key of a table: which tablet it belongs to; null for none. */
  readonly tabletsOfKeys: (
    tableId: string,
    keys: readonly Buffer[],
    signal: AbortSignal,
  ) => Promise<readonly (string | null)[]>;
}

/**
 * What is asked for of tablets of a stream while it goes on, besides their log. It is stored for whoever ships them, and who asked is
 * not made to wait for it.
 * Errors: {@link UnknownMemberError} for a table, tablet or operation that cannot be meant
 */
export class TabletRequests {
  readonly #options: TabletRequestsOptions;

  constructor(options: TabletRequestsOptions) {
    this.#options = options;
  }

  /**
   * @returns the id of the request, by what it asks for
   * @throws {AggregateError} of such errors, one for each key that the tablet cannot have
   */
  async resync(
    stored: StoredStream,
    { from, keys, ...which }: ResyncRequest,
    signal: AbortSignal,
  ): Promise<Pick<ResyncedStream, 'correction' | 'resync'>> {
    const tablets = await this.#tablets(stored, which, signal);
    if (keys) return { correction: await this.#correct(stored, tablets[0]!, keys, signal) };
    const id = await this.#options.store.resync(stored, tablets, from, signal);
    return from === 'snapshot' ? { resync: id } : {};
  }

  /** @returns the id of the request */
  async rewind(stored: StoredStream, { to, ...which }: RewindRequest, signal: AbortSignal): Promise<string> {
    return this.#options.store.rewind(stored, await this.#tablets(stored, which, signal), to, signal);
  }

  /** @param views of the stream's tablets: what is shipped already is not left out any more */
  async skip(
    stored: StoredStream,
    { tablet, opId }: SkipRequest,
    views: readonly TabletView[],
    signal: AbortSignal,
  ): Promise<void> {
    const [member] = await this.#tablets(stored, { tablets: [tablet] }, signal, 'tablet');
    const view = views.find(({ tabletId }) => tabletId === tablet);
    const applied = view?.copy?.kind === 'log' ? null : view?.applyOpId; // of a rewind any operation may come again
    if (applied && compareOpIds(opId, parseOpId(applied)) <= 0)
      throw new UnknownMemberError(
        'opId',
        `operation ${formatOpId(opId)} is shipped already: the apply OpId of tablet ${tablet} is ${applied}`,
      );
    await this.#options.store.skip(stored, member!, opId, signal);
  }

  /** @param named where one tablet is named by itself, in which field */
  async #tablets(
    stored: StoredStream,
    { tables, tablets }: Pick<ResyncRequest, 'tables' | 'tablets'>,
    signal: AbortSignal,
    named?: string,
  ): Promise<MemberTablet[]> {
    const members = (await tablesOf(stored, this.#options, signal)).map(({ table }) => table);
    const asked = membersAsked(stored.definition.name, members, tables ?? null, tablets ?? null, named);
    return memberTabletsOf(stored, members, asked);
  }

  /** A key of another tablet would be deleted in the sink, since this one has no such row: each is looked at before. */
  async #correct(
    stored: StoredStream,
    tablet: MemberTablet,
    keys: readonly Buffer[],
    signal: AbortSignal,
  ): Promise<string> {
    const { tableId, tabletId } = tablet;
    const owners = await this.#options.tabletsOfKeys(tableId, keys, signal);
    const strays = owners.flatMap((owner, place) => {
      if (owner === tabletId) return [];
      const why = owner === null ? 'is no key that the table can have' : `belongs to tablet ${owner}`;
      return [new UnknownMemberError(`keys[${place}]`, why)];
    });
    if (strays.length > 0) throw new AggregateError(strays, `tablet ${tabletId} cannot have all of these keys`);
    return this.#options.store.correct(stored, tablet, keys, signal);
  }
}

function memberTabletsOf(
  stored: StoredStream,
  tables: readonly CatalogTable[],
  tabletIds: readonly string[],
): MemberTablet[] {
  const wanted = new Set(tabletIds);
  return tables.flatMap(({ tableId, tablets }) => {
    const membership = membershipIn(stored, tableId);
    return tablets.flatMap(({ tabletId }) => (wanted.has(tabletId) ? [{ tableId, tabletId, membership }] : []));
  });
}

/** The tablets of a stream that something is asked of; all of them where none are named. */
function membersAsked(
  stream: string,
  members: readonly CatalogTable[],
  tables: readonly string[] | null,
  tablets: readonly string[] | null,
  named?: string,
): string[] {
  const unknown = (tables ?? []).find((wanted) => members.every(({ name }) => name !== wanted));
  if (unknown !== undefined)
    throw new UnknownMemberError(`tables[${tables!.indexOf(unknown)}]`, `stream ${stream} has no table ${unknown}`);
  const ofTables = tabletIdsOf(members.filter(({ name }) => tables?.includes(name) ?? tablets === null));
  const all = new Set(tabletIdsOf(members));
  const stranger = (tablets ?? []).find((wanted) => !all.has(wanted));
  if (stranger !== undefined)
    throw new UnknownMemberError(
      named ?? `tablets[${tablets!.indexOf(stranger)}]`,
      `stream ${stream} has no tablet ${stranger}`,
    );
  return [...new Set([...ofTables, ...(tablets ?? [])])];
}
