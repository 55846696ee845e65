import {
  AppStatus,
  MasterErrorCode,
  RpcErrorCode,
  SecurityFault,
  SetFlagCode,
  TserverErrorCode,
  codeName,
} from './status.ts';
import type { AppStatusPB } from './proto/common_pb.ts';
import type { MasterErrorPB } from './proto/master_pb.ts';
import type { ErrorStatusPB } from './proto/rpc_pb.ts';
import type { TabletServerErrorPB } from './proto/tserver_pb.ts';

/**
 * Where the trouble was seen, and so which table {@link KuduError.code} is of:
 * - `network`: no connection, or it broke; `timeout`: the time of the call was over. No code.
 * - `protocol`: the peer sent bytes that are not Kudu's protocol, or refused ours at negotiation.
 * - `rpc`: {@link RpcErrorCode}. `master`: {@link MasterErrorCode}. `tserver`: {@link TserverErrorCode}.
 * - `flag`: {@link SetFlagCode}. The server does not set that flag to that value.
 * - `security`: {@link SecurityFault}. This side itself does not go on with the server, or cannot prove who it is.
 * - `usage`: this side asked for what cannot be (an unknown column, a value out of range, a closed client). No code.
 */
export type KuduErrorKind =
  'network' | 'timeout' | 'protocol' | 'rpc' | 'master' | 'tserver' | 'flag' | 'security' | 'usage';

export interface KuduErrorDetails {
  /** The server's code, in the table of the kind. */
  readonly code?: number;
  /** The `AppStatus` that came along with a master's or a tablet server's code. */
  readonly status?: number;
  /** `host:port` of the peer. */
  readonly address?: string;
  /** The call, by Kudu's name, where a server answered it: `negotiation` before any. */
  readonly method?: string;
  /** The server never began the call: trying again cannot do it twice. */
  readonly notRun?: boolean;
  readonly cause?: unknown;
}

/** Every failure of this client, a caller's own abort excepted (that one rejects with the signal's reason). */
export class KuduError extends Error {
  override readonly name = 'KuduError';
  readonly kind: KuduErrorKind;
  readonly code: number | null;
  readonly status: number | null;
  readonly address: string | null;
  readonly method: string | null;
  /**
   * True when it is certain that the server did not run the call. When false, a write or a DDL may have happened
   * even though it failed here.
   */
  readonly notRun: boolean;

  constructor(kind: KuduErrorKind, message: string, details: KuduErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.code = details.code ?? null;
    this.status = details.status ?? null;
    this.address = details.address ?? null;
    this.method = details.method ?? null;
    this.notRun = details.notRun ?? false;
  }

  /** Whether the same call may succeed later, here or at another server, without anybody doing something about it. */
  get retriable(): boolean {
    switch (this.kind) {
      case 'network':
      case 'timeout':
        return true;
      case 'rpc':
        return this.code !== null && RETRIABLE_RPC.has(this.code);
      case 'master':
        return (this.code !== null && RETRIABLE_MASTER.has(this.code)) || this.#hasRetriableStatus();
      case 'tserver':
        return (this.code !== null && RETRIABLE_TSERVER.has(this.code)) || this.#hasRetriableStatus();
      case 'security':
        return this.code !== null && RETRIABLE_SECURITY.has(this.code);
      case 'protocol':
      case 'flag':
      case 'usage':
        return false;
    }
  }

  /** A server that answered, but is not (or not yet) the one that leads: look again for the leader. */
  get notLeader(): boolean {
    if (this.kind === 'master')
      return (
        this.code === MasterErrorCode.NOT_THE_LEADER || this.code === MasterErrorCode.CATALOG_MANAGER_NOT_INITIALIZED
      );
    if (this.kind !== 'tserver') return false;
    // A follower answers a write with UNKNOWN_ERROR and ILLEGAL_STATE, not with NOT_THE_LEADER (kudu-facts 0.11).
    return (
      this.code === TserverErrorCode.NOT_THE_LEADER ||
      (this.code === TserverErrorCode.UNKNOWN_ERROR && this.status === AppStatus.ILLEGAL_STATE)
    );
  }

  /** The tablet is held by a multi-row transaction: no other write gets through before that has ended. */
  get locked(): boolean {
    return (
      this.kind === 'tserver' &&
      (this.code === TserverErrorCode.TXN_LOCKED_ABORT || this.code === TserverErrorCode.TXN_LOCKED_RETRY_OP)
    );
  }

  /** The server turned the call away because it has too much to do (queues, memory, throttling). */
  get busy(): boolean {
    if (this.kind === 'rpc') return this.code === RpcErrorCode.ERROR_SERVER_TOO_BUSY;
    return (
      this.kind === 'tserver' &&
      (this.code === TserverErrorCode.THROTTLED || this.status === AppStatus.SERVICE_UNAVAILABLE)
    );
  }

  /**
   * The user of this client may not make that call. Kudu answers calls of the service user and of superusers with the
   * general ERROR_APPLICATION (server/server_base.cc Authorize); those that this client makes have no other use for it.
   */
  get notAuthorized(): boolean {
    if (this.kind === 'rpc')
      return this.code === RpcErrorCode.ERROR_APPLICATION || this.code === RpcErrorCode.FATAL_UNAUTHORIZED;
    return (
      (this.kind === 'master' && this.code === MasterErrorCode.NOT_AUTHORIZED) ||
      (this.kind === 'tserver' && this.code === TserverErrorCode.NOT_AUTHORIZED)
    );
  }

  /** There is no such table, or no such tablet of it (any more), as the master says. */
  get notFound(): boolean {
    if (this.kind === 'usage') return this.status === AppStatus.NOT_FOUND;
    return (
      this.kind === 'master' &&
      (this.code === MasterErrorCode.TABLE_NOT_FOUND || this.code === MasterErrorCode.TABLE_SOFT_DELETED)
    );
  }

  /**
   * What the last attempt said, for a call whose time was over while it was repeated; else this error itself. Says why,
   * where `timeout` says only that.
   */
  get lastCause(): KuduError {
    return this.kind === 'timeout' && this.cause instanceof KuduError ? this.cause.lastCause : this;
  }

  /** True for a {@link KuduError} with this code of this kind's table. */
  static is(error: unknown, kind: KuduErrorKind, code?: number): error is KuduError {
    return error instanceof KuduError && error.kind === kind && (code === undefined || error.code === code);
  }

  #hasRetriableStatus(): boolean {
    return this.status !== null && RETRIABLE_STATUS.has(this.status);
  }
}

/** The same error with another word on whether the call may have run. */
export function withNotRun(error: KuduError, notRun: boolean): KuduError {
  if (error.notRun === notRun) return error;
  return new KuduError(error.kind, error.message, {
    ...(error.code === null ? {} : { code: error.code }),
    ...(error.status === null ? {} : { status: error.status }),
    ...(error.address === null ? {} : { address: error.address }),
    ...(error.method === null ? {} : { method: error.method }),
    notRun,
    cause: error.cause,
  });
}

const RETRIABLE_RPC: ReadonlySet<number> = new Set([
  RpcErrorCode.ERROR_SERVER_TOO_BUSY,
  RpcErrorCode.ERROR_UNAVAILABLE,
  RpcErrorCode.FATAL_SERVER_SHUTTING_DOWN,
]);
const RETRIABLE_MASTER: ReadonlySet<number> = new Set([
  MasterErrorCode.CATALOG_MANAGER_NOT_INITIALIZED,
  MasterErrorCode.NOT_THE_LEADER,
  MasterErrorCode.TABLET_NOT_RUNNING,
]);
const RETRIABLE_TSERVER: ReadonlySet<number> = new Set([
  TserverErrorCode.TABLET_NOT_FOUND, // of a stale location
  TserverErrorCode.TABLET_NOT_RUNNING,
  TserverErrorCode.TABLET_FAILED,
  TserverErrorCode.NOT_THE_LEADER,
  TserverErrorCode.WRONG_SERVER_UUID,
  TserverErrorCode.THROTTLED,
  TserverErrorCode.TXN_LOCKED_RETRY_OP,
  TserverErrorCode.TXN_LOCKED_ABORT,
]);
/** A KDC comes back, a file is being written anew, a server gets its certificate. */
const RETRIABLE_SECURITY: ReadonlySet<number> = new Set([
  SecurityFault.NO_TICKET,
  SecurityFault.NOT_READY,
  SecurityFault.CREDENTIAL_FILE,
]);
/** What a tablet server says of itself through a general code: a follower, a lost leadership, a full queue. */
const RETRIABLE_STATUS: ReadonlySet<number> = new Set([
  AppStatus.ILLEGAL_STATE,
  AppStatus.ABORTED,
  AppStatus.SERVICE_UNAVAILABLE,
  AppStatus.TIMED_OUT,
]);

/** Calls that a server answered with one of these were never begun (kudu-facts 1.4). */
const RPC_NOT_RUN: ReadonlySet<number> = new Set([
  RpcErrorCode.ERROR_NO_SUCH_METHOD,
  RpcErrorCode.ERROR_NO_SUCH_SERVICE,
  RpcErrorCode.ERROR_SERVER_TOO_BUSY,
  RpcErrorCode.ERROR_INVALID_REQUEST,
  RpcErrorCode.FATAL_INVALID_RPC_HEADER,
  RpcErrorCode.FATAL_DESERIALIZING_REQUEST,
  RpcErrorCode.FATAL_VERSION_MISMATCH,
  RpcErrorCode.FATAL_UNAUTHORIZED,
  RpcErrorCode.FATAL_INVALID_AUTHENTICATION_TOKEN,
  RpcErrorCode.ERROR_INVALID_AUTHORIZATION_TOKEN,
  RpcErrorCode.FATAL_INVALID_JWT,
]);

/** With these a tablet server turns a call away before it looks at its rows. */
const TSERVER_NOT_RUN: ReadonlySet<number> = new Set([
  TserverErrorCode.INVALID_SCHEMA,
  TserverErrorCode.MISMATCHED_SCHEMA,
  TserverErrorCode.TABLET_NOT_FOUND,
  TserverErrorCode.TABLET_NOT_RUNNING,
  TserverErrorCode.WRONG_SERVER_UUID,
  TserverErrorCode.THROTTLED,
]);

export function rpcError(address: string, method: string, pb: ErrorStatusPB): KuduError {
  const code = pb.code === 0 ? RpcErrorCode.FATAL_UNKNOWN : pb.code;
  return new KuduError('rpc', `${method} at ${address}: ${codeName(RpcErrorCode, code)}: ${pb.message}`, {
    code,
    address,
    method,
    notRun: RPC_NOT_RUN.has(code),
  });
}

export function masterError(address: string, method: string, pb: MasterErrorPB): KuduError {
  return serverError('master', MasterErrorCode, address, method, pb.code, pb.status);
}

export function tserverError(address: string, method: string, pb: TabletServerErrorPB): KuduError {
  const error = serverError('tserver', TserverErrorCode, address, method, pb.code, pb.status);
  return withNotRun(error, TSERVER_NOT_RUN.has(pb.code));
}

export function flagError(address: string, flag: string, code: number, message: string): KuduError {
  return new KuduError('flag', `SetFlag ${flag} at ${address}: ${codeName(SetFlagCode, code)}: ${message}`, {
    code,
    address,
    notRun: true,
  });
}

function serverError(
  kind: 'master' | 'tserver',
  table: Readonly<Record<string, number>>,
  address: string,
  method: string,
  code: number,
  status: AppStatusPB | undefined,
): KuduError {
  const statusCode = status?.code ?? AppStatus.UNKNOWN_ERROR;
  const detail = `${codeName(table, code)}, ${codeName(AppStatus, statusCode)}: ${status?.message ?? ''}`;
  return new KuduError(kind, `${method} at ${address}: ${detail}`, { code, status: statusCode, address, method });
}
