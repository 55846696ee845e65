import { Kafka, logLevel, type Consumer } from 'kafkajs';
import { ChangeTally } from './change-tally.ts';

/** Reads a topic as a consumer of the stream would: committed records only, from the beginning. */
export class TopicWatcher implements AsyncDisposable {
  readonly tally: ChangeTally;
  readonly #consumer: Consumer;

  private constructor(consumer: Consumer, tally: ChangeTally) {
    this.#consumer = consumer;
    this.tally = tally;
  }

  /** The topic must be there. */
  static async open(brokers: readonly string[], topic: string): Promise<TopicWatcher> {
    const kafka = new Kafka({
      clientId: 'spoor-demo',
      brokers: [...brokers],
      logLevel: logLevel.NOTHING,
      retry: { retries: Number.MAX_SAFE_INTEGER, initialRetryTime: 100, maxRetryTime: 500 }, // a broker may be away for a while
    });
    // Short times: a member that has come back waits until the one that it was counts as gone.
    const sessionTimeout = 6_000;
    const patience = { sessionTimeout, rebalanceTimeout: sessionTimeout, heartbeatInterval: 1_000 };
    const consumer = kafka.consumer({
      groupId: 'spoor-demo',
      readUncommitted: false,
      maxWaitTimeInMs: 100,
      ...patience,
    });
    const tally = new ChangeTally();
    // Nothing is committed: a consumer that begins anew begins at the beginning.
    const nextOffsets = new Map<number, bigint>();
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: ({ batch }) => {
        for (const { key, value, headers, offset } of batch.messages) {
          if (BigInt(offset) < (nextOffsets.get(batch.partition) ?? 0n)) continue;
          nextOffsets.set(batch.partition, BigInt(offset) + 1n);
          if (value !== null)
            tally.see(
              key?.toString('utf8') ?? '',
              value.toString('utf8'),
              `spoor.pos=${String(headers?.['spoor.pos'])}`,
            );
        }
        return Promise.resolve();
      },
    });
    return new TopicWatcher(consumer, tally);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer.disconnect();
  }
}
