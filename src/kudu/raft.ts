import type { ConsensusStatePB, RaftConfigPB } from './proto/consensus_pb.ts';
import { formatHostPort } from './rpc/address.ts';

/** Source: kudu/consensus/metadata.proto RaftPeerPB.Role. */
export type RaftRole = 'follower' | 'leader' | 'learner' | 'non-participant' | 'unknown';

const ROLES: readonly RaftRole[] = ['follower', 'leader', 'learner', 'non-participant'];

export function raftRoleFromPb(role: number): RaftRole {
  return ROLES[role] ?? 'unknown';
}

export interface RaftPeer {
  readonly uuid: string;
  readonly memberType: 'voter' | 'non-voter' | 'unknown';
  /** `host:port`, as the master knew it when the peer joined. */
  readonly address: string | null;
}

/** One replica's view of its tablet's group. Replicas differ while a change is under way. */
export interface ConsensusState {
  readonly tabletId: string;
  readonly term: bigint;
  /** Null where the replica knows of no leader in this term. */
  readonly leaderUuid: string | null;
  /** Index of the operation that made the present configuration. */
  readonly configIndex: bigint;
  readonly peers: readonly RaftPeer[];
  /** A membership change that is proposed and not yet committed. */
  readonly pendingPeers: readonly RaftPeer[] | null;
}

export function consensusStateFromPb(tabletId: string, pb: ConsensusStatePB): ConsensusState {
  return {
    tabletId,
    term: pb.currentTerm,
    leaderUuid: pb.leaderUuid === '' ? null : pb.leaderUuid,
    configIndex: pb.committedConfig?.opidIndex ?? -1n,
    peers: pb.committedConfig ? peersFromPb(pb.committedConfig) : [],
    pendingPeers: pb.pendingConfig ? peersFromPb(pb.pendingConfig) : null,
  };
}

function peersFromPb(config: RaftConfigPB): readonly RaftPeer[] {
  return config.peers.map((peer) => ({
    uuid: Buffer.from(peer.permanentUuid).toString(),
    memberType: peer.memberType === 1 ? 'voter' : peer.memberType === 0 ? 'non-voter' : 'unknown',
    address: peer.lastKnownAddr ? formatHostPort(peer.lastKnownAddr) : null,
  }));
}
