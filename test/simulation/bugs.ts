import type { OpId } from '../../src/kudu/opid.ts';
import { stepMarkers, type MarkerStep } from '../../src/keeping/marker-core.ts';
import { stepRelease } from '../../src/keeping/release-queue.ts';
import { step, type ReplicatorEffect } from '../../src/shipping/replicator-core.ts';
import { AckedTrail } from '../../src/sinks/kafka/acked-trail.ts';
import type { InvariantName } from './invariants.ts';
import type { Rules } from './process.ts';
import type { Focus } from './trouble.ts';

/**
 * The cores as they are, carried out as they must be. Every rule below the third has a planted bug that shows why it
 * must: several of them were how the runners had it when the simulation was written.
 */
export const RULES: Rules = {
  step,
  stepMarkers,
  stepRelease,
  newTrail: () => new AckedTrail(),
  sinkFences: true,
  readsUncommitted: false,
  reportsWhenSent: false,
  markersAreNews: false,
  readsClosingLogs: false,
  reportsUnsaved: false,
  reportsFound: true,
  leavesGaps: true,
  choosesByLife: false,
};

/** A mistake that somebody may make, and by what it is found out. */
export interface PlantedBug {
  readonly name: string;
  readonly rules: Partial<Rules>;
  /** Rare as it is, seeds are played that have what it needs. */
  readonly focus?: Focus;
  /** Which of the invariants breaks first differs from seed to seed. */
  readonly breaks: readonly InvariantName[];
  /** Within so many seeds. */
  readonly withinSeeds: number;
  /** The first of them, 1 unless told otherwise: for a rare one that which showed it when it was planted. */
  readonly fromSeed?: number;
}

const next = ({ term, index }: OpId): OpId => ({ term, index: index + 1n });

/** Changes what a replicator is told to do. */
function withEffects(change: (effect: ReplicatorEffect) => ReplicatorEffect): typeof step {
  return (...args) => {
    const { state, effects } = step(...args);
    return { state, effects: effects.map(change) };
  };
}

function withRelease(result: MarkerStep, index: bigint): MarkerStep {
  return { state: result.state, effects: [...result.effects, { kind: 'release', index }] };
}

/** Nothing waits, and nobody is heard who is about to need it. */
const goesAtOnce: typeof stepRelease = (queue, event) => ({
  queue,
  effects: event.kind === 'may-go' ? [{ kind: 'release', index: event.index }] : [],
});

/** Ends with the first opening that comes to nothing. */
class ShortTrail extends AckedTrail {
  #isAcked = true;

  override opened(by: Parameters<AckedTrail['opened']>[0]): void {
    if (!this.#isAcked) super.opened({ ...by, epoch: -1 });
    super.opened(by);
    this.#isAcked = false;
  }

  override acked(...said: Parameters<AckedTrail['acked']>): void {
    super.acked(...said);
    this.#isAcked = true;
  }
}

/** An at-least-once sink that is hard to reach, and leaders that change; nothing else. */
const PING_PONG: Focus = {
  delivery: 'at-least-once',
  trouble: {
    requests: 0.2,
    kills: 0,
    freezes: true,
    elections: true,
    restarts: false,
    copies: false,
    gc: false,
    outages: false,
    stops: false,
    pauses: false,
    servers: false,
    cutOffs: false,
  },
};

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'a marker is written before the sink has acknowledged',
    rules: { reportsWhenSent: true },
    breaks: ['marked <= acked'],
    withinSeeds: 50,
  },
  {
    name: 'the hold lets go before the marker is written',
    rules: {
      stepMarkers: (state, event, nowMs, limits) => {
        const result = stepMarkers(state, event, nowMs, limits);
        return event.kind === 'acked' ? withRelease(result, event.position.opId.index) : result;
      },
      stepRelease: goesAtOnce,
    },
    breaks: ['released <= marked', 'the hold keeps what a sink lacks'],
    withinSeeds: 50,
  },
  {
    name: 'the hold goes by the stream that is furthest',
    rules: {
      stepMarkers: (state, event, nowMs, limits) => {
        const result = stepMarkers(state, event, nowMs, limits);
        const marked = [...result.state.marked.values()].map(({ position }) => position.opId.index);
        const most = marked.reduce((max, index) => (index > max ? index : max), 0n);
        return most > result.state.released ? withRelease(result, most) : result;
      },
      stepRelease: goesAtOnce,
    },
    breaks: ['released <= marked', 'the hold keeps what a sink lacks'],
    withinSeeds: 50,
  },
  {
    name: 'reading goes on one operation too far',
    rules: {
      step: withEffects((effect) =>
        effect.kind === 'open-log' ? { ...effect, after: { ...effect.after, opId: next(effect.after.opId) } } : effect,
      ),
    },
    breaks: [
      'nothing is skipped',
      'acked <= delivered',
      'everything is delivered in the end',
      'markers catch up in the end',
    ],
    withinSeeds: 50,
  },
  {
    name: 'operations ship before they are committed',
    rules: { readsUncommitted: true },
    breaks: ['only what is committed is delivered', 'acked <= delivered'],
    withinSeeds: 50,
  },
  {
    name: 'nothing fences an older writer',
    rules: { sinkFences: false },
    breaks: ['exactly once', 'nothing is skipped', 'the last word of every key is right'],
    withinSeeds: 200,
  },
  {
    name: 'an operation counts as acknowledged when it is sent',
    rules: {
      step: (state, event, nowMs, limits) => {
        const sent = step(state, event, nowMs, limits);
        const write = sent.effects.find((effect) => effect.kind === 'write');
        const upTo = write && sent.state.queue.at(write.count - 1)?.upTo;
        return upTo ? { state: { ...sent.state, acked: upTo }, effects: sent.effects } : sent;
      },
    },
    breaks: ['acked <= delivered'],
    withinSeeds: 50,
  },
  {
    name: "the sink's position is ignored when it is opened",
    rules: {
      step: (state, event, nowMs, limits) =>
        step(state, event.kind === 'sink-opened' ? { ...event, position: null } : event, nowMs, limits),
    },
    breaks: ['exactly once', 'repeats are bounded'],
    withinSeeds: 50,
  },
  {
    name: 'markers beget markers',
    rules: { markersAreNews: true },
    breaks: ['markers beget no markers', 'markers catch up in the end'],
    withinSeeds: 50,
  },
  {
    name: 'shipping that ends forgets what no marker says yet',
    rules: {
      stepMarkers: (state, event, nowMs, limits) => {
        if (event.kind !== 'shipping-ended') return stepMarkers(state, event, nowMs, limits);
        const acked = new Map(state.acked);
        acked.delete(event.generation);
        return { state: { ...state, acked }, effects: [] };
      },
    },
    breaks: ['a clean stop marks what is acknowledged', 'markers catch up in the end'],
    withinSeeds: 1000,
    fromSeed: 45,
  },
  {
    name: 'a clean stop waits for one marker, which was under way before',
    rules: {
      stepMarkers: (before, event, nowMs, limits) => {
        const { state, effects } = stepMarkers(before, event, nowMs, limits);
        if (event.kind !== 'marker-written' || !state.flushing) return { state, effects };
        return { state: { ...state, flushing: false }, effects: [...effects, { kind: 'flushed', all: true }] };
      },
    },
    breaks: ['a clean stop marks what is acknowledged'],
    withinSeeds: 1500,
    fromSeed: 336,
  },
  {
    name: 'what a log gives while it is being closed gets into the queue',
    rules: { readsClosingLogs: true },
    breaks: ['nothing is skipped', 'exactly once', 'acked <= delivered', 'repeats are bounded'],
    withinSeeds: 1500,
    fromSeed: 118,
  },
  {
    name: 'the position that was found in the sink is never marked',
    rules: { reportsFound: false },
    breaks: ['markers catch up in the end', 'holds shrink in the end'],
    withinSeeds: 4000,
    fromSeed: 133,
  },
  {
    name: 'a marker says what an at-least-once sink has and its position does not',
    rules: { reportsUnsaved: true },
    breaks: ['the last word of every key is right'],
    withinSeeds: 4000,
    fromSeed: 187,
  },
  {
    name: 'a writer that comes back goes on from its own place, whoever came between',
    rules: {
      step: (state, event, nowMs, limits) => {
        const isBehind =
          event.kind === 'sink-opened' && event.position && event.position.opId.index < state.acked.opId.index;
        return step(state, isBehind ? { ...event, position: null } : event, nowMs, limits);
      },
    },
    focus: PING_PONG,
    breaks: ['the last word of every key is right'],
    withinSeeds: 4000,
    fromSeed: 3221,
  },
  {
    name: 'a log is opened while it is being opened',
    rules: {
      step: (...args) => {
        const { state, effects } = step(...args);
        const { log } = state;
        const forgotten = 'opening' in log ? { ...state, log: { ...log, opening: null } } : state;
        return { state: forgotten, effects };
      },
    },
    focus: { ...PING_PONG, trouble: { ...PING_PONG.trouble, requests: 0.4 } },
    breaks: ['everything is delivered in the end', 'whoever can ship does', 'nothing is skipped', 'acked <= delivered'],
    withinSeeds: 4000,
  },
  {
    name: 'a shipper that slept stays at its gap, though the others have shipped past it',
    rules: { leavesGaps: false },
    breaks: [
      'no gap while a sidecar has the log',
      'markers catch up in the end',
      'holds shrink in the end',
      'markers beget no markers',
    ],
    withinSeeds: 6000,
    fromSeed: 9525,
  },
  {
    name: 'what no stream needs goes at once, though one is just being made that does',
    rules: { stepRelease: goesAtOnce },
    breaks: ['released <= marked', 'the hold keeps what a sink lacks', 'no gap while a sidecar has the log'],
    withinSeeds: 4000,
    fromSeed: 821,
  },
  {
    name: 'a writer that has found itself fenced waits for the next write to say so',
    rules: {
      step: (state, event, ...more) =>
        event.kind === 'writer-fenced' ? { state, effects: [] } : step(state, event, ...more),
    },
    breaks: ['markers catch up in the end', 'holds shrink in the end'],
    withinSeeds: 4000,
    fromSeed: 424,
  },
  {
    name: 'what was acknowledged is forgotten with the second opening that comes to nothing',
    rules: { newTrail: () => new ShortTrail() },
    breaks: ['whoever can ship does'],
    withinSeeds: 4000,
    fromSeed: 6531,
  },
  {
    name: 'the stand-in is the first sidecar that lives, whether it can ship or not',
    rules: { choosesByLife: true },
    breaks: ['whoever can ship does'],
    withinSeeds: 50,
  },
];
