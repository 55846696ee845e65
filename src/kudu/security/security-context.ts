import { userInfo } from 'node:os';
import { KuduError } from '../errors.ts';
import { KerberosTickets } from '../gssapi/tickets.ts';
import type { GssContext } from '../gssapi/context.ts';
import type { SignedTokenPB } from '../proto/rpc_pb.ts';
import { parseHostPort } from '../rpc/address.ts';
import { Deadline } from '../rpc/deadline.ts';
import { SecurityFault } from '../status.ts';
import type { Held } from './authn-choice.ts';
import { ClusterTrust, type AuthnToken } from './cluster-trust.ts';
import type { SecurityOptions } from './options.ts';
import { readText } from './read-text.ts';

/**
 * What a connection may be negotiated by:
 * - `any`: by a token of the masters, or by what the client has of its own.
 * - `primary`: by what it has of its own, and by a token where there is no ticket to be had at present.
 * - `primary-only`: a token gets no new token.
 */
export type CredentialsUse = 'any' | 'primary' | 'primary-only';

/** A timer holds no longer than this. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const RENEW_TIMEOUT_MS = 20_000;
/** A renewal that failed is tried again after this part of what is left of the token's life, within bounds. */
const AGAIN_PART = 1 / 8;
const AGAIN_MIN_MS = 1000;
const AGAIN_MAX_MS = 60_000;

/** What one negotiation has in hand. */
export interface Credentials extends Disposable {
  readonly held: Held;
  readonly token: AuthnToken | null;
  readonly jwt: string | null;
  /** PEM, of whom to believe that he is of the cluster. */
  readonly caPems: readonly string[];
  /** The log-in that was begun; null without a ticket. */
  readonly gss: GssContext | null;
  /** Why there is no ticket, where there was to be one. */
  readonly trouble: KuduError | null;
}

/**
 * Who a client is, how it proves that, and whom it trusts: shared by all connections of a client, and asked at each
 * negotiation, since tickets, tokens and files come and go.
 */
export class SecurityContext implements Disposable {
  readonly trust = new ClusterTrust();
  readonly #options: SecurityOptions;
  readonly #tickets: KerberosTickets;
  #renew: ((deadline: Deadline) => Promise<void>) | null = null;
  #renewing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;

  /** @throws {KuduError} `usage` for a name that is none, a JWT that is missing or one without a CA */
  constructor(options: SecurityOptions) {
    const { user, auth, jwt, ca } = options;
    if (user === '' || user?.includes('\0') === true)
      throw new KuduError('usage', `a user name is not empty and has no NUL; got ${JSON.stringify(user)}`);
    if (auth === 'jwt' && (!jwt || !ca))
      throw new KuduError('usage', 'authentication by JWT takes a JWT, and the CA of the servers that are to see it');
    this.#options = options;
    this.#tickets = new KerberosTickets(options.kerberos ?? {});
  }

  /**
   * The name for PLAIN.
   * @throws {KuduError} `usage` where none was given, and the system has no name for the user id, as in some containers
   */
  get user(): string {
    if (this.#options.user !== undefined) return this.#options.user;
    try {
      return userInfo().username;
    } catch (cause) {
      const message = 'the operating system has no name for the user of this process; give one';
      throw new KuduError('usage', message, { cause, notRun: true });
    }
  }

  /**
   * Everything for the next negotiation with a server. A ticket is asked for before there is a connection: the server
   * waits 3 s, a KDC may take longer.
   * @throws {KuduError} `security` when it is certain now that no server will be content; `timeout`
   */
  async gather(address: string, use: CredentialsUse, deadline: Deadline): Promise<Credentials> {
    const { auth = 'auto', encryption = 'optional' } = this.#options;
    const common = { auth, encryption };
    const caPems = [...this.trust.caPems, ...(await this.#ownCa())];
    if (auth === 'jwt') {
      const jwt = await readText('the JWT', this.#options.jwt!);
      const held: Held = { ...common, kerberos: 'absent', hasToken: false, hasJwt: true };
      return { held, token: null, jwt, caPems, gss: null, trouble: null, [Symbol.dispose]: () => undefined };
    }
    const token = use === 'primary-only' || caPems.length === 0 ? null : await this.#validToken(use, deadline);
    const wantsTicket =
      auth !== 'plain' && (token === null || use === 'primary') && (auth === 'kerberos' || this.#tickets.isConfigured);
    const { gss, trouble } = wantsTicket ? await this.findTicket(address, deadline) : { gss: null, trouble: null };
    const offered = use === 'any' || trouble !== null ? token : null;
    if (auth === 'kerberos' && trouble && !offered) throw trouble;
    const kerberos = gss ? 'ready' : trouble ? 'failed' : 'unknown';
    const held: Held = { ...common, kerberos, hasToken: offered !== null, hasJwt: false };
    return { held, token: offered, jwt: null, caPems, gss, trouble, [Symbol.dispose]: () => gss?.[Symbol.dispose]() };
  }

  /** Begins a log-in by Kerberos, or says why that cannot be. @throws {KuduError} `timeout` */
  async findTicket(
    address: string,
    deadline: Deadline,
  ): Promise<{ readonly gss: GssContext | null; readonly trouble: KuduError | null }> {
    const { host } = parseHostPort(address);
    const asked = this.#tickets.initiate(`${this.#options.saslProtocolName ?? 'kudu'}@${host}`, deadline);
    let isWaitedFor = true;
    asked.then(
      (gss) => {
        if (!isWaitedFor) gss[Symbol.dispose]();
      },
      () => undefined, // whoever waits hears of it
    );
    try {
      const gss = await deadline.race(asked, () => {
        const message = `Kerberos: no ticket for ${host} in time: the KDC does not answer`;
        return new KuduError('security', message, { code: SecurityFault.NO_TICKET, address, notRun: true });
      });
      return { gss, trouble: null };
    } catch (error) {
      isWaitedFor = false;
      if (!KuduError.is(error, 'security')) throw error;
      return { gss: null, trouble: error };
    }
  }

  /** Whether a missing ticket is one that was to be there. */
  get expectsTickets(): boolean {
    return this.#options.auth === 'kerberos' || this.#tickets.isConfigured;
  }

  /** Takes what a leading master says. */
  adopt(answer: Parameters<ClusterTrust['adopt']>[0] & { readonly authnToken?: SignedTokenPB | undefined }): void {
    this.trust.adopt(answer);
    this.#schedule();
  }

  /** @param renew asks the leading master over a new connection, and has the answer {@link adopt}ed */
  renewBy(renew: (deadline: Deadline) => Promise<void>): void {
    this.#renew = renew;
  }

  /** Gets a new token; whoever asks meanwhile waits for the same one. @throws {KuduError} */
  async renewToken(deadline: Deadline): Promise<void> {
    if (!this.#renew) return;
    this.#renewing ??= this.#renew(Deadline.detached(RENEW_TIMEOUT_MS)).finally(() => {
      this.#renewing = null;
    });
    await deadline.race(this.#renewing, () => {
      return new KuduError('timeout', 'no new authentication token in time', { notRun: true });
    });
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** One that is over is of no use; where no other can be had, there are the client's own credentials. */
  async #validToken(use: CredentialsUse, deadline: Deadline): Promise<AuthnToken | null> {
    const isOver = (): boolean => (this.trust.token?.endsAtMs ?? Infinity) <= performance.now();
    if (isOver() && use === 'any') await this.renewToken(deadline).catch(() => undefined);
    return isOver() ? null : this.trust.token;
  }

  async #ownCa(): Promise<readonly string[]> {
    const { ca } = this.#options;
    return ca ? [await readText('the CA', ca)] : [];
  }

  /** A token is renewed ahead: with its KDC gone for a while, a client then has most of a token's life left. */
  #schedule(delayMs?: number): void {
    const { token } = this.trust;
    if (this.#isClosed || !token || !this.#renew || token.renewAtMs === Infinity) return;
    if (this.#timer) clearTimeout(this.#timer);
    const dueInMs = delayMs ?? token.renewAtMs - performance.now();
    this.#timer = setTimeout(
      () => {
        const deadline = Deadline.detached(RENEW_TIMEOUT_MS);
        this.renewToken(deadline).catch(() => {
          // Nobody waits for it: the token in hand is good still, and who finds it over says why there is no other.
          const leftMs = token.endsAtMs - performance.now();
          this.#schedule(Math.min(Math.max(leftMs * AGAIN_PART, AGAIN_MIN_MS), AGAIN_MAX_MS));
        });
      },
      Math.min(Math.max(dueInMs, 0), MAX_TIMER_MS),
    );
    this.#timer.unref();
  }
}
