import { SinkError, type SinkErrorKind } from '../sink.ts';

/** What an error of Redis means, by its first word, and what somebody can do. */
interface Meaning {
  readonly kind: Exclude<SinkErrorKind, 'fenced'>;
  readonly advice: string;
  /** Whether the connection leads to a server that will not do. */
  readonly reconnects?: true;
}

/** Source: redis/src/server.c (shared objects), replication.c, cluster.c, script.c of 7.0; UNREADABLE is our own script's. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  OOM: {
    kind: 'refused',
    advice: 'it is at its maxmemory: raise maxmemory, or let the stream be trimmed (maxLen, minIdAgeMs)',
  },
  MISCONF: {
    kind: 'refused',
    advice: 'it cannot write its snapshot or append-only file: look at its disk and its log',
  },
  NOREPLICAS: { kind: 'refused', advice: 'it has fewer good replicas than min-replicas-to-write: bring them back' },
  NOAUTH: { kind: 'refused', advice: 'it wants a password: set SPOOR_REDIS_PASSWORD' },
  WRONGPASS: { kind: 'refused', advice: 'it does not take SPOOR_REDIS_USERNAME and SPOOR_REDIS_PASSWORD' },
  NOPERM: { kind: 'refused', advice: 'give its user the rights in docs/sinks-redis.md (ACL SETUSER)' },
  WRONGTYPE: { kind: 'refused', advice: 'the key holds something else than a stream: delete it, or take another key' },
  UNREADABLE: {
    kind: 'refused',
    advice: 'delete that field (HDEL), and the tablet goes on from its apply marker',
  },
  CROSSSLOT: { kind: 'refused', advice: 'it is a Cluster: write SPOOR_REDIS_URL as redis+cluster://' },
  READONLY: { kind: 'unavailable', advice: 'it is a replica by now', reconnects: true },
  MASTERDOWN: { kind: 'unavailable', advice: 'it is a replica whose master is away', reconnects: true },
  MOVED: { kind: 'unavailable', advice: 'the slot is on another node by now', reconnects: true },
  ASK: { kind: 'unavailable', advice: 'the slot is on its way to another node' },
  TRYAGAIN: { kind: 'unavailable', advice: 'the slot is on its way to another node' },
  CLUSTERDOWN: {
    kind: 'unavailable',
    advice: 'nodes of the Cluster are away, or slots are served by none',
    reconnects: true,
  },
  LOADING: { kind: 'unavailable', advice: 'it is still loading its data', reconnects: true },
  BUSY: { kind: 'unavailable', advice: 'a script of somebody is running there for too long (SCRIPT KILL)' },
  UNKILLABLE: { kind: 'unavailable', advice: 'a script of somebody is running there for too long' },
  NOSCRIPT: { kind: 'unavailable', advice: 'its scripts were flushed' },
};

/** Redis does not give a word of its own to a script's lack of rights. Source: redis/src/script.c scriptCall. */
const SCRIPT_NOPERM = /^ERR The user executing the script can't/;

/** Which of {@link MEANINGS} an error is; null for one that is none of Redis's, or has no meaning of its own. */
export function errorWord(error: unknown): string | null {
  const message = error instanceof Error ? error.message : '';
  if (SCRIPT_NOPERM.test(message)) return 'NOPERM';
  const word = /^([A-Z]+)( |$)/.exec(message)?.[1] ?? null;
  return word !== null && Object.hasOwn(MEANINGS, word) ? word : null;
}

/**
 * Whether another connection is needed: Redis says so, or has not said anything: then the connection is at fault, and what was on it
 * may be there or not.
 */
export function wantsReconnect(error: unknown): boolean {
  if (!isReply(error)) return true;
  const word = errorWord(error);
  return word !== null && MEANINGS[word]!.reconnects === true;
}

/** By its name: where no Redis is used, its client is not loaded. Source: redis-errors/lib/modern.js. */
function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}

/** What an error means to whoever writes. What nobody knows is `unavailable`. @param where a server's address */
export function toSinkError(error: unknown, where: string): SinkError {
  if (error instanceof SinkError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const word = errorWord(error);
  if (word === null) return new SinkError('unavailable', `Redis at ${where}: ${message}`, error);
  const { kind, advice } = MEANINGS[word]!;
  return new SinkError(kind, `Redis at ${where}: ${advice} (${message})`, error);
}
