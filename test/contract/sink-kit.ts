import { randomUUID } from 'node:crypto';
import type { Sink } from '../../src/sinks/sink.ts';
import type { SeenRecord } from './sink-records.ts';

/**
 * What a sink's own test provides. One store serves the whole suite; each case has a stream of its own in it. What is
 * optional is an ability: cases that need one which is not there are left out, and said to be.
 */
export interface SinkUnderTest {
  /** A sink of this stream, over the same store, as another process would make it. */
  open(streamName: string): Sink;
  /**
   * The records of the stream's rows and their tombstones in table `shop.orders`, each key's in order: at least `count` of
   * them, and all that follow shortly after. Marks, schemas and notes are left out.
   */
  read(streamName: string, count: number): Promise<readonly SeenRecord[]>;
  /** Runs `work` while the store cannot be reached. */
  duringOutage(work: () => Promise<void>): Promise<void>;
  /**
   * Ends a sink of {@link open} as `kill -9` of its process would: nothing that it has not sent goes out any more. Without it
   * such a sink is left as it stands, and closed when the case is over.
   */
  kill?(sink: Sink): Promise<void> | void;
  /** The next write of this stream takes effect, and its answer never comes, or an error does. */
  loseAnswer?(streamName: string): void;
  /** Runs `work` while the store answers nothing and breaks no connection, as a process that is stopped. */
  duringFreeze?(work: () => Promise<void>): Promise<void>;
  /** Runs `work` while each answer of the store takes some hundred milliseconds. */
  whileSlow?(work: () => Promise<void>): Promise<void>;
  /** Bytes of a value that the store does not take, where there is such a limit. */
  readonly tooLargeBytes?: number;
}

/** What a sink promises: the suite asks for no more, and for no less. */
export interface SinkPromises {
  /** Nothing twice, and nothing of a write that failed. Otherwise repeats are allowed, disorder and loss are not. */
  readonly exactlyOnce: boolean;
  /** `json`: the sink takes values and keys that are JSON without line breaks. Without it any bytes. */
  readonly values?: 'json';
  /** The store is this process's memory: how much of that is used says nothing of the sink. */
  readonly keepsInMemory?: true;
  /** An outage takes less than 100 ms: the random schedule has some. */
  readonly quickOutage?: true;
}

type Ability = 'kill' | 'loseAnswer' | 'duringFreeze' | 'whileSlow' | 'tooLargeBytes';

/** One promise of src/sinks/sink.ts, and how it is put to the test. Rejects where the sink breaks it. */
export interface SinkCase {
  readonly name: string;
  /** Without this ability it cannot be asked. */
  readonly needs?: Ability;
  /** What else keeps it from being asked; null for nothing. */
  readonly unless?: (promises: SinkPromises) => string | null;
  readonly run: (kit: SinkKit) => Promise<void>;
}

/** Why a case is not run on this sink; null where it is. */
export function whyLeftOut({ needs, unless }: SinkCase, sut: SinkUnderTest, promises: SinkPromises): string | null {
  if (needs !== undefined && sut[needs] === undefined) return `the sink's test provides no ${needs}`;
  return unless?.(promises) ?? null;
}

/** Runs one case, and closes every sink that it has opened, however it ends. */
export async function runCase({ run }: SinkCase, sut: SinkUnderTest, promises: SinkPromises): Promise<void> {
  const kit = new SinkKit(sut, promises);
  try {
    await run(kit);
  } finally {
    await kit.closeAll();
  }
}

/** What a case works with: sinks that die, and are closed when it is over. */
export class SinkKit {
  readonly sut: SinkUnderTest;
  readonly promises: SinkPromises;
  readonly #open = new Set<Sink>();
  readonly #dead = new Set<Sink>();

  constructor(sut: SinkUnderTest, promises: SinkPromises) {
    this.sut = sut;
    this.promises = promises;
  }

  freshStream(): string {
    return `s-${randomUUID().slice(0, 8)}`;
  }

  open(streamName: string): Sink {
    const sink = this.sut.open(streamName);
    this.#open.add(sink);
    return sink;
  }

  /** The process of this sink dies. */
  async kill(sink: Sink): Promise<void> {
    await this.sut.kill?.(sink);
    this.#dead.add(sink);
  }

  /** Closes those whose processes have died: in this one they try for ever to connect again. */
  async closeDead(): Promise<void> {
    const dead = [...this.#dead];
    this.#dead.clear();
    await Promise.allSettled(dead.map((sink) => this.close(sink)));
  }

  async close(sink: Sink): Promise<void> {
    this.#open.delete(sink);
    await sink[Symbol.asyncDispose]();
  }

  async closeAll(): Promise<void> {
    await Promise.allSettled([...this.#open].map((sink) => this.close(sink)));
  }
}
