import { SpoorError } from '../errors.ts';
import type { KuduError } from '../kudu/errors.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode, TserverErrorCode } from '../kudu/status.ts';

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

/** @param error one that {@link isRefusal} */
export function refusalOf(error: KuduError): KuduRefusedError {
  return new KuduRefusedError(error.message, remedyOf(error.lastCause), error);
}

/** Of a row that Kudu rejected, by its {@link AppStatus}. */
export function rowRefused(message: string, status: number): KuduRefusedError {
  return new KuduRefusedError(message, BY_STATUS[status] ?? OTHER);
}

const USER =
  'Set SPOOR_KUDU_USER to the user that the tablet servers run as, or name it in their --superuser_acl; where --user_acl is set on masters and tablet servers it has to be in there too; where access control is enforced, grant it the right that the message names.';
const SECURITY =
  'This version of Spoor speaks to Kudu in the clear and with a name alone: it does not support servers with --rpc_encryption=required, --rpc_authentication=required or Kerberos yet; others take such connections from their --trusted_subnets only.';
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
  [AppStatus.NOT_AUTHORIZED]: USER,
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
export function remedyOf(error: KuduError): string {
  if (error.kind === 'rpc' && error.code === RpcErrorCode.FATAL_UNAUTHORIZED) return SECURITY;
  if (error.notAuthorized) return USER;
  const { kind, code, status } = error;
  const table = kind === 'rpc' ? BY_RPC : kind === 'master' ? BY_MASTER : kind === 'tserver' ? BY_TSERVER : {};
  return table[code ?? -1] ?? BY_STATUS[status ?? -1] ?? OTHER;
}
