import { isFieldSet, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { KuduError, flagError, tserverError } from './errors.ts';
import type { HybridTime } from './hybrid-time.ts';
import type { OpId } from './opid.ts';
import type { SchemaPB } from './proto/common_pb.ts';
import {
  type ListTabletsResponsePB,
  ListTabletsResponsePB_StatusAndSchemaPBSchema,
  type ScanRequestPBSchema,
  type ScanResponsePBSchema,
  type SplitKeyRangeRequestPBSchema,
  type TabletServerErrorPB,
  type WriteRequestPBSchema,
  type WriteResponsePBSchema,
} from './proto/tserver_pb.ts';
import type { GetConsensusStateResponsePB } from './proto/consensus_pb.ts';
import type { RequestIdPB } from './proto/rpc_pb.ts';
import { consensusStateFromPb, raftRoleFromPb, type ConsensusState, type RaftRole } from './raft.ts';
import { formatHostPort } from './rpc/address.ts';
import { Deadline, type CallOptions } from './rpc/deadline.ts';
import type { Messenger, RpcReply } from './rpc/messenger.ts';
import { schemaFromPb, UnknownTypeError } from './schema-codec.ts';
import type { TableSchema } from './schema.ts';
import { ConsensusService, GenericService, TabletServerService } from './services.ts';
import { oncePer } from '../util/once-per.ts';

export interface ServerStatus {
  readonly uuid: string;
  /** Another value is another process under the same uuid. */
  readonly instanceSeqno: bigint;
  readonly version: string | null;
  readonly rpcAddresses: readonly string[];
  readonly httpAddresses: readonly string[];
}

/** Source: kudu/tablet/metadata.proto TabletStatePB. */
export type TabletState =
  | 'bootstrapping'
  | 'running'
  | 'failed'
  | 'stopping'
  | 'shutdown'
  | 'initialized'
  | 'not-initialized'
  | 'stopped'
  | 'unknown';
/** Source: kudu/tablet/metadata.proto TabletDataState. */
export type TabletDataState = 'copying' | 'ready' | 'deleted' | 'tombstoned' | 'unknown';

const TABLET_STATES: readonly TabletState[] = [
  'bootstrapping',
  'running',
  'failed',
  'stopping',
  'shutdown',
  'initialized',
  'not-initialized',
  'stopped',
];
const DATA_STATES: readonly TabletDataState[] = ['copying', 'ready', 'deleted', 'tombstoned'];

/** One replica on a tablet server, a tombstone included. */
export interface LocalTablet {
  readonly tabletId: string;
  readonly tableName: string;
  /** Kudu 1.19 and later; null before. */
  readonly tableId: string | null;
  readonly state: TabletState;
  readonly dataState: TabletDataState;
  /** What the replica knows of itself now; `unknown` unless it is running. Filled with and without schemas. */
  readonly role: RaftRole;
  /** Null unless schemas were asked for, and for a table with a column type that this client does not know. */
  readonly schema: TableSchema | null;
  /** Why the latter is null: which column it is. */
  readonly unreadable?: string;
  readonly schemaVersion: number | null;
}

export interface ServerFlag {
  readonly name: string;
  readonly value: string;
  readonly isDefault: boolean;
}

/** Source: kudu/consensus/consensus.proto OpIdType. */
export const OpIdType = { RECEIVED: 1, COMMITTED: 2 } as const;
export type OpIdType = (typeof OpIdType)[keyof typeof OpIdType];

/**
 * The calls of one tablet server. Stateless but for its address: make one where it is needed.
 *
 * Errors: {@link KuduError} `tserver` for what the server says of a tablet, `rpc` for what it says of the call,
 * `network` and `timeout`. Nothing is retried here, but for a connection that turns out to have been closed.
 * Source: kudu-facts 3.
 */
export class TabletServerProxy {
  /** `host:port` */
  readonly address: string;
  readonly #messenger: Messenger;
  readonly #defaultTimeoutMs: number;

  constructor(messenger: Messenger, address: string, defaultTimeoutMs: number) {
    this.#messenger = messenger;
    this.address = address;
    this.#defaultTimeoutMs = defaultTimeoutMs;
  }

  /** Who answers at this address. Any user may ask. */
  async getStatus(options: CallOptions = {}): Promise<ServerStatus> {
    const { message } = await this.#messenger.call(this.address, GenericService.getStatus, {}, this.#rpc(options));
    const status = message.status;
    if (!status?.nodeInstance)
      throw new KuduError('protocol', `GetStatus at ${this.address}: no status`, { address: this.address });
    return {
      uuid: Buffer.from(status.nodeInstance.permanentUuid).toString(),
      instanceSeqno: status.nodeInstance.instanceSeqno,
      version: status.versionInfo?.versionString ?? null,
      rpcAddresses: status.boundRpcAddresses.map(formatHostPort),
      httpAddresses: status.boundHttpAddresses.map(formatHostPort),
    };
  }

  /** The server's hybrid clock now. Any user may ask. */
  async serverClock(options: CallOptions = {}): Promise<HybridTime> {
    const { message } = await this.#messenger.call(this.address, GenericService.serverClock, {}, this.#rpc(options));
    return message.timestamp;
  }

  /**
   * Every replica that the server knows of, in no order. Any user may ask (a superuser where access control is
   * enforced). Role and state come along with and without `withSchema`; schema and version only with it. While nothing
   * about them changes it is the same list, itself.
   */
  async listTablets(options: CallOptions & { readonly withSchema?: boolean } = {}): Promise<readonly LocalTablet[]> {
    const needSchemaInfo = options.withSchema ?? false;
    const { message } = await this.#messenger.call(
      this.address,
      TabletServerService.listTablets,
      { needSchemaInfo },
      this.#rpc(options),
    );
    this.#check('ListTablets', message.error);
    return readTablets(message);
  }

  /**
   * How the server's replicas see their Raft groups. Tablets that it does not have are simply not in the answer, which is
   * the same one, itself, while nothing changes.
   * Needs the service user or a superuser.
   * @param request.serverUuid the server that is meant; another one refuses (WRONG_SERVER_UUID)
   * @param request.tabletIds none or an empty list: all
   */
  async getConsensusState(
    request: { readonly serverUuid: string; readonly tabletIds?: readonly string[] },
    options: CallOptions = {},
  ): Promise<readonly ConsensusState[]> {
    const { message } = await this.#messenger.call(
      this.address,
      ConsensusService.getConsensusState,
      { destUuid: Buffer.from(request.serverUuid), tabletIds: (request.tabletIds ?? []).map((id) => Buffer.from(id)) },
      this.#rpc(options),
    );
    this.#check('GetConsensusState', message.error);
    return readConsensusStates(message);
  }

  /**
   * The newest operation that the replica has received, or that it knows to be committed. Needs the service user or
   * a superuser. @throws {KuduError} `tserver` TABLET_NOT_FOUND, TABLET_NOT_RUNNING
   */
  async getLastOpId(
    request: { readonly serverUuid: string; readonly tabletId: string; readonly type: OpIdType },
    options: CallOptions = {},
  ): Promise<OpId> {
    const { message } = await this.#messenger.call(
      this.address,
      ConsensusService.getLastOpId,
      {
        destUuid: Buffer.from(request.serverUuid),
        tabletId: Buffer.from(request.tabletId),
        opidType: request.type,
      },
      this.#rpc(options),
    );
    this.#check('GetLastOpId', message.error);
    if (!message.opid)
      throw new KuduError('protocol', `GetLastOpId at ${this.address}: no OpId`, { address: this.address });
    return { term: message.opid.term, index: message.opid.index };
  }

  /** Asks the leader of a tablet to hand over, to `newLeaderUuid` if one is named. Needs the service user or a superuser. */
  async leaderStepDown(
    request: { readonly serverUuid: string; readonly tabletId: string; readonly newLeaderUuid?: string },
    options: CallOptions = {},
  ): Promise<void> {
    const { message } = await this.#messenger.call(
      this.address,
      ConsensusService.leaderStepDown,
      {
        destUuid: Buffer.from(request.serverUuid),
        tabletId: Buffer.from(request.tabletId),
        mode: request.newLeaderUuid === undefined ? STEP_DOWN_ABRUPT : STEP_DOWN_GRACEFUL,
        ...(request.newLeaderUuid === undefined ? {} : { newLeaderUuid: Buffer.from(request.newLeaderUuid) }),
      },
      this.#rpc(options),
    );
    this.#check('LeaderStepDown', message.error);
  }

  /** The named flags; unknown names are not in the answer. An empty list: all that differ from their default. Needs a superuser. */
  async getFlags(names: readonly string[], options: CallOptions = {}): Promise<readonly ServerFlag[]> {
    const { message } = await this.#messenger.call(
      this.address,
      GenericService.getFlags,
      { flags: [...names] },
      this.#rpc(options),
    );
    return message.flags.map((flag) => ({ name: flag.name, value: flag.value, isDefault: flag.isDefaultValue }));
  }

  /**
   * Changes a flag of the running server, until its next start. Needs a superuser. Resolves with the old value.
   * @throws {KuduError} `flag` when the server does not take it (no such flag, bad value, not safe without `force`);
   *   `rpc` and `notAuthorized` for who is no superuser
   */
  async setFlag(
    request: { readonly name: string; readonly value: string; readonly force?: boolean },
    options: CallOptions = {},
  ): Promise<string> {
    const { message } = await this.#messenger.call(
      this.address,
      GenericService.setFlag,
      { flag: request.name, value: request.value, force: request.force ?? false },
      this.#rpc(options),
    );
    if (message.result !== SET_FLAG_SUCCESS) throw flagError(this.address, request.name, message.result, message.msg);
    return message.oldValue;
  }

  /**
   * Sends a write as it stands, unknown fields included: for those who build the request themselves. Rows that
   * failed are in the answer's `perRowErrors`. Give it a `requestId` to be able to send it again.
   */
  async write(
    request: MessageInitShape<typeof WriteRequestPBSchema>,
    options: CallOptions & { readonly requestId?: RequestIdPB } = {},
  ): Promise<MessageShape<typeof WriteResponsePBSchema>> {
    const { message } = await this.#messenger.call(this.address, TabletServerService.write, request, {
      ...this.#rpc(options),
      ...(options.requestId ? { requestId: options.requestId } : {}),
    });
    this.#check('Write', message.error);
    return message;
  }

  /** Opens a scanner, takes its next batch, or closes it: {@link Scanner} is the way to use it. */
  async scan(
    request: MessageInitShape<typeof ScanRequestPBSchema>,
    options: CallOptions = {},
  ): Promise<RpcReply<typeof ScanResponsePBSchema>> {
    const reply = await this.#messenger.call(this.address, TabletServerService.scan, request, this.#rpc(options));
    this.#check('Scan', reply.message.error);
    return reply;
  }

  /** Starts a scanner's idle time (60 s by default) anew. @throws {KuduError} `tserver` SCANNER_EXPIRED */
  async scannerKeepAlive(scannerId: Uint8Array, options: CallOptions = {}): Promise<void> {
    const rpc = this.#rpc(options);
    const { message } = await this.#messenger.call(
      this.address,
      TabletServerService.scannerKeepAlive,
      { scannerId },
      rpc,
    );
    this.#check('ScannerKeepAlive', message.error);
  }

  /** Cuts a tablet's keys into ranges of about `targetChunkSizeBytes`; it may be one range all the same. */
  async splitKeyRange(
    request: MessageInitShape<typeof SplitKeyRangeRequestPBSchema>,
    options: CallOptions = {},
  ): Promise<readonly { readonly start: Buffer; readonly stop: Buffer; readonly sizeBytes: bigint }[]> {
    const rpc = this.#rpc(options);
    const { message } = await this.#messenger.call(this.address, TabletServerService.splitKeyRange, request, rpc);
    this.#check('SplitKeyRange', message.error);
    return message.ranges.map((range) => ({
      start: Buffer.from(range.startPrimaryKey),
      stop: Buffer.from(range.stopPrimaryKey),
      sizeBytes: range.sizeBytesEstimates,
    }));
  }

  #rpc(options: CallOptions): { readonly deadline: Deadline } {
    return { deadline: Deadline.from(options, this.#defaultTimeoutMs) };
  }

  #check(method: string, error: TabletServerErrorPB | undefined): void {
    if (error) throw tserverError(this.address, method, error);
  }
}

/** One table that this client cannot read must not hide the others of the server. */
function readableSchema(pb: SchemaPB): Pick<LocalTablet, 'schema' | 'unreadable'> {
  try {
    return { schema: schemaFromPb(pb) };
  } catch (error) {
    if (error instanceof UnknownTypeError) return { schema: null, unreadable: error.message };
    throw error;
  }
}

const SET_FLAG_SUCCESS = 1;
const STEP_DOWN_ABRUPT = 1;
const STEP_DOWN_GRACEFUL = 2;

const readTablets = oncePer(({ statusAndSchema }: ListTabletsResponsePB): readonly LocalTablet[] => {
  const fields = ListTabletsResponsePB_StatusAndSchemaPBSchema.field;
  return statusAndSchema.flatMap((entry): LocalTablet[] => {
    const status = entry.tabletStatus;
    if (!status) return [];
    return [
      {
        tabletId: status.tabletId,
        tableName: status.tableName,
        tableId: status.tableId === '' ? null : status.tableId,
        state: TABLET_STATES[status.state] ?? 'unknown',
        dataState: DATA_STATES[status.tabletDataState] ?? 'unknown',
        role: isFieldSet(entry, fields.role) ? raftRoleFromPb(entry.role) : 'unknown',
        ...(entry.schema ? readableSchema(entry.schema) : { schema: null }),
        schemaVersion: isFieldSet(entry, fields.schemaVersion) ? entry.schemaVersion : null,
      },
    ];
  });
});

const readConsensusStates = oncePer(({ tablets }: GetConsensusStateResponsePB): readonly ConsensusState[] =>
  tablets.flatMap((tablet) =>
    tablet.cstate ? [consensusStateFromPb(Buffer.from(tablet.tabletId).toString(), tablet.cstate)] : [],
  ),
);
