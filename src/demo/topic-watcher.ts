import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { createKafkaReader, type KafkaReader } from '../sinks/kafka/kafka-reader.ts';
import { ChangeTally } from './change-tally.ts';

const AGAIN_MS = 100;

/**
 * Reads a topic as a consumer of the stream would: committed records only, from the beginning. Not with kafkajs's
 * consumer, which takes records of aborted transactions for committed ones (docs/sinks.md, "Consumers"): a broker that
 * is killed leaves some.
 */
export class TopicWatcher implements AsyncDisposable {
  readonly tally = new ChangeTally();
  readonly #reader: KafkaReader;
  readonly #reading: Promise<void>;
  readonly #stop = new AbortController();

  /** `topic`: it may appear later. */
  constructor(brokers: readonly string[], topic: string) {
    const naming = { streamName: 'demo', topic, schemaTopic: topic };
    this.#reader = createKafkaReader({ brokers, ...naming, logger: pino({ level: 'silent' }) });
    this.#reading = this.#follow(topic);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#reading;
    await this.#reader[Symbol.asyncDispose]();
  }

  async #follow(topic: string): Promise<void> {
    const { signal } = this.#stop;
    const next = new Map<string, bigint>();
    while (!signal.aborted) {
      try {
        for await (const records of this.#reader.readOn(topic, next, signal))
          for (const { place, key, value, position } of records) {
            next.set(place.lane, place.order + 1n);
            if (value !== null) this.tally.see(String(key ?? ''), String(value), `spoor.pos=${position}`);
          }
      } catch {
        // The broker is away: it is asked again.
      }
      await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
