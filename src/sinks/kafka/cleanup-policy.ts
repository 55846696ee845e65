import type { KafkaCluster } from './cluster.ts';
import type { ErrorCodeNumber } from './wire/api.ts';
import { DESCRIBE_TOPIC_CONFIG } from './wire/describe-configs.ts';

const CLEANUP_POLICY = 'cleanup.policy';
export const COMPACT = 'compact';

/** What Kafka says of a topic's `cleanup.policy`; what an error of it means, whoever asks has to know. */
export async function describeCleanupPolicy(
  cluster: Pick<KafkaCluster, 'sendToAny'>,
  topic: string,
  signal: AbortSignal,
): Promise<{
  readonly errorCode: ErrorCodeNumber;
  readonly message: string | null;
  readonly policy: string | null;
}> {
  const answer = await cluster.sendToAny(DESCRIBE_TOPIC_CONFIG, { topic, names: [CLEANUP_POLICY] }, signal);
  const { errorCode, message, values } = answer;
  return { errorCode, message, policy: values.get(CLEANUP_POLICY) ?? null };
}

/** @param policy one or both of `compact` and `delete` */
export function isCompacted(policy: string): boolean {
  return policy.split(',').some((part) => part.trim() === COMPACT);
}
