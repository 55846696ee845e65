/**
 * How a client proves who it is:
 * - `auto`: Kerberos where the server offers it and a keytab or ticket is there, else PLAIN.
 * - `kerberos`, `jwt`: that way or not at all. A client that falls back to a name alone would take an attacker's word.
 * - `plain`: the name alone; servers take that from their trusted subnets.
 */
export type AuthMode = 'auto' | 'kerberos' | 'jwt' | 'plain';

/** `required`: nothing goes over a connection in the clear; `optional`: TLS wherever the server offers it. */
export type EncryptionPolicy = 'optional' | 'required';

/** A text that is given, or a file that holds it: read again at each use, since whoever renews it writes the file. */
export type TextSource = { readonly value: string } | { readonly file: string };

/** Whose tickets are used. */
export interface KerberosOptions {
  /** `name@REALM`, or `name` in the default realm. Default: the first of the keytab, else whose ticket is in the cache. */
  readonly principal?: string;
  /** A keytab from which tickets are had and renewed. Default: the credential cache of the environment (`KRB5CCNAME`). */
  readonly keytab?: string;
}

export interface SecurityOptions {
  /** Name for PLAIN. Default: the user that this process runs as. */
  readonly user?: string | undefined;
  /** Default: `auto`. */
  readonly auth?: AuthMode | undefined;
  /** Default: `optional`. */
  readonly encryption?: EncryptionPolicy | undefined;
  readonly kerberos?: KerberosOptions | undefined;
  /** First part of the servers' principal. Default: `kudu`. */
  readonly saslProtocolName?: string | undefined;
  readonly jwt?: TextSource | undefined;
  /** Certificates to trust besides those that the masters name, PEM. */
  readonly ca?: TextSource | undefined;
}
