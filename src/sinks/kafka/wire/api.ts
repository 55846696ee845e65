import { ByteReader } from './bytes.ts';

/**
 * One request of Kafka's protocol at one version: what Spoor sends and what it reads from the answer.
 * Versions are the lowest that carry what we need, so that any broker from 2.5 on understands them, or one that is
 * `older`.
 * Source: kafka.apache.org/protocol; the *.json message definitions of apache/kafka.
 */
export interface Api<Request, Response> {
  readonly key: number;
  readonly version: number;
  readonly name: string;
  /** What a broker is asked that does not speak this version; its answer leaves out what that does not know. */
  readonly older?: Api<Request, Response>;
  encode(request: Request): Buffer;
  decode(bytes: Buffer): { readonly throttleMs: number; readonly value: Response };
}

/** Kafka's numeric error code; 0 is none. Names and meanings: error-codes.ts. */
export type ErrorCodeNumber = number;

export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

export interface PartitionError {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: ErrorCodeNumber;
}

export interface ProducerIdentity {
  readonly transactionalId: string;
  readonly producerId: bigint;
  readonly epoch: number;
}

export function decodePartitionErrors(r: ByteReader): { throttleMs: number; value: PartitionError[] } {
  const throttleMs = r.int32();
  const topics = r.array(() => {
    const topic = r.string();
    return r.array(() => ({ topic, partition: r.int32(), errorCode: r.int16() }));
  });
  return { throttleMs, value: topics.flat() };
}

export function decodeErrorCode(bytes: Buffer): { throttleMs: number; value: { errorCode: ErrorCodeNumber } } {
  const r = new ByteReader(bytes);
  return { throttleMs: r.int32(), value: { errorCode: r.int16() } };
}
