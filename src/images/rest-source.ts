import type { Change } from '../change/change.ts';
import type { TabletPosition } from '../change/position.ts';
import { pickRows } from '../change/slice-rows.ts';
import type { OpId } from '../kudu/opid.ts';
import type { ChangeRead, ChangeSource } from '../source/change-source.ts';
import type { Wait } from '../util/waits.ts';
import { ShippedRows } from './shipped-rows.ts';

/**
 * The changes of a tablet as the log has them, behind rows that went out in slices while the stream still wanted them whole
 * ({@link TabletPosition.upTo}): those are left out.
 */
export class RestSource implements ChangeSource {
  readonly #source: ChangeSource;
  readonly #shipped: ShippedRows;

  /** @param from where it begins; the source behind it begins there too, and gives out rows that are shipped already as well */
  constructor(source: ChangeSource, from: TabletPosition) {
    this.#source = source;
    this.#shipped = new ShippedRows(from);
  }

  get committed(): OpId {
    return this.#source.committed;
  }

  get copyRows(): number | null {
    return this.#source.copyRows ?? null;
  }

  get takesTurn(): boolean {
    return this.#source.takesTurn ?? false;
  }

  get holdsRoom(): boolean {
    return this.#source.holdsRoom ?? false;
  }

  get waits(): Wait | null {
    return this.#source.waits ?? null;
  }

  async next(): Promise<ChangeRead | { readonly kind: 'gone' }> {
    const read = await this.#source.next();
    if (read.kind === 'gone') return read;
    const changes = read.changes.flatMap((change) => this.#rest(change) ?? []);
    return { ...read, changes, position: this.#shipped.behind(read.position) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }

  /** Null where nothing is left of it. */
  #rest(change: Change): Change | null {
    if (change.kind !== 'rows') return this.#shipped.hasOther(change) ? null : change;
    if (change.copy !== null) this.#shipped.end();
    const isShipped = (row: number): boolean => this.#shipped.has(change.opId, change.rowIndexes[row]!);
    if (!change.ops.some((_, row) => isShipped(row))) return change;
    const rest = pickRows(change, (row) => !isShipped(row));
    return rest.rowCount > 0 ? rest : null;
  }
}
