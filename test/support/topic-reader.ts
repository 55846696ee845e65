import { setTimeout as sleep } from 'node:timers/promises';
import type { JavaCall } from './java-process.ts';
import { callJava } from './java-tools.ts';

/** A record as a consumer gets it. */
export interface TopicRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly timestampMs: number;
}

export interface TopicReaderOptions {
  readonly brokers: readonly string[];
  readonly topics: readonly string[];
  readonly onRecord: (record: TopicRecord) => void;
  readonly readUncommitted?: boolean;
  /** How long the broker may hold a fetch back when there is nothing. */
  readonly maxWaitMs?: number;
}

const TOPICS_APPEAR_MS = 90_000;

/**
 * A consumer of whole topics from their beginning, `read_committed` unless told otherwise: Kafka's own client
 * (test/java, ReadTopics). Not kafkajs's consumer: where several transactions of a partition were
 * aborted side by side it gives out records of some of them (2.2.4, filterAbortedMessages.js takes the broker's list of
 * them for sorted, and at most one of it a record).
 */
export class TopicReader implements AsyncDisposable {
  #call: JavaCall | null = null;
  readonly #onRecord: (record: TopicRecord) => void;
  #rest: Buffer = Buffer.alloc(0);
  #failure: unknown = null;
  #topicsAreThere = false;
  /** Null when nothing was there that had not come, when the reader looked last. */
  #whyNotAtEnd: string | null = 'it has not looked';
  #count = 0;
  #lastAtMs = performance.now();

  private constructor(onRecord: (record: TopicRecord) => void) {
    this.#onRecord = onRecord;
  }

  /** Resolves when all topics are there. */
  static async start(options: TopicReaderOptions): Promise<TopicReader> {
    const reader = new TopicReader(options.onRecord);
    const arguments_ = {
      brokers: options.brokers,
      topics: options.topics,
      isolation: options.readUncommitted === true ? 'read_uncommitted' : 'read_committed',
      'max-wait-ms': options.maxWaitMs ?? 100,
    };
    const call = await callJava('read-topics', arguments_, (bytes) => {
      try {
        reader.#take(bytes);
      } catch (error) {
        reader.#failure ??= error;
      }
    });
    reader.#call = call;
    call.done.catch((error: unknown) => (reader.#failure ??= error));
    try {
      const missing = (): string => `not all of ${options.topics.join(', ')} are there`;
      await reader.#until(() => reader.#topicsAreThere, TOPICS_APPEAR_MS, { pauseMs: 5, missing });
    } catch (error) {
      await reader[Symbol.asyncDispose]();
      throw error;
    }
    return reader;
  }

  get count(): number {
    return this.#count;
  }

  /** Resolves when `isEnough` holds, all that is there was read, and nothing more came for `quietMs`. @throws {Error} when that takes too long */
  async settle(isEnough: () => boolean, options: { quietMs?: number; timeoutMs: number }): Promise<void> {
    const quietMs = options.quietMs ?? 1500;
    const isQuiet = (): boolean => this.#whyNotAtEnd === null && performance.now() - this.#lastAtMs >= quietMs;
    const missing = (): string => {
      const sinceMs = Math.round(performance.now() - this.#lastAtMs);
      const rest = this.#whyNotAtEnd ?? 'and nothing else is there';
      return `${isEnough() ? 'enough' : 'not what is awaited'}, the last came ${sinceMs} ms ago, ${rest}`;
    };
    await this.#until(() => isEnough() && isQuiet(), options.timeoutMs, { pauseMs: 50, missing });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#call?.end();
  }

  async #until(
    isSo: () => boolean,
    timeoutMs: number,
    { pauseMs, missing }: { readonly pauseMs: number; readonly missing: () => string },
  ): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!isSo()) {
      if (this.#failure !== null) throw this.#failure as Error;
      if (performance.now() > deadline) throw new Error(`the topics have ${this.#count} records: ${missing()}`);
      await sleep(pauseMs);
    }
    if (this.#failure !== null) throw this.#failure as Error;
  }

  #take(bytes: Buffer): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    while (all.length - at >= 4) {
      const told = all.readInt32BE(at);
      const length = told < 0 ? -1 - told : told;
      if (all.length - at - 4 < length) break;
      at += 4;
      if (told < 0) this.#whyNotAtEnd = length === 0 ? null : all.toString('utf8', at, at + length);
      else if (length === 0) this.#topicsAreThere = true;
      else {
        this.#onRecord(readFrame(all.subarray(at, at + length)));
        this.#count += 1;
        this.#lastAtMs = performance.now();
        this.#whyNotAtEnd = 'more may come';
      }
      at += length;
    }
    this.#rest = all.subarray(at);
  }
}

/** The layout is told in ReadTopics.java. */
function readFrame(frame: Buffer): TopicRecord {
  let at = 0;
  const int32 = (): number => {
    at += 4;
    return frame.readInt32BE(at - 4);
  };
  const int64 = (): bigint => {
    at += 8;
    return frame.readBigInt64BE(at - 8);
  };
  const bytes = (): Buffer | null => {
    const length = int32();
    if (length < 0) return null;
    at += length;
    return frame.subarray(at - length, at);
  };
  const topic = String(bytes());
  const partition = int32();
  const offset = int64();
  const timestampMs = Number(int64());
  const key = bytes();
  const value = bytes();
  const headers: Record<string, string> = {};
  for (let count = int32(); count > 0; count--) headers[String(bytes())] = String(bytes());
  return { topic, partition, offset, key, value, headers, timestampMs };
}

/** All records of a topic, of which there are so many at least. */
export async function recordsIn(
  { brokers }: { readonly brokers: readonly string[] },
  topic: string,
  least: number,
): Promise<readonly TopicRecord[]> {
  const records: TopicRecord[] = [];
  await using reader = await TopicReader.start({
    brokers,
    topics: [topic],
    onRecord: (record) => records.push(record),
  });
  await reader.settle(() => records.length >= least, { quietMs: 500, timeoutMs: 30_000 });
  return records;
}
