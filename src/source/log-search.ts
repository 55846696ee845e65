import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { Whence } from '../streams/stored-stream.ts';
import { compareOpIds, MIN_OPID, type OpId } from '../kudu/opid.ts';
import { OpType, type ReplicateEntry } from '../wal/entry.ts';
import type { LogFeed } from '../wal/log-reader.ts';

export type Found =
  /** The log has all of it, behind this operation. */
  | { readonly kind: 'behind'; readonly opId: OpId }
  /** There is no such operation. */
  | { readonly kind: 'nothing' }
  /** The log begins later, or has a hole there. */
  | { readonly kind: 'gone' };

/**
 * Looks in a log for the first operation that is asked for. Fed with everything that was proposed, in the order of the log: what
 * a later leader wrote over counts no more. Pure.
 */
export class LogSearch {
  readonly #whence: Whence;
  /** Of the operations that count, where each term begins; the first is the first of all. */
  #terms: OpId[] = [];
  #found: OpId | null = null;

  constructor(whence: Whence) {
    this.#whence = whence;
  }

  push({ opId, opType, hybridTime }: Pick<ReplicateEntry, 'opId' | 'opType' | 'hybridTime'>): void {
    const { index } = opId;
    this.#terms = this.#terms.filter((start) => start.index < index);
    if (this.#terms.at(-1)?.term !== opId.term) this.#terms.push(opId);
    if (this.#found !== null && this.#found.index >= index) this.#found = null;
    if (this.#found === null && this.#isWanted(opId, opType, hybridTime)) this.#found = opId;
  }

  /** Operations are missing here. */
  hole(): void {
    if (this.#found === null) this.#terms = [];
  }

  get result(): Found {
    const [first] = this.#terms;
    const found = this.#found;
    if (first === undefined) return { kind: 'gone' }; // whatever it was, it is not here
    if (found === null) return { kind: 'nothing' };
    const index = found.index - 1n;
    if (index === 0n) return { kind: 'behind', opId: MIN_OPID };
    const start = this.#terms.findLast((each) => each.index <= index);
    if (start) return { kind: 'behind', opId: { term: start.term, index } };
    // The first that there is: whether it is the first that is wanted shows if it is named.
    const isNamed = 'opId' in this.#whence && this.#whence.opId.index === found.index;
    return isNamed ? { kind: 'behind', opId: { term: found.term, index } } : { kind: 'gone' };
  }

  #isWanted(opId: OpId, opType: number, hybridTime: HybridTime): boolean {
    if ('opId' in this.#whence) return compareOpIds(opId, this.#whence.opId) >= 0;
    return opType !== OpType.CHANGE_CONFIG && hybridTime >= this.#whence.time; // that one is stamped in no order
  }
}

/**
 * Reads a log up to an operation that is known to be in it.
 * @param until of its operations are looked at those before this one
 * @throws {Error} it has it no more; and what the feed throws
 */
export async function searchLog(feed: LogFeed, whence: Whence, until: OpId): Promise<Found> {
  const search = new LogSearch(whence);
  for (;;) {
    const chunk = await feed.next();
    switch (chunk.kind) {
      case 'gone':
        throw new Error('the log has gone before what is to be shipped again was found in it');
      case 'missing':
        search.hole();
        break;
      case 'entries':
        for (const entry of chunk.entries) {
          if (entry.opId.index === until.index && entry.opId.term === until.term) return search.result;
          if (entry.kind === 'replicate' && entry.opId.index < until.index) search.push(entry);
        }
        if (chunk.lentBytes !== undefined) feed.giveBack?.(chunk.lentBytes);
        break;
      case 'idle':
        throw new Error('the log was made anew, and does not have the operation up to which it is searched');
      case 'segment':
        break;
    }
  }
}
