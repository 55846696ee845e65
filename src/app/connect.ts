import type { Config } from '../config/config.ts';
import { HoldTakenError } from '../keeping/hold-owner.ts';
import { openSystemTable } from '../kudu-side/kudu-system-table.ts';
import { checkWalDir } from '../kudu-side/kudu-access.ts';
import { KuduClient } from '../kudu/client.ts';
import { SIDECAR_COLUMNS } from '../sidecars/sidecar-registry.ts';
import { STREAM_COLUMNS } from '../streams/stream-store.ts';
import { backoffMs, type Backoff } from '../util/backoff.ts';
import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { askedOf, checkMembership, startTrouble, type StartTrouble } from './start-trouble.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const CONNECT_AGAIN: Backoff = { baseMs: 500, capMs: 10_000 };

export interface KuduParts {
  readonly client: KuduClient;
  readonly tserverUuid: string;
  readonly streams: Awaited<ReturnType<typeof openSystemTable<(typeof STREAM_COLUMNS)[number]>>>;
  readonly sidecars: Awaited<ReturnType<typeof openSystemTable<(typeof SIDECAR_COLUMNS)[number]>>>;
}

/**
 * Tries until Kudu answers and its log can be read; null when the signal aborts first.
 * @throws {HoldTakenError} the folders are another sidecar's
 */
export async function connectToKudu(
  config: Config,
  deps: {
    /** Asked each time before Kudu is. @throws what ends the try, and {@link HoldTakenError} all of them */
    readonly hold: () => void;
    readonly onTrouble: (trouble: StartTrouble) => void;
    readonly logger: Logger;
    readonly signal: AbortSignal;
  },
): Promise<KuduParts | null> {
  const { hold, onTrouble, logger, signal } = deps;
  const isStopping = (): boolean => signal.aborted; // asked anew after each wait
  let lastReason = '';
  for (let failures = 1; !isStopping(); failures++) {
    try {
      hold();
      using limit = new TimeLimit(signal, CONNECT_TIMEOUT_MS * 3);
      return await tryConnect(config, limit.signal);
    } catch (error) {
      if (isStopping()) break;
      if (error instanceof HoldTakenError) throw error; // waiting for it, this one would take over at some moment that nobody chose
      const trouble = startTrouble(error);
      const { reason } = trouble;
      if (reason !== lastReason) logger.error({ reason }, 'cannot work yet, trying again');
      lastReason = reason;
      onTrouble(trouble);
      await pause(backoffMs(failures, CONNECT_AGAIN), signal);
    }
  }
  return null;
}

async function tryConnect(config: Config, signal: AbortSignal): Promise<KuduParts> {
  const mastersGiven = `SPOOR_KUDU_MASTERS ${config.kudu.masters.join(',')}`;
  const client = await askedOf(
    mastersGiven,
    KuduClient.connect({ ...config.kudu, timeoutMs: CONNECT_TIMEOUT_MS, signal }),
  );
  try {
    const address = config.tserver;
    const status = client.tabletServer(address).getStatus({ signal });
    const { uuid: tserverUuid } = await askedOf(`SPOOR_TSERVER ${address}`, status);
    await checkWalDir(config.walDir, address, tserverUuid);
    await askedOf(mastersGiven, checkMembership(client, { address, uuid: tserverUuid }, signal));
    await client.readClock(address, { signal });
    const { prefix, replicas } = config.systemTables;
    const table = { replicas, signal };
    const streams = { ...table, name: `${prefix}streams`, columns: STREAM_COLUMNS, keys: 2 };
    const sidecars = { ...table, name: `${prefix}sidecars`, columns: SIDECAR_COLUMNS, keys: 1 };
    return {
      client,
      tserverUuid,
      streams: await askedOf(`table ${streams.name}`, openSystemTable(client, streams)),
      sidecars: await askedOf(`table ${sidecars.name}`, openSystemTable(client, sidecars)),
    };
  } catch (error) {
    client[Symbol.dispose]();
    throw error;
  }
}
