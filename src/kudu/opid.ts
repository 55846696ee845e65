/**
 * A position in one tablet's replicated log.
 * Source: kudu/consensus/opid.proto OpId.
 */
export interface OpId {
  /** The Raft term in which a leader proposed the operation. */
  readonly term: bigint;
  /** 1, 2, 3 ... per tablet, without gaps among committed operations; 0 stands before the first. */
  readonly index: bigint;
}

/** Before the first operation of a tablet. */
export const MIN_OPID: OpId = Object.freeze({ term: 0n, index: 0n });

/** Orders by term, then by index: the order in which Raft compares logs. */
export function compareOpIds(a: OpId, b: OpId): number {
  if (a.term !== b.term) return a.term < b.term ? -1 : 1;
  if (a.index !== b.index) return a.index < b.index ? -1 : 1;
  return 0;
}

/** `7.1042`: term, dot, index. */
export function formatOpId(id: OpId): string {
  return `${id.term}.${id.index}`;
}

/** What {@link parseOpId} takes. */
export const OP_ID = /^(\d{1,19})\.(\d{1,19})$/;

/** Reads what {@link formatOpId} wrote. @throws {RangeError} on anything else */
export function parseOpId(text: string): OpId {
  const match = OP_ID.exec(text);
  if (!match)
    throw new RangeError(`an OpId is written <term>.<index>, for example 7.1042; got ${JSON.stringify(text)}`);
  return { term: BigInt(match[1]!), index: BigInt(match[2]!) };
}
