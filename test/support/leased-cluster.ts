import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { KuduClient } from '../../src/kudu/client.ts';
import { isStreamable } from '../../src/streams/table-patterns.ts';
import type { StreamView } from '../../src/api/shapes.ts';
import { SpoorCluster } from './spoor-cluster.ts';

/**
 * Log segments are small and log GC is eager, so that what Spoor does not hold is soon gone; leaders change quickly. More
 * eager still, and Kudu would spend a third more CPU on the same writes.
 */
export const USUAL_FLAGS = ['--log_segment_size_mb=1', '--flush_threshold_secs=3', '--raft_heartbeat_interval_ms=200'];
/**
 * Of the servers that are hurt: what is read, held, damaged and fetched from elsewhere is all encrypted, which changes
 * nothing. Clusters that nobody shares have plain logs.
 */
const ENCRYPTED = ['--encrypt_data_at_rest', '--encryption_key_length=192'];
/** How long sidecars may take to see that a stream is gone. */
const SEEN_GONE_MS = 1_500;

interface Kept {
  readonly cluster: SpoorCluster;
  readonly flags: readonly string[];
  env: Readonly<Record<string, string>>;
}

let kept: Kept | null = null;

/** A cluster of three with {@link USUAL_FLAGS}, for one suite at a time; it may have served others before. */
export interface LeasedCluster extends AsyncDisposable {
  readonly cluster: SpoorCluster;
}

/**
 * Test files that run in one process, one after the other (test/groups), share a cluster, although they hurt it: whoever
 * gives it back heals it, and leaves no stream and no table. Where that fails the next one gets a new cluster.
 * @param options.flags of the tablet servers, in the place of {@link USUAL_FLAGS}
 * @param options.env more settings of its sidecars
 */
export async function leaseCluster(
  options: { readonly flags?: readonly string[]; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<LeasedCluster> {
  const { flags: plain = USUAL_FLAGS, env = {} } = options;
  const flags = [...plain, ...ENCRYPTED];
  if (kept && !isDeepStrictEqual(kept.flags, flags)) {
    await kept.cluster[Symbol.asyncDispose]();
    kept = null;
  }
  if (kept === null) kept = { cluster: await SpoorCluster.start({ flags, env }), flags, env };
  else if (!isDeepStrictEqual(kept.env, env)) {
    await kept.cluster.replaceSidecars(env);
    kept.env = env;
  }
  const { cluster } = kept;
  return {
    cluster,
    [Symbol.asyncDispose]: async () => {
      try {
        await heal(cluster);
        await empty(cluster);
      } catch (error) {
        process.stderr.write(`# a cluster that was hurt is not healed: ${String(error)}\n`);
        kept = null;
        await cluster[Symbol.asyncDispose]();
      }
    },
  };
}

/** All servers run again, whatever a case that failed has left of them. */
export async function heal({ kafka, kudu, sidecars, frozen }: SpoorCluster): Promise<void> {
  frozen.clear();
  if (kafka.running) kafka.thaw();
  else await kafka.restart();
  if (!kudu.master.running) await kudu.master.restart();
  for (const server of [...kudu.tservers, ...sidecars])
    if (server.running) server.thaw();
    else await server.restart();
  await Promise.all(sidecars.map((sidecar) => sidecar.waitUntilReady()));
}

async function empty(cluster: SpoorCluster): Promise<void> {
  const { body: streams } = await cluster.api<readonly StreamView[]>('GET', '/v1/streams');
  for (const { name } of streams) await cluster.api('DELETE', `/v1/streams/${name}`);
  await sleep(SEEN_GONE_MS);
  using client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 20_000 });
  for (const { tableId, name } of await client.listTables())
    if (isStreamable(name, 'spoor.')) await client.deleteTable({ tableId });
}
