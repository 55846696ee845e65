import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { reportTopics, type SaidOfTopic, type WantedTopic } from '../../../../src/sinks/kafka/topic-report.ts';

const WANTED: WantedTopic = {
  ...{ topic: 'cdc.orders', of: 'rows', mayMake: true },
  ...{ partitions: 3, replicationFactor: 1, config: {} },
};
const [LEADER_NOT_AVAILABLE, UNKNOWN_TOPIC, ALREADY_EXISTS, INVALID_REPLICATION_FACTOR] = [5, 3, 36, 38] as const;

function metadata(errorCode: number): NonNullable<SaidOfTopic['metadata']> {
  return { errorCode, name: WANTED.topic, id: null, operations: null, partitions: [] };
}

function report(said: SaidOfTopic): { readonly state: string | undefined; readonly missing: readonly string[] } {
  const { places, missing } = reportTopics([WANTED], new Map([[WANTED.topic, said]]), []);
  return { state: places[0]?.state, missing };
}

describe('what is told of a topic', () => {
  it('takes one that is being made at this moment for one that is there', () => {
    assert.deepEqual(report({ metadata: metadata(LEADER_NOT_AVAILABLE) }), { state: 'there', missing: [] });
    const creation = { topic: WANTED.topic, errorCode: ALREADY_EXISTS, message: null };
    assert.deepEqual(report({ metadata: metadata(UNKNOWN_TOPIC), creation }), { state: 'there', missing: [] });
  });

  it('says what Kafka has against one', () => {
    const creation = { topic: WANTED.topic, errorCode: INVALID_REPLICATION_FACTOR, message: 'too many' };
    const { state, missing } = report({ metadata: metadata(UNKNOWN_TOPIC), creation });
    assert.equal(state, 'refused');
    assert.match(missing.join(), /Kafka refuses to make topic cdc\.orders: INVALID_REPLICATION_FACTOR: too many/);
  });
});
