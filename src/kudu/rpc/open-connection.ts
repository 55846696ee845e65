import { afterFailure } from '../security/authn-choice.ts';
import type { CredentialsUse, SecurityContext } from '../security/security-context.ts';
import { Connection } from './connection.ts';
import { pauseBefore, type Deadline } from './deadline.ts';

/** A server hears of its certificate and of new keys with its next heartbeat, which is a second away at most. */
const WAIT_MS = 3000;

/**
 * Opens a connection, by other credentials or later where that can be put right from here: see {@link afterFailure}.
 * @throws {KuduError} as {@link Connection.open}
 */
export async function openConnection(
  address: string,
  security: SecurityContext,
  use: CredentialsUse,
  deadline: Deadline,
  onClose: () => void,
): Promise<Connection> {
  const waitUntil = performance.now() + WAIT_MS;
  let hasRenewed = false;
  let usable = use;
  for (let attempt = 1; ; attempt++) {
    using credentials = await security.gather(address, usable, deadline);
    try {
      return await Connection.open(address, { security, credentials }, deadline, onClose);
    } catch (error) {
      switch (afterFailure(error, credentials.held)) {
        case 'renew-token':
          if (hasRenewed) throw error;
          hasRenewed = true;
          security.trust.drop(credentials.token!);
          await security.renewToken(deadline).catch(() => undefined); // then by what the client itself has
          continue;
        case 'without-token':
          usable = 'primary-only';
          continue;
        case 'wait':
          if (performance.now() > waitUntil || deadline.remainingMs() === 0) throw error;
          break;
        case 'give-up':
          throw error;
      }
    }
    await deadline.sleep(pauseBefore(attempt));
  }
}
