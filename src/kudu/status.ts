/**
 * The codes that Kudu's servers answer with. A code that is missing here still arrives as its number.
 */

/** Source: kudu/rpc/rpc_header.proto ErrorStatusPB.RpcErrorCodePB. */
export const RpcErrorCode = {
  ERROR_APPLICATION: 1,
  ERROR_NO_SUCH_METHOD: 2,
  ERROR_NO_SUCH_SERVICE: 3,
  ERROR_SERVER_TOO_BUSY: 4,
  ERROR_INVALID_REQUEST: 5,
  ERROR_REQUEST_STALE: 6,
  ERROR_UNAVAILABLE: 7,
  FATAL_UNKNOWN: 10,
  FATAL_SERVER_SHUTTING_DOWN: 11,
  FATAL_INVALID_RPC_HEADER: 12,
  FATAL_DESERIALIZING_REQUEST: 13,
  FATAL_VERSION_MISMATCH: 14,
  FATAL_UNAUTHORIZED: 15,
  FATAL_INVALID_AUTHENTICATION_TOKEN: 16,
  ERROR_INVALID_AUTHORIZATION_TOKEN: 17,
  FATAL_INVALID_JWT: 18,
} as const;

/** Source: kudu/common/wire_protocol.proto AppStatusPB.ErrorCode. */
export const AppStatus = {
  OK: 0,
  NOT_FOUND: 1,
  CORRUPTION: 2,
  NOT_SUPPORTED: 3,
  INVALID_ARGUMENT: 4,
  IO_ERROR: 5,
  ALREADY_PRESENT: 6,
  RUNTIME_ERROR: 7,
  NETWORK_ERROR: 8,
  ILLEGAL_STATE: 9,
  NOT_AUTHORIZED: 10,
  ABORTED: 11,
  REMOTE_ERROR: 12,
  SERVICE_UNAVAILABLE: 13,
  TIMED_OUT: 14,
  UNINITIALIZED: 15,
  CONFIGURATION_ERROR: 16,
  INCOMPLETE: 17,
  END_OF_FILE: 18,
  CANCELLED: 19,
  IMMUTABLE: 20,
  UNKNOWN_ERROR: 999,
} as const;

/** Source: kudu/master/master.proto MasterErrorPB.Code. */
export const MasterErrorCode = {
  UNKNOWN_ERROR: 1,
  INVALID_SCHEMA: 2,
  TABLE_NOT_FOUND: 3,
  TABLE_ALREADY_PRESENT: 4,
  TOO_MANY_TABLETS: 5,
  CATALOG_MANAGER_NOT_INITIALIZED: 6,
  NOT_THE_LEADER: 7,
  REPLICATION_FACTOR_TOO_HIGH: 8,
  TABLET_NOT_RUNNING: 9,
  EVEN_REPLICATION_FACTOR: 10,
  ILLEGAL_REPLICATION_FACTOR: 11,
  INCOMPATIBLE_REPLICA_MANAGEMENT: 12,
  HIVE_METASTORE_ERROR: 13,
  NOT_AUTHORIZED: 14,
  MASTER_ALREADY_PRESENT: 15,
  TABLE_SOFT_DELETED: 16,
} as const;

/** Source: kudu/tserver/tserver.proto TabletServerErrorPB.Code. */
export const TserverErrorCode = {
  UNKNOWN_ERROR: 1,
  INVALID_SCHEMA: 2,
  INVALID_ROW_BLOCK: 3,
  INVALID_MUTATION: 4,
  MISMATCHED_SCHEMA: 5,
  TABLET_NOT_FOUND: 6,
  SCANNER_EXPIRED: 7,
  INVALID_SCAN_SPEC: 8,
  INVALID_CONFIG: 9,
  TABLET_ALREADY_EXISTS: 10,
  TABLET_HAS_A_NEWER_SCHEMA: 11,
  TABLET_NOT_RUNNING: 12,
  INVALID_SNAPSHOT: 13,
  INVALID_SCAN_CALL_SEQ_ID: 14,
  NOT_THE_LEADER: 15,
  WRONG_SERVER_UUID: 16,
  CAS_FAILED: 17,
  ALREADY_INPROGRESS: 18,
  THROTTLED: 19,
  TABLET_FAILED: 20,
  NOT_AUTHORIZED: 21,
  TXN_ILLEGAL_STATE: 22,
  TXN_OP_ALREADY_APPLIED: 23,
  TXN_LOCKED_ABORT: 24,
  TXN_LOCKED_RETRY_OP: 25,
} as const;

/** Why a server did not set a flag. Source: kudu/server/server_base.proto SetFlagResponsePB.Code. */
export const SetFlagCode = {
  NO_SUCH_FLAG: 2,
  BAD_VALUE: 3,
  NOT_SAFE: 4,
} as const;

/** Why this side itself does not go on with a server: nothing of Kudu's own. */
export const SecurityFault = {
  /** Kerberos is wanted, and neither the package nor the system's library that speaks it is there. */
  KERBEROS_LIBRARY: 1,
  /** No ticket: no keytab or cache, a KDC that does not answer or does not know us or the server. */
  NO_TICKET: 2,
  /** The server does not speak TLS, where nothing may go in the clear. */
  NO_TLS: 3,
  /** The server did not prove that it is of the cluster. */
  UNTRUSTED_SERVER: 4,
  /** No way to log in that both sides take. */
  NO_MECHANISM: 5,
  /** The server cannot take what we have yet: it has only just started. */
  NOT_READY: 6,
  /** A file with a JWT or certificates cannot be read. */
  CREDENTIAL_FILE: 7,
} as const;

/** The name of a code in one of the tables above, or the number itself for one that is not in it. */
export function codeName(table: Readonly<Record<string, number>>, code: number): string {
  for (const [name, value] of Object.entries(table)) if (value === code) return name;
  return String(code);
}
