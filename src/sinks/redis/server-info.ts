import type { SinkErrorKind } from '../sink.ts';

/** What INFO, and CONFIG GET where it may be asked, say of a server. */
export interface ServerFacts {
  readonly version: readonly [major: number, minor: number];
  /** Another one after each start. */
  readonly runId: string;
  readonly isReplica: boolean;
  readonly isLoading: boolean;
  readonly replicas: number;
  readonly hasAof: boolean;
  readonly isAofSound: boolean;
  /** fsyncs of the append-only file that are not over. */
  readonly pendingFsyncs: number;
  /** `always`, `everysec` or `no`; null where we may not ask. */
  readonly appendfsync: string | null;
  /** Bytes; 0: no limit. */
  readonly maxMemory: number;
  /** What counts against it. */
  readonly usedMemory: number;
  readonly evictionPolicy: string;
}

/** Reads what INFO says of server, memory, persistence and replication. */
export function parseInfo(text: string, appendfsync: string | null): ServerFacts {
  const fields = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  const number = (name: string): number => Number(fields.get(name) ?? 0);
  const [major = 0, minor = 0] = (fields.get('redis_version') ?? '').split('.').map(Number);
  return {
    version: [major, minor],
    runId: fields.get('run_id') ?? '',
    isReplica: fields.get('role') === 'slave',
    isLoading: fields.get('loading') === '1',
    replicas: number('connected_slaves'),
    hasAof: fields.get('aof_enabled') === '1',
    isAofSound: fields.get('aof_last_write_status') !== 'err',
    pendingFsyncs: number('aof_pending_bio_fsync'),
    appendfsync,
    maxMemory: number('maxmemory'),
    // Buffers of replicas and of the append-only file do not count. Source: redis/src/evict.c getMaxmemoryState.
    usedMemory: Math.max(0, number('used_memory') - number('mem_not_counted_for_evict')),
    evictionPolicy: fields.get('maxmemory_policy') ?? '',
  };
}

/** What a stream wants of its server. */
export interface Demands {
  readonly durability: 'durable' | 'memory';
  /** That are waited for. */
  readonly replicas: number;
}

/**
 * By what it is known that records outlive the server.
 * - `at-once`: nothing is acknowledged before, or nothing is promised.
 * - `fsync-asked`: WAITAOF (7.2) says.
 * - `fsync-each-second`: what was acknowledged two seconds ago, by a server that has not ended since.
 * - `replicas`: WAIT alone says.
 */
export type Durability = 'at-once' | 'fsync-asked' | 'fsync-each-second' | 'replicas';

export function durabilityOf(facts: ServerFacts, { durability, replicas }: Demands): Durability {
  if (durability === 'memory') return replicas > 0 ? 'replicas' : 'at-once';
  if (!facts.hasAof) return 'replicas';
  if (facts.appendfsync === 'always') return replicas > 0 ? 'replicas' : 'at-once';
  const [major, minor] = facts.version;
  return major > 7 || (major === 7 && minor >= 2) ? 'fsync-asked' : 'fsync-each-second';
}

/** What keeps a server from being written to; null for nothing. */
export interface ServerTrouble {
  readonly kind: Exclude<SinkErrorKind, 'fenced'>;
  readonly message: string;
  /** Whether another connection may lead to a server that does. */
  readonly reconnects?: true;
}

/** The scripts begin with `#!lua`, which older ones do not read. */
const OLDEST = 7;
/** Redis refuses at all of it, and what is on the way comes on top. */
const MEMORY_GUARD = 0.95;

/** @param sentBytes sent there since the facts were asked for */
export function troubleOf(facts: ServerFacts, demands: Demands, sentBytes: number): ServerTrouble | null {
  const refused = (message: string): ServerTrouble => ({ kind: 'refused', message });
  if (facts.isLoading) return { kind: 'unavailable', message: 'it is still loading its data', reconnects: true };
  if (facts.isReplica)
    return { kind: 'unavailable', message: 'it is a replica, which takes no writes', reconnects: true };
  if (facts.version[0] < OLDEST) return refused(`it is version ${facts.version.join('.')}; Spoor needs 7.0 or newer`);
  if (facts.evictionPolicy.startsWith('allkeys-'))
    return refused(
      `its maxmemory-policy is ${facts.evictionPolicy}, by which it may drop whole streams: set it to noeviction`,
    );
  if (demands.durability === 'durable') {
    if (!facts.hasAof && demands.replicas === 0)
      return refused(
        'it keeps nothing: set appendonly to yes there, or wait.replicas in the sink, or "durability":"memory" where what a crash loses may be lost',
      );
    if (facts.hasAof && facts.appendfsync === 'no' && demands.replicas === 0)
      return refused(
        'its appendfsync is no, so that nobody knows what it has on disk: set it to everysec or always, or "durability":"memory" in the sink',
      );
  }
  if (demands.replicas > facts.replicas)
    return {
      kind: 'unavailable',
      message: `it has ${facts.replicas} replicas, and the stream waits for ${demands.replicas} (wait.replicas)`,
    };
  return memoryTrouble(facts, sentBytes);
}

function memoryTrouble(
  { maxMemory, usedMemory, evictionPolicy }: ServerFacts,
  sentBytes: number,
): ServerTrouble | null {
  if (maxMemory === 0 || usedMemory + sentBytes < MEMORY_GUARD * maxMemory) return null;
  const full = `${mebibytes(usedMemory + sentBytes)} of its maxmemory of ${mebibytes(maxMemory)} MiB are used (${evictionPolicy})`;
  return {
    kind: 'refused',
    message: `${full}: raise maxmemory, or let the stream be trimmed (maxLen, minIdAgeMs); it goes on by itself then`,
  };
}

function mebibytes(bytes: number): string {
  return (bytes / (1 << 20)).toFixed(1);
}
