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
    const kafka = new Kafka({ clientId: 'spoor-demo', brokers: [...brokers], logLevel: logLevel.NOTHING });
    const consumer = kafka.consumer({ groupId: 'spoor-demo', readUncommitted: false, maxWaitTimeInMs: 100 });
    const tally = new ChangeTally();
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: ({ batch }) => {
        for (const { key, value, headers } of batch.messages)
          if (value !== null)
            tally.see(
              key?.toString('utf8') ?? '',
              value.toString('utf8'),
              `spoor.pos=${String(headers?.['spoor.pos'])}`,
            );
        return Promise.resolve();
      },
    });
    return new TopicWatcher(consumer, tally);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer.disconnect();
  }
}
