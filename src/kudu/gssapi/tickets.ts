import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { KerberosOptions } from '../security/options.ts';
import { KuduError } from '../errors.ts';
import type { Deadline } from '../rpc/deadline.ts';
import { SecurityFault } from '../status.ts';
import { GssContext, check } from './context.ts';
import { loadGssLibrary, type GssLibrary, type Pointer } from './library.ts';
import { errorCodeOf } from '../../util/error-code.ts';

let caches = 0;

/**
 * The Kerberos tickets of one client. With a keytab they are had, and had again before they expire, by the library
 * itself: a credential is acquired anew for each log-in, and MIT krb5 asks the KDC once half of a ticket's life is over.
 * (krb5 1.11 and later, `gss_acquire_cred_from`.)
 */
export class KerberosTickets {
  readonly #options: KerberosOptions;
  /** In this process's memory, and this client's alone: another one may be somebody else. */
  readonly #cache = `MEMORY:spoor-${process.pid}-${++caches}`;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: KerberosOptions) {
    this.#options = options;
  }

  /** Whether somebody has said that there is to be Kerberos: else it is looked for only where a server wants it. */
  get isConfigured(): boolean {
    const { keytab, principal } = this.#options;
    const { KRB5CCNAME, KRB5_CLIENT_KTNAME } = process.env;
    return (keytab ?? principal ?? KRB5CCNAME ?? KRB5_CLIENT_KTNAME) !== undefined;
  }

  /**
   * Begins a log-in at a server.
   *
   * One at a time: whoever asks a KDC that does not answer occupies a thread of libuv's few for as long, and file
   * reads wait for these too.
   * @param service `name@host`
   * @throws {KuduError} `security` KERBEROS_LIBRARY, or NO_TICKET with the library's own words
   */
  async initiate(service: string, deadline: Deadline): Promise<GssContext> {
    const mine = this.#turn.then(async () => {
      deadline.signal?.throwIfAborted();
      if (deadline.remainingMs() === 0) throw tooLate(service); // its caller has given up while it waited
      const library = await loadGssLibrary();
      return GssContext.initiate(library, service, await this.#credential(library));
    });
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #credential(library: GssLibrary): Promise<Pointer> {
    const { keytab, principal } = this.#options;
    if (keytab === undefined && principal === undefined) return null; // the default of the environment
    const store: [string, string][] =
      keytab === undefined
        ? []
        : [
            ['client_keytab', `FILE:${keytab}`],
            ['ccache', this.#cache],
          ];
    if (keytab !== undefined) await checkReadable(keytab);
    let name: Pointer = null;
    try {
      if (principal !== undefined) {
        const imported = library.importName(principal, 'principal');
        name = imported.name;
        check(library, imported.status, `the principal ${principal}`);
      }
      const { status, cred } = await library.callAcquireCred(name, store);
      check(library, status, `credentials${principal === undefined ? '' : ` of ${principal}`}${ofFile(keytab)}`);
      return cred;
    } finally {
      library.releaseName(name);
    }
  }
}

function tooLate(service: string): KuduError {
  const message = `Kerberos: no ticket for ${service} in time: others are waiting for the KDC`;
  return new KuduError('security', message, { code: SecurityFault.NO_TICKET, notRun: true });
}

/** The library does not say that a keytab is not there. */
async function checkReadable(keytab: string): Promise<void> {
  try {
    await access(keytab, constants.R_OK);
  } catch (cause) {
    const why = errorCodeOf(cause) || String(cause);
    throw new KuduError('security', `Kerberos: the keytab ${JSON.stringify(keytab)} cannot be read (${why})`, {
      code: SecurityFault.NO_TICKET,
      notRun: true,
      cause,
    });
  }
}

function ofFile(keytab: string | undefined): string {
  return keytab === undefined ? '' : ` from the keytab ${keytab} (klist -k ${keytab} says whose keys are in it)`;
}
