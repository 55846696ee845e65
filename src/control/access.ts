import { createHash, timingSafeEqual } from 'node:crypto';
import type { HttpCredentials } from '../util/http-credentials.ts';
import { ProblemError } from './problem.ts';

/** What a caller may do: look, or all. */
export type Role = 'read' | 'operate';

/** Who calls, as far as it has shown. */
export interface Caller {
  /** Null: nobody in particular, who is told little. */
  readonly role: Role | null;
  /** Subject of the certificate that it has shown, one of our CA; null for none. */
  readonly certificate: string | null;
}

export interface Call {
  readonly method: string;
  /** Whether the path is answered to anybody. */
  readonly isOpen: boolean;
  readonly authorization: string | undefined;
  readonly certificate: string | null;
}

export type Verdict =
  { readonly kind: 'granted'; readonly caller: Caller } | { readonly kind: 'refused'; readonly problem: ProblemError };

/** Those that change nothing. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
const REALM = 'Bearer realm="spoor"';

export function isSafe(method: string): boolean {
  return SAFE_METHODS.has(method);
}

/** Who may make a call, by the credentials in force when this was made. */
export class AccessRule {
  readonly #wantsCertificate: boolean;
  readonly #operate: Buffer | null;
  readonly #read: Buffer | null;

  constructor({ tokens, tls }: HttpCredentials) {
    this.#wantsCertificate = tls?.clientCa != null;
    this.#operate = tokens === null ? null : digest(tokens.operate);
    this.#read = tokens?.read == null ? null : digest(tokens.read);
  }

  /**
   * An open path asks for nothing, yet who shows a token there must show a right one: else it would tell tokens apart
   * beside the count of failures.
   */
  decide({ method, isOpen, authorization, certificate }: Call): Verdict {
    if (this.#wantsCertificate && certificate === null)
      return isOpen ? granted(null, null) : refused(403, 'A certificate of a client of this API is needed.');
    if (this.#operate === null) return granted('operate', certificate);
    if (isOpen && authorization === undefined) return granted(null, certificate);
    const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (given === undefined) return refused(401, 'A bearer token is needed.', REALM);
    const role = this.#roleOf(digest(given), this.#operate);
    if (role === null) return refused(401, 'The bearer token is not the right one.', `${REALM}, error="invalid_token"`);
    if (role === 'read' && !isSafe(method))
      return refused(
        403,
        'The bearer token is for reading; this call may change something.',
        `${REALM}, error="insufficient_scope"`,
      );
    return granted(role, certificate);
  }

  /** Digests are compared, both always, so that time tells neither a token's length nor its beginning, nor whose it is. */
  #roleOf(given: Buffer, operate: Buffer): Role | null {
    const isOperate = timingSafeEqual(given, operate);
    const isRead = timingSafeEqual(given, this.#read ?? operate);
    if (isOperate) return 'operate';
    return isRead ? 'read' : null;
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function granted(role: Role | null, certificate: string | null): Verdict {
  return { kind: 'granted', caller: { role, certificate } };
}

function refused(status: number, detail: string, challenge?: string): Verdict {
  const headers = challenge === undefined ? {} : { 'www-authenticate': challenge };
  return { kind: 'refused', problem: new ProblemError(status, detail, {}, headers) };
}
