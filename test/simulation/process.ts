import type { step } from '../../src/shipping/replicator-core.ts';
import type { stepMarkers } from '../../src/keeping/marker-core.ts';
import type { stepRelease } from '../../src/keeping/release-queue.ts';
import type { AckedTrail } from '../../src/sinks/kafka/acked-trail.ts';
import type { Invariants } from './invariants.ts';
import type { Random } from './random.ts';
import type { SimSink } from './sink.ts';
import type { Entry, Tablet } from './tablet.ts';

/** Something that will happen: the scheduler says when, and whether before or after what else. */
export interface Task {
  readonly label: string;
  /** Not before. */
  readonly atMs: number;
  /** Whether it can happen at all now; what is not there stays outstanding, as a read at the end of the log does. */
  readonly isReady?: () => boolean;
  readonly run: () => void;
}

/** The code under test, and what its runners do: planted bugs replace some of it. */
export interface Rules {
  readonly step: typeof step;
  readonly stepMarkers: typeof stepMarkers;
  readonly stepRelease: typeof stepRelease;
  readonly newTrail: () => AckedTrail;
  readonly sinkFences: boolean;
  readonly readsUncommitted: boolean;
  /** Reports to the core as soon as a write begins. */
  readonly reportsWhenSent: boolean;
  /** Whether an apply marker in the log is an operation worth a marker. */
  readonly markersAreNews: boolean;
  /** Whether what a log gives counts that is being closed, or that has failed. */
  readonly readsClosingLogs: boolean;
  /** Reports what an at-least-once sink has before the sink says so itself. */
  readonly reportsUnsaved: boolean;
  /** Whether the position that is found in the sink counts as acknowledged. */
  readonly reportsFound: boolean;
  /** Whether a shipper that stands at a gap begins anew when a marker has got past it. */
  readonly leavesGaps: boolean;
  /** Whether the first living sidecar stands in for a dead one, and none for a living one, able or not. */
  readonly choosesByLife: boolean;
}

/** What the parts of a sidecar see of the world. */
export interface World {
  readonly nowMs: number;
  readonly random: Random;
  readonly rules: Rules;
  readonly tablet: Tablet;
  readonly invariants: Invariants;
  /** Requests under way: they outlive who sent them. */
  readonly network: Task[];
  readonly markersUnderWay: MarkerUnderWay[];
  /** How often a record cannot be encoded, by probability. */
  readonly encodingFailures: number;
  /** How often a hold lets go of a log while it is being opened, by probability. */
  readonly lostLogs: number;
  /** What becomes of a request. */
  fate(): Fate;
  /** Between any two effects a process may be killed: then this throws {@link Killed}. */
  mayBeKilled(process: Process): void;
  trace(what: string): void;
}

/** `impatient`: given up while it is still under way. */
export type Fate = 'answered' | 'lost' | 'answer-lost' | 'impatient';

export type MarkerOutcome = 'written' | 'failed';

/** A marker in a leader's log that no majority has yet. */
export interface MarkerUnderWay {
  readonly entry: Entry;
  readonly settle: (outcome: MarkerOutcome) => void;
}

export interface SimStream {
  readonly generation: string;
  readonly startIndex: number;
  readonly sink: SimSink;
  paused: boolean;
}

export class Killed extends Error {}

/** What of a sidecar's requests gets to a sink: all, none, or those that open a writer, while others are never answered. */
export type Reach = 'well' | 'cut-off' | 'hangs';

/** How long a request waits that is never answered. */
const PATIENCE_MS = 5_000;

/** One life of a sidecar's process. */
export class Process {
  readonly name: string;
  alive = true;
  frozen = false;
  tasks: Task[] = [];
  readonly #world: World;
  readonly #reach: () => Reach;

  constructor(name: string, world: World, reach: () => Reach) {
    this.name = name;
    this.#reach = reach;
    this.#world = world;
  }

  later(
    label: string,
    run: () => void,
    more: { readonly afterMs?: number; readonly isReady?: () => boolean } = {},
  ): void {
    const { afterMs = 0, isReady } = more;
    this.tasks.push({ label, atMs: this.#world.nowMs + afterMs, run, ...(isReady && { isReady }) });
  }

  /** A request to a sink over the network. `answered` or `lost` come back as a task of this process, if it lives then. */
  call<T>(
    label: string,
    arrive: () => T,
    outcome: { readonly answered: (answer: T) => void; readonly lost: () => void; readonly opens?: true },
  ): void {
    const { network } = this.#world;
    const reach = this.#reach();
    if (reach === 'hangs' && !outcome.opens) {
      this.later(`${label}: no answer`, outcome.lost, { afterMs: PATIENCE_MS });
      return;
    }
    const fate = reach === 'cut-off' ? 'lost' : this.#world.fate();
    if (fate === 'lost' || fate === 'impatient') this.later(`${label}: ${fate}`, outcome.lost);
    if (fate === 'lost') return;
    const run = (): void => {
      const answer = arrive();
      if (!this.alive || fate === 'impatient') return;
      if (fate === 'answer-lost') this.later(`${label}: answer lost`, outcome.lost);
      else
        this.later(`${label}: ${typeof answer === 'string' ? answer : 'answered'}`, () => {
          outcome.answered(answer);
        });
    };
    network.push({ label: `${this.name} ${label} arrives`, atMs: this.#world.nowMs, run });
  }
}
