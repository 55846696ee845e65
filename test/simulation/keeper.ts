import { RELEASE_DELAY_MS } from '../../src/app/local-logs.ts';
import type { MarkedStream } from '../../src/change/apply-marker.ts';
import {
  type MarkerEffect,
  type MarkerEvent,
  type MarkerLimits,
  type MarkerState,
  type StreamMarks,
  NO_MARKERS,
  safeIndex,
} from '../../src/keeping/marker-core.ts';
import { NOTHING_TO_RELEASE, type ReleaseEvent, type ReleaseQueue } from '../../src/keeping/release-queue.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import type { MarkerOutcome, Process, World } from './process.ts';
import type { Entry, Replica } from './tablet.ts';

const LIMITS: MarkerLimits = { markerIntervalMs: 1000, retry: { baseMs: 200, capMs: 5000 } };
const MAX_ENTRIES_PER_READ = 8;

/** Carries out what marker-core.ts and release-queue.ts decide, as replica-keeper.ts does, in a simulated world. */
export class Keeper {
  state: MarkerState = NO_MARKERS;
  readonly #world: World;
  readonly #process: Process;
  readonly #replica: Replica;
  /** What the log had when the keeper came, and has not been read. */
  #backlog: Entry[] = [];
  #journalAt: number;
  #whenFlushed: ((outcome: MarkerOutcome) => void)[] = [];
  /** What was ever reported, whatever the core made of it. */
  readonly #reported = new Map<string, { readonly index: bigint; readonly worthIndex: bigint }>();
  #dueAtMs = Number.POSITIVE_INFINITY;
  #releases: ReleaseQueue = NOTHING_TO_RELEASE;

  constructor(world: World, process: Process, replica: Replica) {
    this.#world = world;
    this.#process = process;
    this.#replica = replica;
    replica.hold.enable(replica); // before the log is read: nothing may go between
    for (let index = 1; index <= replica.log.length; index++) {
      const found = replica.hold.find(index, replica);
      if (typeof found !== 'string') this.#backlog.push(found.entry);
    }
    this.#journalAt = replica.journal.length;
    this.#readLater();
  }

  /** Where a stream goes on, as far as markers say. */
  marked(generation: string): TabletPosition | null {
    return this.state.marked.get(generation)?.position ?? null;
  }

  /** What another sidecar's markers say is as true here. */
  learn(streams: Iterable<MarkedStream>): void {
    this.#post({ kind: 'marker-read', streams: [...streams] });
  }

  setStreams(streams: readonly StreamMarks[], { isSure }: { readonly isSure: boolean }): void {
    if (isSure) this.#stepRelease({ kind: 'sure' });
    if (this.state.streams.length !== streams.length) this.#post({ kind: 'streams', streams });
  }

  /** A stream is about to be made that begins behind what is here now. */
  pinFor(ms: number): void {
    this.#stepRelease({ kind: 'pin', ms });
  }

  acked(generation: string, position: TabletPosition, worthIndex: bigint): void {
    const known = this.#reported.get(generation);
    if (!known || position.opId.index > known.index)
      this.#reported.set(generation, { index: position.opId.index, worthIndex });
    this.#post({ kind: 'acked', generation, position, worthIndex, sink: 'sink' });
  }

  shippingEnded(generation: string): void {
    this.#post({ kind: 'flush' });
    this.#post({ kind: 'shipping-ended', generation });
  }

  /** Writes what is due, and goes on when that is written, or could not be. */
  flush(then: (outcome: MarkerOutcome) => void): void {
    this.#whenFlushed.push(then);
    this.#post({ kind: 'flush' });
  }

  /** Whether something is acknowledged that should be marked and is not. */
  get owesMarker(): boolean {
    return [...this.#reported].some(
      ([generation, { worthIndex }]) => worthIndex > (this.marked(generation)?.opId.index ?? 0n),
    );
  }

  #readLater(): void {
    const { journal } = this.#replica;
    const isReady = (): boolean => !this.state.caughtUp || this.#journalAt < journal.length;
    this.#process.later(
      'keeper reads',
      () => {
        this.#read();
      },
      { isReady },
    );
  }

  #read(): void {
    const { journal } = this.#replica;
    for (let i = 0; i < MAX_ENTRIES_PER_READ; i++) {
      const entry = this.#backlog.shift() ?? journal[this.#journalAt++];
      if (entry?.marker) this.#post({ kind: 'marker-read', streams: entry.marker });
      if (this.#journalAt > journal.length) this.#journalAt = journal.length;
    }
    if (this.#backlog.length === 0 && this.#journalAt === journal.length) this.#post({ kind: 'caught-up' });
    this.#readLater();
  }

  #post(event: MarkerEvent): void {
    const { state, effects } = this.#world.rules.stepMarkers(this.state, event, this.#world.nowMs, LIMITS);
    this.state = state;
    for (const effect of effects) {
      this.#world.mayBeKilled(this.#process);
      this.#perform(effect);
    }
  }

  #perform(effect: MarkerEffect): void {
    switch (effect.kind) {
      case 'write-marker':
        this.#write(effect.streams);
        return;
      case 'retry-marker-in':
        this.#process.later(
          'marker-retry-due',
          () => {
            this.#post({ kind: 'marker-retry-due' });
          },
          { afterMs: effect.ms },
        );
        return;
      case 'due-in':
        this.#dueIn(effect.ms);
        return;
      case 'flushed':
        for (const then of this.#whenFlushed.splice(0)) then(effect.all ? 'written' : 'failed');
        return;
      case 'release':
        this.#stepRelease({ kind: 'may-go', index: effect.index });
    }
  }

  #stepRelease(event: ReleaseEvent): void {
    const { nowMs, rules } = this.#world;
    const { queue, effects } = rules.stepRelease(this.#releases, event, nowMs, RELEASE_DELAY_MS);
    this.#releases = queue;
    for (const effect of effects) {
      this.#world.mayBeKilled(this.#process);
      if (effect.kind === 'release') this.#release(Number(effect.index));
      else
        this.#process.later(
          'release due',
          () => {
            this.#stepRelease({ kind: 'due', safe: safeIndex(this.state) });
          },
          { afterMs: effect.ms },
        );
    }
  }

  #release(index: number): void {
    const marked = new Map<string, number>();
    for (const [generation, { position }] of this.state.marked) marked.set(generation, Number(position.opId.index));
    this.#world.invariants.checkRelease(this.#process.name, index, marked);
    this.#world.trace(`${this.#process.name} releases up to ${index}`);
    this.#replica.hold.release(index);
  }

  #write(streams: readonly MarkedStream[]): void {
    const { tablet, random, invariants, markersUnderWay, network, nowMs } = this.#world;
    const said = streams.map(({ generation, position }) => ({ generation, index: Number(position.opId.index) }));
    invariants.checkMarker(this.#process.name, said);
    let settled = false;
    const settle = (outcome: MarkerOutcome): void => {
      if (settled || !this.#process.alive) return;
      settled = true;
      this.#process.later(`marker ${outcome}`, () => {
        this.#post(
          outcome === 'written' ? { kind: 'marker-written' } : { kind: 'marker-failed', lost: random.chance(0.2) },
        );
      });
    };
    const text = said.map(({ generation, index }) => `${generation}=${index}`).join(' ');
    const fate = this.#world.fate();
    if (fate === 'lost' || fate === 'impatient') settle('failed');
    if (fate === 'lost') return;
    network.push({
      label: `${this.#process.name} marker ${text} arrives`,
      atMs: nowMs,
      run: () => {
        const leaders = tablet.leaders();
        if (leaders.length === 0) {
          settle('failed');
          return;
        }
        const entry = tablet.propose(random.pick(leaders), { kind: 'marker', rows: 0, marker: streams });
        if (fate === 'answer-lost') settle('failed');
        else markersUnderWay.push({ entry, settle });
      },
    });
  }

  #dueIn(ms: number): void {
    const atMs = this.#world.nowMs + ms;
    if (this.#dueAtMs <= atMs) return;
    this.#dueAtMs = atMs;
    this.#process.later(
      'marker due',
      () => {
        if (this.#dueAtMs !== atMs) return; // an earlier one came instead
        this.#dueAtMs = Number.POSITIVE_INFINITY;
        this.#post({ kind: 'due' });
      },
      { afterMs: ms },
    );
  }
}
