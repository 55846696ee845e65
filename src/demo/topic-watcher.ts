import { Kafka, logLevel, type Consumer } from 'kafkajs';

export interface TopicSample {
  readonly key: string;
  readonly value: string;
  readonly headers: string;
}

interface Envelope {
  readonly op: string;
  readonly ts_ms: number;
}

/** Reads a topic as a consumer of the stream would: committed records only, from the beginning. */
export class TopicWatcher implements AsyncDisposable {
  readonly #consumer: Consumer;
  readonly #samples = new Map<string, TopicSample>();
  #rows = 0;
  #worstAgeMs = 0;

  private constructor(consumer: Consumer) {
    this.#consumer = consumer;
  }

  /** The topic must be there. */
  static async open(brokers: readonly string[], topic: string): Promise<TopicWatcher> {
    const kafka = new Kafka({ clientId: 'spoor-demo', brokers: [...brokers], logLevel: logLevel.NOTHING });
    const consumer = kafka.consumer({ groupId: 'spoor-demo', readUncommitted: false, maxWaitTimeInMs: 100 });
    const watcher = new TopicWatcher(consumer);
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: ({ batch }) => {
        for (const { key, value, headers } of batch.messages) {
          if (value !== null) watcher.#see(key ?? Buffer.alloc(0), value, headers?.['spoor.pos']);
        }
        return Promise.resolve();
      },
    });
    return watcher;
  }

  /** Records seen, tombstones not counted: each is one row that changed. */
  get rows(): number {
    return this.#rows;
  }

  /** The first record of each kind of change, by its `op`. */
  get samples(): ReadonlyMap<string, TopicSample> {
    return this.#samples;
  }

  /** The longest time from commit in Kudu to here since this was last asked, in milliseconds. */
  takeWorstAgeMs(): number {
    const worst = this.#worstAgeMs;
    this.#worstAgeMs = 0;
    return worst;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer.disconnect();
  }

  #see(key: Buffer, value: Buffer, position: unknown): void {
    const text = value.toString('utf8');
    const { op, ts_ms } = JSON.parse(text) as Envelope;
    this.#rows++;
    this.#worstAgeMs = Math.max(this.#worstAgeMs, Date.now() - ts_ms);
    if (!this.#samples.has(op)) {
      this.#samples.set(op, { key: key.toString('utf8'), value: text, headers: `spoor.pos=${String(position)}` });
    }
  }
}
