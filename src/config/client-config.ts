import { isWildcardHost, formatHostPort } from '../util/host-port.ts';
import { readEnvironment, valueFault, type Environment } from './environment.ts';
import { VARIABLES } from './variables.ts';

/** How a command reaches the sidecar of the same environment. */
export interface ClientConfig {
  readonly url: string;
  readonly token: string | null;
}

/**
 * Reads from the sidecar's own variables where its API listens and with which token. The others may be missing or
 * wrong: a shell on an operator's machine has no tablet server beside it. Unknown names are refused all the same.
 */
export function loadClientConfig(env: Environment, cwd: string): ClientConfig | { readonly faults: readonly string[] } {
  const given = readEnvironment(env, cwd);
  const listen = VARIABLES.shape.SPOOR_HTTP_LISTEN.safeParse(given.values.SPOOR_HTTP_LISTEN);
  const token = VARIABLES.shape.SPOOR_HTTP_TOKEN.safeParse(given.values.SPOOR_HTTP_TOKEN);
  const faults = [...given.faults];
  if (!listen.success) faults.push(valueFault('SPOOR_HTTP_LISTEN', given));
  if (!token.success) faults.push(valueFault('SPOOR_HTTP_TOKEN', given));
  if (faults.length > 0 || !listen.success || !token.success) return { faults };
  const host = isWildcardHost(listen.data.host) ? '127.0.0.1' : listen.data.host;
  return { url: `http://${formatHostPort({ host, port: listen.data.port })}`, token: token.data ?? null };
}
