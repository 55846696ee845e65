import type { DescMessage } from '@bufbuild/protobuf';
import * as consensus from './proto/consensus_pb.ts';
import * as master from './proto/master_pb.ts';
import * as server from './proto/server_pb.ts';
import * as tserver from './proto/tserver_pb.ts';
import type { RpcMethod } from './rpc/messenger.ts';

/**
 * The remote procedures that this client calls, by service. Who may call what is in kudu-facts 3.1: the consensus
 * service and the flags want the server's own service user or a superuser, the rest any user.
 */

function service(name: string) {
  return function method<I extends DescMessage, O extends DescMessage>(
    methodName: string,
    request: I,
    response: O,
    idempotent = true,
  ): RpcMethod<I, O> {
    return { service: name, name: methodName, request, response, idempotent, isPolled: false };
  };
}

/** Marks one that is asked again and again, and mostly answered as before. */
function polled<I extends DescMessage, O extends DescMessage>(method: RpcMethod<I, O>): RpcMethod<I, O> {
  return { ...method, isPolled: true };
}

const generic = service('kudu.server.GenericService');
export const GenericService = {
  getStatus: generic('GetStatus', server.GetStatusRequestPBSchema, server.GetStatusResponsePBSchema),
  serverClock: generic('ServerClock', server.ServerClockRequestPBSchema, server.ServerClockResponsePBSchema),
  getFlags: generic('GetFlags', server.GetFlagsRequestPBSchema, server.GetFlagsResponsePBSchema),
  setFlag: generic('SetFlag', server.SetFlagRequestPBSchema, server.SetFlagResponsePBSchema),
} as const;

const raft = service('kudu.consensus.ConsensusService');
export const ConsensusService = {
  getConsensusState: polled(
    raft('GetConsensusState', consensus.GetConsensusStateRequestPBSchema, consensus.GetConsensusStateResponsePBSchema),
  ),
  getLastOpId: raft('GetLastOpId', consensus.GetLastOpIdRequestPBSchema, consensus.GetLastOpIdResponsePBSchema),
  leaderStepDown: raft(
    'LeaderStepDown',
    consensus.LeaderStepDownRequestPBSchema,
    consensus.LeaderStepDownResponsePBSchema,
    false,
  ),
} as const;

const tablets = service('kudu.tserver.TabletServerService');
export const TabletServerService = {
  /** Sent again only with the same request id, by those who give it one. */
  write: tablets('Write', tserver.WriteRequestPBSchema, tserver.WriteResponsePBSchema, false),
  /** A scanner's next batch is not the one before: the scanner itself decides about repetition. */
  scan: tablets('Scan', tserver.ScanRequestPBSchema, tserver.ScanResponsePBSchema, false),
  scannerKeepAlive: tablets(
    'ScannerKeepAlive',
    tserver.ScannerKeepAliveRequestPBSchema,
    tserver.ScannerKeepAliveResponsePBSchema,
  ),
  listTablets: polled(tablets('ListTablets', tserver.ListTabletsRequestPBSchema, tserver.ListTabletsResponsePBSchema)),
  splitKeyRange: tablets('SplitKeyRange', tserver.SplitKeyRangeRequestPBSchema, tserver.SplitKeyRangeResponsePBSchema),
} as const;

const catalog = service('kudu.master.MasterService');
export const MasterService = {
  connectToMaster: catalog(
    'ConnectToMaster',
    master.ConnectToMasterRequestPBSchema,
    master.ConnectToMasterResponsePBSchema,
  ),
  listTables: polled(catalog('ListTables', master.ListTablesRequestPBSchema, master.ListTablesResponsePBSchema)),
  getTableSchema: catalog(
    'GetTableSchema',
    master.GetTableSchemaRequestPBSchema,
    master.GetTableSchemaResponsePBSchema,
  ),
  getTableLocations: catalog(
    'GetTableLocations',
    master.GetTableLocationsRequestPBSchema,
    master.GetTableLocationsResponsePBSchema,
  ),
  getTabletLocations: catalog(
    'GetTabletLocations',
    master.GetTabletLocationsRequestPBSchema,
    master.GetTabletLocationsResponsePBSchema,
  ),
  listTabletServers: catalog(
    'ListTabletServers',
    master.ListTabletServersRequestPBSchema,
    master.ListTabletServersResponsePBSchema,
  ),
  createTable: catalog('CreateTable', master.CreateTableRequestPBSchema, master.CreateTableResponsePBSchema, false),
  isCreateTableDone: catalog(
    'IsCreateTableDone',
    master.IsCreateTableDoneRequestPBSchema,
    master.IsCreateTableDoneResponsePBSchema,
  ),
  alterTable: catalog('AlterTable', master.AlterTableRequestPBSchema, master.AlterTableResponsePBSchema, false),
  isAlterTableDone: catalog(
    'IsAlterTableDone',
    master.IsAlterTableDoneRequestPBSchema,
    master.IsAlterTableDoneResponsePBSchema,
  ),
  deleteTable: catalog('DeleteTable', master.DeleteTableRequestPBSchema, master.DeleteTableResponsePBSchema, false),
} as const;
