import type { KafkaCluster, Topic } from '../cluster.ts';
import { KafkaCodeError } from '../wire/error-codes.ts';
import { placeKey, placesIn, type Place } from './places.ts';

type Cluster = Pick<KafkaCluster, 'findTopics'>;

/**
 * Where what a lane has not committed may be open still, see open-ends.ts. How that was decided is told by the positions of the
 * tablets whose records it holds: so none of these may move before it is over. As long as their rows go where they went before, that
 * is looked at anyway; where partitions were added since, or an operation is left out now, it is not.
 */
export class UnsettledPlaces {
  readonly #cluster: Cluster;
  readonly #topicNames: () => readonly string[];
  /** Of an earlier process that wrote with this lane's id we do not know where it wrote. */
  #isAnywhere = true;
  /** For whom all of that was looked at. */
  readonly #lookedAt = new Set<string>();
  /** By tablet, as {@link placeKey} names them. */
  readonly #byTablet = new Map<string, Set<string>>();

  /** @param topicNames all in which the lane may have written */
  constructor(cluster: Cluster, topicNames: () => readonly string[]) {
    this.#cluster = cluster;
    this.#topicNames = topicNames;
  }

  /** Nothing is open anywhere. */
  allSettled(): void {
    this.#isAnywhere = false;
    this.#lookedAt.clear();
    this.#byTablet.clear();
  }

  /** Nothing is open where {@link of} said. */
  settled(tablet: string): void {
    if (this.#isAnywhere) this.#lookedAt.add(tablet);
    this.#byTablet.delete(tablet);
  }

  /** A transaction was not committed, as far as is known. @param tabletsOf whose records it had, by {@link placeKey} */
  notCommitted(tabletsOf: ReadonlyMap<string, ReadonlySet<string>>): void {
    for (const [place, tablets] of tabletsOf)
      for (const tablet of tablets)
        this.#byTablet.set(tablet, (this.#byTablet.get(tablet) ?? new Set<string>()).add(place));
  }

  /** Where to look before these tablets' positions move; without those for whom there is nowhere. */
  async of(tablets: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, readonly Place[]>> {
    const isAnywhere = (tablet: string): boolean => this.#isAnywhere && !this.#lookedAt.has(tablet);
    const owing = tablets.filter((tablet) => isAnywhere(tablet) || this.#byTablet.has(tablet));
    if (owing.length === 0) return new Map();
    const keysOf = (tablet: string): string[] => [...(this.#byTablet.get(tablet) ?? [])];
    const topics = new Set([
      ...(owing.some(isAnywhere) ? this.#topicNames() : []),
      ...owing.flatMap(keysOf).map(topicOf),
    ]);
    // As they are now: their leaders may be others, and one that was deleted has nothing open any more.
    const places = placesIn(await describe(this.#cluster, [...topics], signal));
    const byKey = new Map(places.map((place) => [placeKey(place), place]));
    return new Map(
      owing.map((tablet) => [
        tablet,
        isAnywhere(tablet) ? places : keysOf(tablet).flatMap((key) => byKey.get(key) ?? []),
      ]),
    );
  }
}

/** One that we may not look at holds up nobody: what is open there cannot be seen to. */
async function describe(cluster: Cluster, names: readonly string[], signal: AbortSignal): Promise<Topic[]> {
  try {
    return [...(await cluster.findTopics(names, signal, 'allow')).values()];
  } catch (error) {
    if (!(error instanceof KafkaCodeError && error.kind === 'refused')) throw error;
    if (names.length === 1) return [];
  }
  const found: Topic[] = [];
  for (const name of names) found.push(...(await describe(cluster, [name], signal)));
  return found;
}

function topicOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/'));
}
