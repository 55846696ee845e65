import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { HttpCredentials, HttpTls } from '../util/http-credentials.ts';
import { missingOf, valueFault, type GivenVariables } from './environment.ts';
import { isReadable } from './is-readable.ts';
import type { VariableName, Variables } from './variables.ts';

export const HTTP_TOKEN_NAMES = ['SPOOR_HTTP_TOKEN', 'SPOOR_HTTP_TOKEN_READ'] as const;
export const HTTP_TLS_NAMES = ['SPOOR_HTTP_TLS_CERT', 'SPOOR_HTTP_TLS_KEY', 'SPOOR_HTTP_TLS_CLIENT_CA'] as const;
export const HTTP_SECRET_NAMES = [...HTTP_TOKEN_NAMES, ...HTTP_TLS_NAMES] as const;
export type HttpSecretName = (typeof HTTP_SECRET_NAMES)[number];
export type HttpSecretValues = Pick<Variables, HttpSecretName>;

/** What the variables say together; a pair of which one is missing is a fault elsewhere. */
export function httpCredentials(values: HttpSecretValues): HttpCredentials {
  const { SPOOR_HTTP_TOKEN: operate, SPOOR_HTTP_TOKEN_READ: read = null } = values;
  const { SPOOR_HTTP_TLS_CERT: cert, SPOOR_HTTP_TLS_KEY: key, SPOOR_HTTP_TLS_CLIENT_CA: clientCa = null } = values;
  return {
    tokens: operate === undefined ? null : { operate, read },
    tls: cert === undefined || key === undefined ? null : { cert, key, clientCa },
  };
}

/** What no single variable can tell, of who may call the API and how. */
export function httpSecretFaults(values: HttpSecretValues, given: GivenVariables): string[] {
  const isGiven = (name: VariableName) => given.names.has(name);
  const faults: string[] = [];
  if (isGiven('SPOOR_HTTP_TOKEN_READ'))
    faults.push(...missingOf(['SPOOR_HTTP_TOKEN'], given, 'goes with SPOOR_HTTP_TOKEN_READ'));
  const tlsGiven = HTTP_TLS_NAMES.find(isGiven);
  if (tlsGiven !== undefined)
    faults.push(...missingOf(['SPOOR_HTTP_TLS_CERT', 'SPOOR_HTTP_TLS_KEY'], given, `goes with ${tlsGiven}`));
  const { tokens, tls } = httpCredentials(values);
  if (tokens !== null && tokens.read === tokens.operate)
    faults.push(valueFault('SPOOR_HTTP_TOKEN_READ', given, 'another token than SPOOR_HTTP_TOKEN'));
  const fault = tls && tlsFault(tls);
  if (fault) faults.push(valueFault(fault.name, given, fault.allowed));
  return faults;
}

/** What keeps these from being served with; null for nothing. Times are not looked at: a clock may be wrong. */
export function tlsFault({ cert, key, clientCa }: HttpTls): { name: HttpSecretName; allowed: string } | null {
  try {
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
      return { name: 'SPOOR_HTTP_TLS_KEY', allowed: 'the private key of SPOOR_HTTP_TLS_CERT' };
  } catch {
    const name = isReadable(() => new X509Certificate(cert)) ? 'SPOOR_HTTP_TLS_KEY' : 'SPOOR_HTTP_TLS_CERT';
    const what = name === 'SPOOR_HTTP_TLS_KEY' ? 'a private key in PEM, not encrypted' : 'a certificate in PEM';
    return { name, allowed: `${what}, which OpenSSL can read` };
  }
  if (!isReadable(() => createSecureContext({ cert, key })))
    return { name: 'SPOOR_HTTP_TLS_CERT', allowed: 'a certificate in PEM that OpenSSL takes at its security level' };
  if (clientCa !== null && !isReadable(() => certificatesOf(clientCa).map((each) => new X509Certificate(each))))
    return { name: 'SPOOR_HTTP_TLS_CLIENT_CA', allowed: 'certificates in PEM, which OpenSSL can read' };
  return null;
}

/** The values of them that must not be shown. */
export function httpSecretsOf({ tokens, tls }: HttpCredentials): string[] {
  return [tokens?.operate, tokens?.read, tls?.key].flatMap((secret) => secret ?? []);
}

/** One by one: of a file with several, Node looks at the first alone. @throws where there is none */
function certificatesOf(pem: string): readonly string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----/g);
  if (!found) throw new TypeError('no certificate');
  return found;
}
