import type { TabletPosition } from '../../change/position.ts';

/** A count that something is to reach. */
export interface Needed {
  readonly of: { readonly confirmed: number };
  readonly count: number;
}

/** More are thinned out: what is left out passes for worth what the one before it is. */
const MOST = 256;

/**
 * Which of a tablet's positions outlive their servers: each says which writes have to, on which servers.
 * They are told in order, and a position is saved when all that came before it are.
 */
export class SavedTrail {
  #saved: TabletPosition | null = null;
  #waiting: { readonly position: TabletPosition; readonly needs: readonly Needed[] }[] = [];

  get saved(): TabletPosition | null {
    return this.#saved;
  }

  /** It is in Redis. */
  written(position: TabletPosition, needs: readonly Needed[]): void {
    this.#waiting.push({ position, needs });
    if (this.#waiting.length > MOST) this.#waiting = this.#waiting.filter((_, at) => at % 2 === 1);
  }

  /** Looks again. @returns whether {@link saved} has moved */
  look(): boolean {
    const isOpen = this.#waiting.findIndex(({ needs }) => needs.some(({ of, count }) => of.confirmed < count));
    const done = isOpen < 0 ? this.#waiting.length : isOpen;
    if (done === 0) return false;
    this.#saved = this.#waiting[done - 1]!.position;
    this.#waiting = this.#waiting.slice(done);
    return true;
  }
}
