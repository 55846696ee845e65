import { KuduError } from './errors.ts';
import type { SignedTokenPB } from './proto/rpc_pb.ts';
import type { Deadline } from './rpc/deadline.ts';
import { RpcErrorCode } from './status.ts';

/**
 * A table's authorization token, for clusters whose tablet servers enforce access control
 * (`tserver_enforce_access_control`). Requests go without one until a server asks: elsewhere it would only end up in
 * the log, where every write is kept with its token (kudu-facts 1.3).
 */
export class TableAuthorization {
  readonly #fetch: (deadline: Deadline) => Promise<SignedTokenPB | null>;
  #token: SignedTokenPB | null = null;

  /** @param fetch asks the master for a new token; null where it gives none */
  constructor(fetch: (deadline: Deadline) => Promise<SignedTokenPB | null>) {
    this.#fetch = fetch;
  }

  /**
   * Runs a call with what is known to be wanted; once more, with a new token, when the server turns it away for
   * having none or an old one. Both times it is turned away before it runs.
   */
  async run<T>(deadline: Deadline, call: (token: { readonly authzToken?: SignedTokenPB }) => Promise<T>): Promise<T> {
    try {
      return await call(this.#toAttach());
    } catch (error) {
      if (!wantsToken(error)) throw error;
      this.#token = await this.#fetch(deadline);
      if (!this.#token) throw error;
      return await call(this.#toAttach());
    }
  }

  #toAttach(): { readonly authzToken?: SignedTokenPB } {
    return this.#token ? { authzToken: this.#token } : {};
  }
}

/** A token that lacks a privilege is answered otherwise (FATAL_UNAUTHORIZED), and another one would lack it too. */
function wantsToken(error: unknown): boolean {
  return KuduError.is(error, 'rpc', RpcErrorCode.ERROR_INVALID_AUTHORIZATION_TOKEN);
}
