/** Of a session's life, as the least of what Kafka's own client takes. The rest is for the way there and back. */
const RENEWED_AFTER = 0.85;

/**
 * A broker that ends sessions (connections.max.reauth.ms, KIP-368; the end of a token) closes a connection that sends a
 * request behind that. So a log-in is done anew before the first request behind this many milliseconds of it. kafkajs
 * counts from the end: 10 s before it, which of a session of less than that would be at each request.
 * @param sessionMs 0: it lasts
 */
export function reauthenticatedBeforeEndMs(sessionMs: number): number {
  return Math.ceil(sessionMs * (1 - RENEWED_AFTER));
}
