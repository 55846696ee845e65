import { ERRORS, SpoorError, type ErrorCode } from '../errors.ts';
import { KuduError } from '../kudu/errors.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode, SecurityFault, TserverErrorCode } from '../kudu/status.ts';
import { missingRight } from './missing-right.ts';

/** Kudu answered no: what a person does about it depends on why. */
export class KuduRefusedError extends SpoorError {
  readonly #remedy: string;

  constructor(message: string, remedy: string, cause?: unknown) {
    super('SPOOR_KUDU_REFUSED', message, {}, cause);
    this.#remedy = remedy;
  }

  override get remedy(): string {
    return this.#remedy;
  }
}

/** Whether Kudu answered, and will answer the same again. A client that was closed at a stop is this side's own. */
export function isRefusal(error: KuduError): boolean {
  const { kind, retriable, status } = error.lastCause;
  return !retriable && (kind !== 'usage' || status !== null);
}

/** The code for what this side does not do, or cannot prove; null for all that Kudu answers. Source: docs/errors.md. */
export function securityCode({ kind, code }: KuduError): ErrorCode | null {
  if (kind === 'rpc')
    return code === RpcErrorCode.FATAL_INVALID_JWT || code === RpcErrorCode.FATAL_INVALID_AUTHENTICATION_TOKEN
      ? 'SPOOR_KUDU_LOGIN'
      : null;
  if (kind !== 'security') return null;
  return (code === null ? null : BY_FAULT[code]) ?? 'SPOOR_KUDU_INSECURE';
}

const BY_FAULT: Readonly<Record<number, ErrorCode>> = {
  [SecurityFault.KERBEROS_LIBRARY]: 'SPOOR_KERBEROS_MISSING',
  [SecurityFault.NO_TICKET]: 'SPOOR_KUDU_LOGIN',
  [SecurityFault.NOT_READY]: 'SPOOR_KUDU_LOGIN',
  [SecurityFault.CREDENTIAL_FILE]: 'SPOOR_KUDU_LOGIN',
};

/** What Kudu said, and what to do where that is known: for who sees no code. */
export function explain(error: unknown): string {
  if (!(error instanceof KuduError)) return error instanceof Error ? error.message : String(error);
  const last = error.lastCause;
  const code = securityCode(last);
  if (code !== null) return `${error.message}. ${remedyOf(last)} (${code})`;
  return isRefusal(error) ? `${error.message}. ${remedyOf(last)}` : error.message;
}

/** @param error one that {@link isRefusal} */
export function refusalOf(error: KuduError): SpoorError {
  const security = securityCode(error.lastCause);
  if (security !== null) return new SpoorError(security, error.message, {}, error);
  return new KuduRefusedError(error.message, remedyOf(error.lastCause), error);
}

/** Of a row that Kudu rejected, by its {@link AppStatus}. */
export function rowRefused(message: string, status: number): KuduRefusedError {
  return new KuduRefusedError(message, BY_STATUS[status] ?? OTHER);
}

const NEGOTIATION =
  'The server takes neither a name alone nor what goes in the clear, or takes that from its --trusted_subnets only: see SPOOR_KUDU_AUTH and SPOOR_KUDU_ENCRYPTION, and what the server was started with (--rpc_encryption, --rpc_authentication, --trusted_subnets).';
const GONE = 'The table or tablet is gone: look whether it was dropped, and ask again with what there is now.';
const LIMIT =
  'What was asked for is beyond a limit of these Kudu servers, which the message names: ask for less, or raise it there (--max_cell_size_bytes, --max_identifier_length).';
const REPLICAS =
  'Set SPOOR_SYSTEM_TABLE_REPLICAS to a number that the cluster can have: odd, and no more than there are tablet servers.';
const VERSION =
  'These Kudu servers do not know that call: they are tablet servers where masters are meant, or the other way round, or speak another version of the protocol (docs/operations.md says which Spoor works with).';
const SCHEMA = 'The table has other columns than this version expects: look whether somebody altered it.';
const DISK = 'A tablet server has trouble with its data: look into its log.';
const OTHER = 'The message says which call, where and why; the log of the server that it names says more.';

const BY_STATUS: Readonly<Record<number, string>> = {
  [AppStatus.NOT_FOUND]: GONE,
  [AppStatus.CORRUPTION]: DISK,
  [AppStatus.NOT_SUPPORTED]: VERSION,
  [AppStatus.INVALID_ARGUMENT]: LIMIT,
  [AppStatus.IO_ERROR]: DISK,
};

const BY_RPC: Readonly<Record<number, string>> = {
  [RpcErrorCode.ERROR_NO_SUCH_METHOD]: VERSION,
  [RpcErrorCode.ERROR_NO_SUCH_SERVICE]: VERSION,
  [RpcErrorCode.ERROR_INVALID_REQUEST]: LIMIT,
  [RpcErrorCode.FATAL_VERSION_MISMATCH]: VERSION,
};

const BY_MASTER: Readonly<Record<number, string>> = {
  [MasterErrorCode.INVALID_SCHEMA]: SCHEMA,
  [MasterErrorCode.TABLE_NOT_FOUND]: GONE,
  [MasterErrorCode.TABLE_SOFT_DELETED]: GONE,
  [MasterErrorCode.REPLICATION_FACTOR_TOO_HIGH]: REPLICAS,
  [MasterErrorCode.EVEN_REPLICATION_FACTOR]: REPLICAS,
  [MasterErrorCode.ILLEGAL_REPLICATION_FACTOR]: REPLICAS,
};

const BY_TSERVER: Readonly<Record<number, string>> = {
  [TserverErrorCode.INVALID_SCHEMA]: SCHEMA,
  [TserverErrorCode.MISMATCHED_SCHEMA]: SCHEMA,
  [TserverErrorCode.TABLET_HAS_A_NEWER_SCHEMA]: SCHEMA,
};

/** What a person does about it. @param error the cause itself, see {@link KuduError.lastCause} */
function remedyOf(error: KuduError): string {
  const security = securityCode(error);
  if (security !== null) return ERRORS[security].remedy;
  if (error.method === 'negotiation' && error.notAuthorized) return NEGOTIATION;
  if (error.notAuthorized || error.status === AppStatus.NOT_AUTHORIZED) return missingRight(error);
  const { kind, code, status } = error;
  const table = kind === 'rpc' ? BY_RPC : kind === 'master' ? BY_MASTER : kind === 'tserver' ? BY_TSERVER : {};
  return table[code ?? -1] ?? BY_STATUS[status ?? -1] ?? OTHER;
}
