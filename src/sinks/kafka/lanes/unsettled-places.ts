import type { KafkaCluster } from '../cluster.ts';
import { placeKey, placesIn, type Place } from './places.ts';

/**
 * Where what a lane has not committed may be open still, see open-ends.ts. How that was decided is told by the positions of the
 * tablets whose records it holds: so none of these may move before it is over. As long as their rows go where they went before, that
 * is looked at anyway; where partitions were added since, or an operation is left out now, it is not.
 */
export class UnsettledPlaces {
  /** Of an earlier process that wrote with this lane's id we do not know where it wrote. */
  #isAnywhere = true;
  /** By tablet, as {@link placeKey} names them. */
  readonly #byTablet = new Map<string, Set<string>>();

  /** Nothing is open anywhere. */
  allSettled(): void {
    this.#isAnywhere = false;
    this.#byTablet.clear();
  }

  /** Nothing is open where these were. */
  settled(tablet: string): void {
    this.#byTablet.delete(tablet);
  }

  /** A transaction was not committed, as far as is known. @param tabletsOf whose records it had, by {@link placeKey} */
  notCommitted(tabletsOf: ReadonlyMap<string, ReadonlySet<string>>): void {
    for (const [place, tablets] of tabletsOf)
      for (const tablet of tablets)
        this.#byTablet.set(tablet, (this.#byTablet.get(tablet) ?? new Set<string>()).add(place));
  }

  /**
   * Where to look before these tablets' positions move; without those for whom there is nowhere.
   * @param topicNames all in which the lane may have written
   */
  async of(
    tablets: readonly string[],
    cluster: Pick<KafkaCluster, 'findTopics'>,
    topicNames: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, readonly Place[]>> {
    const owing = this.#isAnywhere ? tablets : tablets.filter((tablet) => this.#byTablet.has(tablet));
    if (owing.length === 0) return new Map();
    const named = owing.flatMap((tablet) => [...(this.#byTablet.get(tablet) ?? [])]);
    const topics = new Set([...(this.#isAnywhere ? topicNames : []), ...named.map(topicOf)]);
    // As they are now: their leaders may be others, and one that was deleted has nothing open any more.
    const places = placesIn((await cluster.findTopics([...topics], signal, 'allow')).values());
    if (this.#isAnywhere) return new Map(owing.map((tablet) => [tablet, places]));
    const byKey = new Map(places.map((place) => [placeKey(place), place]));
    return new Map(
      owing.map((tablet) => [tablet, [...this.#byTablet.get(tablet)!].flatMap((key) => byKey.get(key) ?? [])]),
    );
  }
}

function topicOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/'));
}
