import type { SinkErrorKind } from '../../sink.ts';
import type { ErrorCodeNumber } from './api.ts';

/**
 * Kafka's error codes that a producer or a reader can meet, and who can end the trouble. What is not listed is `unavailable`:
 * trying again is harmless, since a new writer is fenced and resumes from the committed position. Where it is a setting
 * that answers so, Kafka names the symptom and not the setting: that is told here.
 * Source: org.apache.kafka.common.protocol.Errors.
 */
const ERROR_CODES: Readonly<Record<number, readonly [name: string, kind: SinkErrorKind, setting?: string]>> = {
  [-1]: ['UNKNOWN_SERVER_ERROR', 'unavailable'],
  1: ['OFFSET_OUT_OF_RANGE', 'unavailable'],
  2: ['CORRUPT_MESSAGE', 'unavailable'],
  3: ['UNKNOWN_TOPIC_OR_PARTITION', 'refused'],
  5: ['LEADER_NOT_AVAILABLE', 'unavailable'],
  6: ['NOT_LEADER_OR_FOLLOWER', 'unavailable'],
  7: ['REQUEST_TIMED_OUT', 'unavailable'],
  10: ['MESSAGE_TOO_LARGE', 'refused'],
  12: ['OFFSET_METADATA_TOO_LARGE', 'refused'],
  14: ['COORDINATOR_LOAD_IN_PROGRESS', 'unavailable'],
  15: [
    'COORDINATOR_NOT_AVAILABLE',
    'unavailable',
    'where that lasts Kafka cannot make its own topics: transaction.state.log.replication.factor and offsets.topic.replication.factor are to be no more than its brokers',
  ],
  16: ['NOT_COORDINATOR', 'unavailable'],
  17: ['INVALID_TOPIC_EXCEPTION', 'refused'],
  18: ['RECORD_LIST_TOO_LARGE', 'refused'],
  19: ['NOT_ENOUGH_REPLICAS', 'unavailable', 'the topic has fewer replicas in sync than its min.insync.replicas'],
  20: [
    'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
    'unavailable',
    'the topic has fewer replicas in sync than its min.insync.replicas',
  ],
  29: ['TOPIC_AUTHORIZATION_FAILED', 'refused'],
  30: ['GROUP_AUTHORIZATION_FAILED', 'refused'],
  31: ['CLUSTER_AUTHORIZATION_FAILED', 'refused'],
  32: [
    'INVALID_TIMESTAMP',
    'refused',
    "look at the topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms, and at the clocks",
  ],
  35: ['UNSUPPORTED_VERSION', 'refused'],
  36: ['TOPIC_ALREADY_EXISTS', 'unavailable'],
  37: ['INVALID_PARTITIONS', 'refused'],
  38: [
    'INVALID_REPLICATION_FACTOR',
    'refused',
    "the stream's sink.replicationFactor, or default.replication.factor where that is -1, is to be no more than Kafka has brokers",
  ],
  40: ['INVALID_CONFIG', 'refused'],
  41: ['NOT_CONTROLLER', 'unavailable'],
  42: ['INVALID_REQUEST', 'refused'],
  44: ['POLICY_VIOLATION', 'refused'],
  45: ['OUT_OF_ORDER_SEQUENCE_NUMBER', 'unavailable'],
  46: ['DUPLICATE_SEQUENCE_NUMBER', 'unavailable'],
  47: ['INVALID_PRODUCER_EPOCH', 'fenced'],
  48: ['INVALID_TXN_STATE', 'unavailable'],
  49: ['INVALID_PRODUCER_ID_MAPPING', 'fenced'],
  50: ['INVALID_TRANSACTION_TIMEOUT', 'refused'],
  51: ['CONCURRENT_TRANSACTIONS', 'unavailable'],
  52: ['TRANSACTION_COORDINATOR_FENCED', 'unavailable'],
  53: ['TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'refused'],
  54: ['SECURITY_DISABLED', 'refused'],
  56: ['KAFKA_STORAGE_ERROR', 'unavailable'],
  58: ['SASL_AUTHENTICATION_FAILED', 'refused'],
  59: ['UNKNOWN_PRODUCER_ID', 'unavailable'],
  65: ['DELEGATION_TOKEN_AUTHORIZATION_FAILED', 'refused'],
  66: ['DELEGATION_TOKEN_EXPIRED', 'refused'],
  87: [
    'INVALID_RECORD',
    'refused',
    'a topic with cleanup.policy=compact takes no record without a key, as the marks of resolved are: set it to delete',
  ],
  88: ['UNSTABLE_OFFSET_COMMIT', 'unavailable'],
  89: ['THROTTLING_QUOTA_EXCEEDED', 'unavailable'],
  90: ['PRODUCER_FENCED', 'fenced'],
  105: ['TRANSACTIONAL_ID_NOT_FOUND', 'unavailable'],
  120: ['TRANSACTION_ABORTABLE', 'unavailable'],
};

export const NO_ERROR: ErrorCodeNumber = 0;
export const OFFSET_OUT_OF_RANGE: ErrorCodeNumber = 1;
export const UNKNOWN_TOPIC_OR_PARTITION: ErrorCodeNumber = 3;
export const LEADER_NOT_AVAILABLE: ErrorCodeNumber = 5;
export const REQUEST_TIMED_OUT: ErrorCodeNumber = 7;
export const MESSAGE_TOO_LARGE: ErrorCodeNumber = 10;
export const TOPIC_ALREADY_EXISTS: ErrorCodeNumber = 36;
export const INVALID_CONFIG: ErrorCodeNumber = 40;
export const INVALID_TRANSACTION_TIMEOUT: ErrorCodeNumber = 50;
export const UNSTABLE_OFFSET_COMMIT: ErrorCodeNumber = 88;
export const TRANSACTIONAL_ID_NOT_FOUND: ErrorCodeNumber = 105;

/** TOPIC_, GROUP_, CLUSTER_ and TRANSACTIONAL_ID_AUTHORIZATION_FAILED */
export const NOT_AUTHORIZED: ReadonlySet<ErrorCodeNumber> = new Set([29, 30, 31, 53]);

/** Passes within moments: the coordinator loads, or the last transaction's markers are on their way. */
export const SETTLES: ReadonlySet<ErrorCodeNumber> = new Set([14, 51, 88]);
/** Passes too, where every attempt looks for the coordinator anew. */
export const SETTLES_ELSEWHERE: ReadonlySet<ErrorCodeNumber> = new Set([...SETTLES, 15, 16]);
/**
 * Pass too, of a topic that was just made: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER,
 * KAFKA_STORAGE_ERROR, LISTENER_NOT_FOUND.
 */
export const APPEARS: ReadonlySet<ErrorCodeNumber> = new Set([3, 5, 6, 56, 72]);

/**
 * What a producer hears whose transaction the coordinator has ended, for its time was over or another came in its place:
 * INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, PRODUCER_FENCED.
 */
export const ENDED_BY_BROKER: ReadonlySet<ErrorCodeNumber> = new Set([47, 48, 90]);

/** A broker answered with an error code. */
export class KafkaCodeError extends Error {
  override readonly name = 'KafkaCodeError';
  readonly code: ErrorCodeNumber;
  readonly kind: SinkErrorKind;

  /** @param what the request and its object, for example `Produce to cdc.shop.orders/2` */
  constructor(code: ErrorCodeNumber, what: string, detail: string | null = null) {
    const [name, kind, setting] = ERROR_CODES[code] ?? [`error code ${code}`, 'unavailable'];
    const said = detail === null || detail === '' ? '' : `: ${detail}`;
    super(`${what}: ${name}${said}${setting === undefined ? '' : ` (${setting})`}`);
    this.code = code;
    this.kind = kind;
  }
}

/** @throws {KafkaCodeError} unless `code` is none */
export function failOnErrorCode(code: ErrorCodeNumber, what: string, detail: string | null = null): void {
  if (code !== NO_ERROR) throw new KafkaCodeError(code, what, detail);
}
