import { KuduError } from '../kudu/errors.ts';
import type { KuduClient } from '../kudu/client.ts';
import { HoldDirError } from '../wal/hold-store.ts';
import { explain } from '../kudu-side/kudu-refusal.ts';
import { FolderError } from '../keeping/server-folders.ts';

/** Why a sidecar cannot begin to work, and which part of `/readyz` says so. */
export interface StartTrouble {
  readonly part: 'kudu' | 'wal';
  readonly reason: string;
}

export function startTrouble(error: unknown): StartTrouble {
  const part = error instanceof FolderError || error instanceof HoldDirError ? 'wal' : 'kudu';
  return { part, reason: error instanceof Error ? error.message : String(error) };
}

/**
 * Waits for an answer of a server that the operator has named: where it fails, the error says in which setting, and what
 * to do where Kudu's answer tells. Kudu itself knows addresses and methods alone.
 */
export async function askedOf<T>(setting: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof KuduError)) throw error;
    throw new Error(`${setting}: ${explain(error)}`, { cause: error });
  }
}

/**
 * That the tablet server is one of the masters' cluster: the streams of another cluster are not of its tablets, and nothing
 * would ever be shipped nor said.
 * @throws {Error} they do not know it, or not yet
 */
export async function checkMembership(
  client: Pick<KuduClient, 'listTabletServers'>,
  tserver: { readonly address: string; readonly uuid: string },
  signal: AbortSignal,
): Promise<void> {
  const known = await client.listTabletServers({ signal });
  if (!known.some(({ uuid }) => uuid === tserver.uuid))
    throw new Error(
      `the masters of SPOOR_KUDU_MASTERS do not know the tablet server of SPOOR_TSERVER ${tserver.address} ` +
        `(${tserver.uuid}): give those of its --tserver_master_addrs; where they are, it has yet to reach them`,
    );
}
