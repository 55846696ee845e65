/** A token, and how long it is good for, by a clock that never steps. */
export interface GrantedToken {
  readonly value: string;
  /** When it was asked for: it is not younger than that. */
  readonly sinceMs: number;
  readonly endsMs: number;
}

/**
 * - `good`: use it.
 * - `due`: use it, and get another one.
 * - `over`: no broker takes it any more.
 */
export type TokenState = 'good' | 'due' | 'over';

/** Of its life, as Kafka's own client does (sasl.login.refresh.window.factor). Sessions are renewed later, see session-life.ts. */
const RENEWED_AFTER = 0.8;
/** A token gets no older than that for want of a word about its end. Brokers know it, and end the session with it. */
const UNTOLD_LIFE_MS = 300_000;
/** Whose fresh tokens are refused gets so often others; refusing them costs an endpoint and a broker as much as taking them. */
const REFUSED_AGAIN_MS = 5_000;

/** When it is to be renewed. */
export function dueAtMs({ sinceMs, endsMs }: GrantedToken): number {
  return sinceMs + RENEWED_AFTER * (endsMs - sinceMs);
}

export function stateOf(token: GrantedToken | null, nowMs: number): TokenState {
  if (token === null || nowMs >= token.endsMs) return 'over';
  return nowMs >= dueAtMs(token) ? 'due' : 'good';
}

/** Whether a token that a broker has refused is to be replaced before its time. */
export function isGivenUp(token: GrantedToken, nowMs: number): boolean {
  return nowMs - token.sinceMs >= REFUSED_AGAIN_MS;
}

/**
 * How long a token lives: the shorter of what the endpoint says of it and what it says of itself.
 * @param expiresInS as the endpoint says; undefined where it does not
 * @param value a JWT says its end itself (RFC 7519, 4.1.4); anything else says nothing
 * @param wallMs now, as clocks on walls show it
 */
export function lifeMs(expiresInS: number | undefined, value: string, wallMs: number): number {
  const endS = endOfJwt(value);
  const lives = [
    ...(expiresInS === undefined ? [] : [expiresInS * 1000]),
    ...(endS === null ? [] : [endS * 1000 - wallMs]),
  ];
  return Math.max(0, lives.length === 0 ? UNTOLD_LIFE_MS : Math.min(...lives));
}

/** In seconds since 1970; null where it is no JWT, or says none. */
function endOfJwt(value: string): number | null {
  const payload = value.split('.')[1];
  if (payload === undefined) return null;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    if (typeof claims !== 'object' || claims === null || !('exp' in claims)) return null;
    return typeof claims.exp === 'number' && Number.isFinite(claims.exp) ? claims.exp : null;
  } catch {
    return null; // whoever made it knows what it is
  }
}
