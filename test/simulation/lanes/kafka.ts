import type { TabletPosition } from '../../../src/change/position.ts';
import type { PositionsEntry, StoredPosition } from '../../../src/sinks/kafka/lanes/positions-view.ts';

interface Transaction {
  readonly producerId: bigint;
  state: 'open' | 'committing' | 'aborting' | 'committed' | 'aborted';
  /** Whether the positions partition has something of it. */
  hasPositions: boolean;
}

interface Producer {
  readonly id: bigint;
  epoch: number;
  transaction: Transaction | null;
}

/** One row of a tablet as it lies in the topic. */
export interface Row {
  readonly tablet: string;
  readonly index: number;
  readonly lane: string;
  readonly transaction: Transaction;
}

/** What brokers keep: producers and their transactions, the positions partition, and the rows of all tablets. */
export class SimKafka {
  entries: PositionsEntry[] = [];
  readonly rows: Row[] = [];
  /** How often it was compacted. */
  compactions = 0;
  #end = 0n;
  readonly #producers = new Map<string, Producer>();

  get end(): bigint {
    return this.#end;
  }

  /** Another epoch for a lane: what it had open is over, markers and all. */
  initProducer(lane: string): number {
    let producer = this.#producers.get(lane);
    if (producer === undefined)
      this.#producers.set(lane, (producer = { id: BigInt(this.#producers.size + 1), epoch: -1, transaction: null }));
    const { transaction } = producer;
    if (transaction?.state === 'open') transaction.state = 'aborting';
    if (transaction) this.writeMarkers(transaction);
    producer.transaction = null;
    return ++producer.epoch;
  }

  appendClaim(tablet: string, lane: string): bigint {
    return this.#append((offset) => ({ kind: 'claim', offset, tablet, lane }));
  }

  /** @returns whether it was taken: else the producer is fenced */
  appendRow(lane: string, epoch: number, tablet: string, index: number): boolean {
    const transaction = this.#transactionOf(lane, epoch);
    if (transaction) this.rows.push({ tablet, index, lane, transaction });
    return transaction !== null;
  }

  appendPosition(lane: string, epoch: number, tablet: string, stored: StoredPosition): boolean {
    const transaction = this.#transactionOf(lane, epoch);
    if (!transaction) return false;
    transaction.hasPositions = true;
    const { producerId } = transaction;
    this.#append((offset) => ({ kind: 'position', offset, tablet, producerId, stored }));
    return true;
  }

  /** A position that no transaction holds back. */
  appendLoosePosition(tablet: string, stored: StoredPosition): void {
    const producerId = -1n;
    this.#append((offset) => ({ kind: 'position', offset, tablet, producerId, stored }));
    this.#append((offset) => ({ kind: 'marker', offset, producerId, outcome: 'commit' }));
  }

  /** The decision; the partitions learn of it later. */
  commit(lane: string, epoch: number): Transaction | 'fenced' {
    const producer = this.#producers.get(lane)!;
    const { transaction } = producer;
    if (producer.epoch !== epoch || transaction?.state !== 'open') return 'fenced';
    transaction.state = 'committing';
    return transaction;
  }

  writeMarkers(transaction: Transaction): void {
    const { state, producerId } = transaction;
    if (state !== 'committing' && state !== 'aborting') return;
    const outcome = state === 'committing' ? 'commit' : 'abort';
    transaction.state = state === 'committing' ? 'committed' : 'aborted';
    if (transaction.hasPositions) this.#append((offset) => ({ kind: 'marker', offset, producerId, outcome }));
  }

  /** What consumers of committed rows get of a tablet, in its order; with what is decided and not told yet. */
  committedRows(tablet: string): Row[] {
    return this.rows.filter(
      (row) =>
        row.tablet === tablet && (row.transaction.state === 'committed' || row.transaction.state === 'committing'),
    );
  }

  /** Takes away, up to the first open transaction, what a newer record of the same key stands for, and what was aborted. */
  compact(): void {
    this.compactions++;
    const stable = this.#lastStableOffset();
    const outcomes = this.#outcomes();
    const seen = new Set<string>();
    const kept: PositionsEntry[] = [];
    for (const entry of this.entries.toReversed()) {
      if (entry.offset >= stable) {
        kept.push(entry);
        continue;
      }
      // Nobody deletes records by hand here, and no lane forgets a decision.
      if (entry.kind !== 'position' && entry.kind !== 'claim') {
        kept.push(entry);
        continue;
      }
      if (entry.kind === 'position' && outcomes.get(entry.offset) !== 'commit') continue;
      const key = entry.kind === 'claim' ? `claim ${entry.tablet} ${entry.lane}` : `position ${entry.tablet}`;
      if (seen.has(key)) continue;
      seen.add(key);
      kept.push(entry);
    }
    this.entries = kept.reverse();
  }

  #outcomes(): Map<bigint, 'commit' | 'abort'> {
    const outcomes = new Map<bigint, 'commit' | 'abort'>();
    const open = new Map<bigint, bigint[]>();
    for (const entry of this.entries)
      if (entry.kind === 'position') open.set(entry.producerId, [...(open.get(entry.producerId) ?? []), entry.offset]);
      else if (entry.kind === 'marker') {
        for (const offset of open.get(entry.producerId) ?? []) outcomes.set(offset, entry.outcome);
        open.delete(entry.producerId);
      }
    return outcomes;
  }

  #lastStableOffset(): bigint {
    const outcomes = this.#outcomes();
    const open = this.entries.find((entry) => entry.kind === 'position' && !outcomes.has(entry.offset));
    return open?.offset ?? this.#end;
  }

  #transactionOf(lane: string, epoch: number): Transaction | null {
    const producer = this.#producers.get(lane);
    if (producer?.epoch !== epoch) return null;
    const { transaction } = producer;
    if (transaction?.state === 'committing') this.writeMarkers(transaction); // the broker lets it wait until then
    if (transaction?.state !== 'open') {
      producer.transaction = { producerId: producer.id, state: 'open', hasPositions: false };
    }
    return producer.transaction;
  }

  #append(make: (offset: bigint) => PositionsEntry): bigint {
    const offset = this.#end++;
    this.entries.push(make(offset));
    return offset;
  }
}

export function positionAt(index: number): TabletPosition {
  return { opId: { term: 0n, index: BigInt(index) }, tableName: 'table', schemaVersion: 0 };
}
