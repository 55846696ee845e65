import { randomUUID } from 'node:crypto';
import { type Sink, type SinkTablet, type TabletWriter, SinkError } from '../../src/sinks/sink.ts';
import { openWhenBack, positionAt, recordAt } from '../contract/sink.ts';
import { batches } from './record-batches.ts';

const KEYS = 5;

export interface LoadOptions {
  readonly sink: Sink;
  readonly tablet: SinkTablet;
  /** The tablet's log: operations 1 .. `last`, one row each, over a few keys. */
  readonly last: number;
  /** A number below `n`. */
  readonly random: (n: number) => number;
  /** Looked at before each write: whether to give up here. */
  readonly stop?: () => boolean;
  readonly onFailure?: (error: SinkError) => void;
}

/**
 * Ships a made-up log as the core does: opens, goes on behind the writer's position, writes several operations at a
 * time, and opens anew after any failure. Resolves when all is written, or told to stop.
 */
export async function shipLog({ sink, tablet, last, random, stop, onFailure }: LoadOptions): Promise<void> {
  const never = new AbortController().signal;
  let writer: TabletWriter = await openWhenBack(sink, tablet);
  let next = Number(writer.position?.opId.index ?? 0n) + 1;
  while (next <= last && stop?.() !== true) {
    const upTo = Math.min(last, next + random(8));
    const records = Array.from({ length: upTo - next + 1 }, (_, i) => recordAt(next + i, (next + i) % KEYS));
    const cut = random(records.length + 1);
    try {
      await writer.write(batches(records.slice(0, cut), records.slice(cut)), positionAt(upTo), never);
      next = upTo + 1;
    } catch (error) {
      if (!(error instanceof SinkError)) throw error;
      onFailure?.(error);
      await writer[Symbol.asyncDispose]();
      writer = await openWhenBack(sink, tablet);
      next = Number(writer.position?.opId.index ?? 0n) + 1;
    }
  }
  await writer[Symbol.asyncDispose]();
}

/** A small generator of repeatable numbers: `random(n)` is one below n. (mulberry32) */
export function seededRandom(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

/** What a sink is told of whose it is: another sidecar with each call. */
export function someSidecar() {
  return { streamGeneration: 'first', installation: 'test', sidecar: randomUUID() };
}
