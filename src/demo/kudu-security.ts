import type { SecurityOptions } from '../kudu/security/options.ts';
import type { KerberosKdc } from './kerberos-kdc.ts';

/** How a Kudu cluster is guarded, and what each kind of process needs to get in. */
export interface KuduSecurity {
  readonly masterFlags: readonly string[];
  readonly tserverFlags: readonly string[];
  readonly serverEnv: Readonly<Record<string, string>>;
  /** Of the `kudu` program, who asks as the servers' own user. */
  readonly cliEnv: Readonly<Record<string, string>>;
  /** Of a sidecar: who it is and how it may speak. */
  readonly sidecarEnv: Readonly<Record<string, string>>;
  /** The same for a client in this process, which must have the sidecars' environment besides. */
  readonly client: SecurityOptions;
}

/** Nothing in the clear between machines; TLS for whoever offers it on one, Spoor does. */
export const ENCRYPTED: readonly string[] = ['--rpc_encryption=required'];

/**
 * TLS and Kerberos for everybody, with the least rights for a sidecar: a principal of its own, which the servers name as
 * a superuser beside their own (setting the flag takes that default away).
 */
export async function kerberosSecurity(
  kdc: KerberosKdc,
  options: {
    readonly user?: string;
    readonly superusers?: readonly string[];
    readonly flags?: readonly string[];
    /** Of the user's tickets. */
    readonly ticketLifeS?: number;
  } = {},
): Promise<KuduSecurity> {
  const { user = 'spoor', superusers = ['kudu', user], flags: more = [], ticketLifeS } = options;
  // The host of every server here is 127.0.0.1, so they share a principal.
  const server = await kdc.addPrincipal('kudu/127.0.0.1');
  await kdc.addPrincipal('kudu/localhost', { into: server }); // what Java's client makes of the address
  const keytab = await kdc.addPrincipal(user, ticketLifeS === undefined ? {} : { ticketLifeS });
  const flags = [
    ...ENCRYPTED,
    '--rpc_authentication=required',
    `--keytab_file=${server}`,
    '--principal=kudu/127.0.0.1',
    `--superuser_acl=${superusers.join(',')}`,
    ...more,
  ];
  return {
    masterFlags: flags,
    tserverFlags: flags,
    serverEnv: kdc.env,
    cliEnv: { ...kdc.env, KRB5_CLIENT_KTNAME: `FILE:${server}`, KRB5CCNAME: 'MEMORY:kudu' },
    sidecarEnv: {
      ...kdc.env,
      SPOOR_KUDU_AUTH: 'kerberos',
      SPOOR_KUDU_ENCRYPTION: 'required',
      SPOOR_KUDU_PRINCIPAL: user,
      SPOOR_KUDU_KEYTAB: keytab,
    },
    client: { auth: 'kerberos', encryption: 'required', kerberos: { principal: user, keytab } },
  };
}
