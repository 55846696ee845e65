import type { RecordPlace, ShownPlace } from '../reader.ts';

/** An entry's id, `<ms>-<seq>`: two unsigned 64-bit numbers, the first of them the server's clock. */
export interface EntryId {
  readonly ms: bigint;
  readonly seq: bigint;
}

export function parseEntryId(text: string): EntryId {
  const match = /^(\d{1,20})-(\d{1,20})$/.exec(text);
  if (!match) throw new RangeError(`${JSON.stringify(text)} is no id of an entry`);
  return { ms: BigInt(match[1]!), seq: BigInt(match[2]!) };
}

export function formatEntryId({ ms, seq }: EntryId): string {
  return `${ms}-${seq}`;
}

export function compareEntryIds(a: EntryId, b: EntryId): number {
  if (a.ms !== b.ms) return a.ms < b.ms ? -1 : 1;
  return a.seq === b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}

/** The next id that there could be. */
export function idAfter({ ms, seq }: EntryId): EntryId {
  return { ms, seq: seq + 1n };
}

/*
 * An order is one number of 64 bits: 41 of milliseconds since 2020, which is until 2089, and 23 of the sequence, which is eight
 * million entries in a millisecond, or behind a clock that was set back.
 */
const EPOCH_MS = 1_577_836_800_000n;
const SEQ_BITS = 23n;
const MAX_MS = (1n << 41n) - 1n;
const MAX_SEQ = (1n << SEQ_BITS) - 1n;

/** @throws {RangeError} an id that no Redis has made by its clock between 2020 and 2089 */
export function orderOf(id: EntryId): bigint {
  const ms = id.ms - EPOCH_MS;
  if (ms < 0n || ms > MAX_MS || id.seq > MAX_SEQ)
    throw new RangeError(`the entry ${formatEntryId(id)} has an id that the server's clock cannot have made`);
  return (ms << SEQ_BITS) | id.seq;
}

export function idOfOrder(order: bigint): EntryId {
  return { ms: (order >> SEQ_BITS) + EPOCH_MS, seq: order & MAX_SEQ };
}

/** A key is a lane, and its ids are the order. */
export function showPlace({ lane, order }: RecordPlace): ShownPlace {
  const id = formatEntryId(idOfOrder(order));
  return { text: `${lane} ${id}`, fields: { key: lane, id } };
}
