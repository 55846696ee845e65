/** Of a session's life is left for the way there and back, as the most of what Kafka's own client leaves. */
const LEFT = 0.15;

/**
 * A broker that ends sessions (connections.max.reauth.ms, KIP-368; the end of a token) closes a connection that sends a
 * request behind that. So a log-in is done anew before the first request behind this many milliseconds of it. kafkajs
 * counts from the end: 10 s before it, which of a session of less than that would be at each request.
 * @param sessionMs 0: it lasts
 */
export function reauthenticatedBeforeEndMs(sessionMs: number): number {
  return Math.ceil(sessionMs * LEFT);
}
