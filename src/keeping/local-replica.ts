import type { OpId } from '../kudu/opid.ts';

/** One replica of the tablet server beside us. */
export interface LocalReplica {
  readonly tabletId: string;
  readonly isLeader: boolean;
  /** RUNNING and with its data READY; anything else has no log to read, or a half one (kudu-facts trap 36). */
  readonly isRunning: boolean;
  /** Tablet server of the leader that this replica knows, or null. */
  readonly leaderUuid: string | null;
  /** Tablet servers of the voters that this replica knows; none where it may not be asked. */
  readonly voterUuids: readonly string[];
}

/** The tablet server beside us, as far as the tablet manager asks it. */
export interface LocalTserver {
  listReplicas(signal: AbortSignal): Promise<readonly LocalReplica[]>;
  /** The replica's last committed operation. */
  committedOpId(tabletId: string, signal: AbortSignal): Promise<OpId>;
}
