import type { TabletPosition } from '../../src/change/position.ts';
import type { SimSink } from './sink.ts';
import type { Entry, Tablet } from './tablet.ts';

export type InvariantName =
  | 'only what is committed is delivered'
  | 'nothing is skipped'
  | 'exactly once'
  | 'the last word of every key is right'
  | 'repeats are bounded'
  | 'acked <= delivered'
  | 'marked <= acked'
  | 'released <= marked'
  | 'the hold keeps what a sink lacks'
  | 'a clean stop marks what is acknowledged'
  | 'no gap while a sidecar has the log'
  | 'whoever can ship does'
  | 'everything is delivered in the end'
  | 'markers catch up in the end'
  | 'holds shrink in the end'
  | 'markers beget no markers';

/** What broke, by name. */
export class BrokenInvariant extends Error {
  readonly invariant: InvariantName;

  constructor(invariant: InvariantName, what: string) {
    super(`broken: ${invariant}\n  ${what}`);
    this.invariant = invariant;
  }
}

/** What a stream's sink got, as an all-knowing reader sees it. */
interface Reader {
  readonly start: number;
  /** Every operation up to it is in the sink as far as it has rows. */
  durable: number;
  /** Index of the last delivered operation, and the writer it came from. */
  last: { readonly index: number; readonly epoch: number } | null;
  readonly seen: Set<number>;
  /** Where each writer was to go on. */
  readonly floors: Map<number, number>;
}

/** What a sidecar shows of itself to be checked. */
export interface Checked {
  readonly name: string;
  readonly acked: readonly { readonly generation: string; readonly index: number }[];
  readonly marked: readonly { readonly generation: string; readonly index: number }[];
}

/** Rare things that seeds must come by, or they show little. */
export type Sight =
  | 'an uncommitted tail was overwritten'
  | 'a sidecar was killed between two effects'
  | 'a stand-in shipped'
  | 'a stand-in shipped in the place of one that lives'
  | 'a gap was filled from another sidecar'
  | 'an older writer was fenced'
  | 'a write was aborted by a successor'
  | 'a write was committed though nobody heard of it'
  | 'an operation came again'
  | 'a marker was overwritten'
  | 'a replica was copied anew'
  | 'a stream was made meanwhile'
  | 'another shipped where the sinks hang'
  | 'damage in a held log was filled from another sidecar';

/** All that must be true, in one place. Operations count here by index alone: of what is committed there is one of each. */
export class Invariants {
  readonly sights = new Map<Sight, number>();
  readonly #tablet: Tablet;
  readonly #readers = new Map<string, Reader>();

  constructor(tablet: Tablet) {
    this.#tablet = tablet;
  }

  saw(sight: Sight): void {
    this.sights.set(sight, (this.sights.get(sight) ?? 0) + 1);
  }

  addStream(generation: string, start: number): void {
    this.#readers.set(generation, { start, durable: start, last: null, seen: new Set(), floors: new Map() });
  }

  /** A writer was opened that goes on after `index`. */
  opened(sink: SimSink, epoch: number, index: number): void {
    this.#reader(sink.generation).floors.set(epoch, index);
  }

  /** One operation with its rows became visible in a sink. */
  delivered(sink: SimSink, op: Entry, epoch: number): void {
    const reader = this.#reader(sink.generation);
    const of = `${name(op)} of stream ${sink.generation}, writer ${epoch}`;
    const { index } = op;
    if (this.#tablet.committed[index - 1] !== op)
      broken(
        'only what is committed is delivered',
        `${of}: committed there is ${name(this.#tablet.committed[index - 1])}`,
      );
    if (index <= reader.start) broken('nothing is skipped', `${of}: the stream begins after ${reader.start}`);
    if (sink.delivery === 'exactly-once' && reader.seen.has(index)) broken('exactly once', `${of} came before`);
    const { last } = reader;
    if (last?.epoch === epoch && index <= last.index)
      broken('nothing is skipped', `${of} comes behind ${last.index} of the same writer`);
    const isNewWriter = last?.epoch !== epoch;
    const missing = this.#withRows(isNewWriter ? reader.durable : last.index, index);
    if (missing) broken('nothing is skipped', `${of}: ${name(missing)} is not there, the last was ${last?.index}`);
    // A sink that keeps no position promises less: a successor begins at what its markers say and repeats from there; a
    // marker of its predecessor may still come, so that the one after it begins beyond what was repeated.
    const jumped = last && sink.delivery !== 'no-position' && this.#withRows(last.index, index);
    if (jumped)
      broken(
        'the last word of every key is right',
        `${of} follows the older ${last.index} of writer ${last.epoch}; what came between, ${name(jumped)}, is overwritten by it`,
      );
    const floor = reader.floors.get(epoch);
    if (floor !== undefined && index <= floor)
      broken('repeats are bounded', `${of}: marker or position said ${floor} when it was opened`);
    if (reader.seen.has(index)) this.saw('an operation came again');
    reader.last = { index, epoch };
    reader.seen.add(index);
    this.#extend(reader);
  }

  positionStored(sink: SimSink, position: TabletPosition): void {
    this.#claim('acked <= delivered', sink.generation, Number(position.opId.index), 'the position in the sink');
  }

  /** Whatever a sidecar believes after a step. */
  checkSidecar({ name: who, acked, marked }: Checked): void {
    for (const { generation, index } of acked) this.#claim('acked <= delivered', generation, index, who);
    for (const { generation, index } of marked) this.#claim('marked <= acked', generation, index, who);
  }

  /** A marker is about to be written: also one that never gets there is true. */
  checkMarker(who: string, said: readonly { readonly generation: string; readonly index: number }[]): void {
    for (const { generation, index } of said) this.#claim('marked <= acked', generation, index, `the marker of ${who}`);
  }

  /** A hold lets go of all up to `index`. */
  checkRelease(who: string, index: number, marked: ReadonlyMap<string, number>): void {
    for (const [generation, reader] of this.#readers) {
      if (index > reader.durable)
        broken(
          'the hold keeps what a sink lacks',
          `${who} lets go of all up to ${index}, stream ${generation} has ${reader.durable}`,
        );
      const said = Math.max(reader.start, marked.get(generation) ?? 0);
      if (index > said)
        broken(
          'released <= marked',
          `${who} lets go of all up to ${index}, marked for stream ${generation} is ${said}`,
        );
    }
  }

  checkStop(who: string, owesMarker: boolean): void {
    if (owesMarker) broken('a clean stop marks what is acknowledged', `${who} ended, and no marker says all of it`);
  }

  durable(generation: string): number {
    const reader = this.#reader(generation);
    this.#extend(reader);
    return reader.durable;
  }

  #claim(invariant: InvariantName, generation: string, index: number, who: string): void {
    const durable = this.durable(generation);
    if (index > durable) broken(invariant, `${who} says ${index} of stream ${generation}, the sink has ${durable}`);
  }

  #extend(reader: Reader): void {
    const { committed } = this.#tablet;
    for (; reader.durable < committed.length; reader.durable++) {
      const next = committed[reader.durable]!;
      if (next.rows > 0 && !reader.seen.has(next.index)) return;
    }
  }

  /** The first operation with rows between two indexes. */
  #withRows(after: number, before: number): Entry | undefined {
    for (let index = after + 1; index < before; index++) {
      const op = this.#tablet.committed[index - 1];
      if (op && op.rows > 0) return op;
    }
    return undefined;
  }

  #reader(generation: string): Reader {
    const reader = this.#readers.get(generation);
    if (!reader) throw new TypeError(`no stream ${generation}`);
    return reader;
  }
}

export function broken(invariant: InvariantName, what: string): never {
  throw new BrokenInvariant(invariant, what);
}

function name(op: Entry | undefined): string {
  return op ? `${op.term}.${op.index} (${op.kind}, ${op.rows} rows)` : 'nothing';
}
