import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { KafkaCluster, Topic } from '../../../../src/sinks/kafka/cluster.ts';
import { nextSequence, Producer } from '../../../../src/sinks/kafka/producer.ts';
import { BatchLimits } from '../../../../src/sinks/kafka/record-planner.ts';
import { partitionBatch } from '../../../support/kafka-batches.ts';

describe('nextSequence', () => {
  const MAX = 2 ** 31 - 1;
  for (const [sequence, count, next] of [
    [0, 5, 5],
    [MAX - 5, 5, MAX],
    [MAX, 1, 0], // kafkajs goes to 0 whatever the count, and the broker then refuses the batch
    [MAX - 4, 10, 5],
  ] as const)
    it(`is ${next} after ${count} records from ${sequence} on`, () => {
      assert.equal(nextSequence(sequence, count), next);
    });
});

describe('BatchLimits', () => {
  it('starts below the megabyte that brokers take, and shrinks by topic until it fits', () => {
    const limits = new BatchLimits();
    assert.ok(limits.of('a') < 1_000_000);
    limits.shrink('a', 40_000);
    limits.shrink('a', 80_000); // an earlier batch, refused later
    assert.equal(limits.of('a'), 10_000);
    assert.ok(limits.of('b') > 100_000);
  });
});

describe('a record that Kafka does not take', () => {
  it('is named by its key, since all rows of a copy have one position', async () => {
    const cluster = {
      patienceWith: () => ({ ms: 1000, brokerMs: 1000 }),
      send: () => Promise.resolve([{ topic: 'cdc.a', partition: 0, errorCode: 10, message: null }]),
    };
    const identity = { transactionalId: 'spoor.s.t', producerId: 1n, epoch: 0 };
    const opened = { identity, coordinator: 1, channel: 1, transactionTime: { ms: 60_000, wantedMs: 60_000 } };
    const options = {
      transactional: true,
      batchLimits: new BatchLimits(),
      marks: { refused: () => undefined },
      compression: 'none' as const,
    };
    const producer = new Producer(cluster as unknown as KafkaCluster, opened, options);
    const record = {
      kind: 'row' as const,
      table: 'shop.a',
      key: Buffer.from('{"id":7}'),
      value: Buffer.alloc(1_200_000),
      position: 'tablet/base.123',
      timestampMs: 0,
    };
    const topic = { name: 'cdc.a', leaders: [1] } as unknown as Topic;
    const { parts, count } = partitionBatch('cdc.a', 0, [record]);
    const request = [{ topic, partition: 0, parts, count, bytes: 1_200_100 }];
    await assert.rejects(
      producer.send(request, new AbortController().signal),
      /topic cdc\.a does not take the record tablet\/base\.123 of 1200000 bytes \(table shop\.a, key \{"id":7\}\): raise/,
    );
  });
});
