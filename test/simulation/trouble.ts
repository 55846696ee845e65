import type { Random } from './random.ts';
import type { Delivery } from './sink.ts';

/** What may go wrong in a seed; each has some of it, so that rare things are not always drowned by frequent ones. */
export interface Trouble {
  readonly requests: number;
  readonly kills: number;
  readonly freezes: boolean;
  readonly elections: boolean;
  readonly restarts: boolean;
  readonly copies: boolean;
  readonly gc: boolean;
  /** Of a disk: one replica's in a seed, or what is committed might be nowhere. */
  readonly damage: boolean;
  readonly outages: boolean;
  readonly stops: boolean;
  readonly pauses: boolean;
  /** A tablet server is down beside a living sidecar. */
  readonly servers: boolean;
  /** The sinks are out of reach of one sidecar only. */
  readonly cutOffs: boolean;
  /** The sinks open for one sidecar, and then do not answer it. */
  readonly hangs: boolean;
  /** The second stream is made in the midst of it. */
  readonly streams: boolean;
}

/** What is the same in all seeds. */
export interface Focus {
  readonly delivery?: Delivery;
  readonly trouble?: Partial<Trouble>;
}

/** One of them is a stream's. */
export const DELIVERIES: readonly Delivery[] = ['exactly-once', 'exactly-once', 'at-least-once', 'no-position'];

export function troubleOf(random: Random): Trouble {
  const some = (): boolean => random.chance(0.6);
  return {
    requests: random.pick([0, 0.05, 0.2]),
    kills: random.pick([0, 0.003, 0.02]),
    freezes: some(),
    elections: some(),
    restarts: some(),
    copies: some(),
    gc: some(),
    outages: some(),
    stops: some(),
    pauses: some(),
    servers: some(),
    cutOffs: some(),
    damage: some(),
    hangs: some(),
    streams: some(),
  };
}
