import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import { toSinkError } from '../../../../src/sinks/kafka/kafka-error.ts';
import { KafkaCodeError } from '../../../../src/sinks/kafka/wire/error-codes.ts';
import { SinkError, type SinkErrorKind } from '../../../../src/sinks/sink.ts';

// kafkajs spreads its errors into its exports, where an import does not find them; its types know fewer arguments.
const kafkajs = createRequire(import.meta.url)('kafkajs') as Record<string, new (...args: unknown[]) => Error>;
const failure = (name: string, ...args: unknown[]): Error => new kafkajs[name]!(...args);

describe('toSinkError', () => {
  const IN_SYNC = ' (the topic has fewer replicas in sync than its min.insync.replicas)';
  const REPLICATION =
    " (the stream's sink.replicationFactor, or default.replication.factor where that is -1, is to be no more than Kafka has brokers)";
  const CODES: readonly [code: number, kind: SinkErrorKind, name: string, setting?: string][] = [
    [3, 'refused', 'UNKNOWN_TOPIC_OR_PARTITION'],
    [6, 'unavailable', 'NOT_LEADER_OR_FOLLOWER'],
    [7, 'unavailable', 'REQUEST_TIMED_OUT'],
    [10, 'refused', 'MESSAGE_TOO_LARGE'],
    [17, 'refused', 'INVALID_TOPIC_EXCEPTION'],
    [19, 'unavailable', 'NOT_ENOUGH_REPLICAS', IN_SYNC],
    [29, 'refused', 'TOPIC_AUTHORIZATION_FAILED'],
    [30, 'refused', 'GROUP_AUTHORIZATION_FAILED'],
    [38, 'refused', 'INVALID_REPLICATION_FACTOR', REPLICATION],
    [45, 'unavailable', 'OUT_OF_ORDER_SEQUENCE_NUMBER'],
    [47, 'fenced', 'INVALID_PRODUCER_EPOCH'],
    [51, 'unavailable', 'CONCURRENT_TRANSACTIONS'],
    [53, 'refused', 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED'],
    [90, 'fenced', 'PRODUCER_FENCED'],
    [9999, 'unavailable', 'error code 9999'],
  ];
  for (const [code, kind, name, setting = ''] of CODES)
    it(`takes ${name} as ${kind}, and says what it was about`, () => {
      const error = toSinkError(new KafkaCodeError(code, 'records for topic t', 'because'));
      const message = `Kafka refused records for topic t: ${name}: because${setting}`;
      assert.deepEqual([error.kind, error.message], [kind, message]);
    });

  const SETTINGS: readonly [code: number, settings: readonly string[]][] = [
    [15, ['transaction.state.log.replication.factor', 'offsets.topic.replication.factor']],
    [19, ['min.insync.replicas']],
    [20, ['min.insync.replicas']],
    [32, ['message.timestamp.before.max.ms', 'message.timestamp.after.max.ms']],
    [38, ['sink.replicationFactor', 'default.replication.factor']],
    [87, ['cleanup.policy', 'resolved']],
  ];
  for (const [code, settings] of SETTINGS)
    it(`names ${settings.join(' and ')}, where Kafka names the symptom alone`, () => {
      const { message } = toSinkError(new KafkaCodeError(code, 'records for topic t'));
      for (const setting of settings) assert.ok(message.includes(setting), message);
    });

  const broker = { broker: 'b:9092' };
  const tls = failure('KafkaJSConnectionError', 'Connection error: self-signed certificate', {
    ...broker,
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  });
  const OTHERS: readonly [what: string, error: unknown, kind: SinkErrorKind][] = [
    [
      'a refused connection',
      failure('KafkaJSConnectionError', 'ECONNREFUSED', { ...broker, code: 'ECONNREFUSED' }),
      'unavailable',
    ],
    ['a request without an answer', failure('KafkaJSRequestTimeoutError', 'timed out', { ...broker }), 'unavailable'],
    ['an aborted call', new DOMException('stopped', 'AbortError'), 'unavailable'],
    ['what is no error', 'broken', 'unavailable'],
    ['a refused password', failure('KafkaJSSASLAuthenticationError', 'SASL PLAIN failed'), 'refused'],
    ['a certificate that nobody signed', tls, 'refused'],
  ];
  for (const [what, error, kind] of OTHERS)
    it(`takes ${what} as ${kind}`, () => {
      assert.equal(toSinkError(error).kind, kind);
    });

  it('leaves a sink error as it is', () => {
    const error = new SinkError('refused', 'topic t does not exist');
    assert.equal(toSinkError(error), error);
  });
});
