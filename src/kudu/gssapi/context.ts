import { KuduError } from '../errors.ts';
import { SecurityFault } from '../status.ts';
import type { GssLibrary, GssStatus, Pointer } from './library.ts';

/** Source: RFC 2744, Appendix A; RFC 4752 wants both sides proved, and integrity. */
const MUTUAL = 2;
const SEQUENCE = 8;
const INTEGRITY = 32;
const FLAGS = MUTUAL | SEQUENCE | INTEGRITY;

/** The upper half of a status is an error; of the lower one CONTINUE_NEEDED alone matters here. */
const ERROR_MASK = 0xffff0000;
const CONTINUE_NEEDED = 1;

/** One log-in to one server: made with its first token, closed when the negotiation is over. */
export class GssContext implements Disposable {
  readonly #library: GssLibrary;
  readonly #cred: Pointer;
  readonly #target: Pointer;
  #context: Pointer = null;
  #firstToken: Buffer = Buffer.alloc(0);
  #isClosed = false;

  private constructor(library: GssLibrary, cred: Pointer, target: Pointer) {
    this.#library = library;
    this.#cred = cred;
    this.#target = target;
  }

  /**
   * Gets what is needed for the server, from the KDC where it is not in the cache.
   * @param service `name@host`
   * @param cred null: the default of the environment. It is the context's from here on, and released with it
   * @throws {KuduError} `security` NO_TICKET
   */
  static async initiate(library: GssLibrary, service: string, cred: Pointer): Promise<GssContext> {
    const { status, name } = library.importName(service, 'host-based service');
    const context = new GssContext(library, cred, name);
    try {
      check(library, status, `the service name ${service}`);
      context.#firstToken = (await context.#step(new Uint8Array(), `a ticket for ${service}`)).token;
      return context;
    } catch (error) {
      context[Symbol.dispose]();
      throw error;
    }
  }

  get firstToken(): Buffer {
    return this.#firstToken;
  }

  /** Takes the server's token. @throws {KuduError} `security` when that is not the server's proof */
  async accept(token: Uint8Array): Promise<{ readonly token: Buffer; readonly isDone: boolean }> {
    return this.#step(token, "the server's answer to the ticket");
  }

  /** A message with integrity, not encrypted. */
  wrap(message: Uint8Array): Buffer {
    const { status, output } = this.#library.wrap(this.#context, message);
    check(this.#library, status, 'a message to the server');
    return output;
  }

  /** @throws {KuduError} `security` when somebody changed the message */
  unwrap(message: Uint8Array): Buffer {
    const { status, output } = this.#library.unwrap(this.#context, message);
    check(this.#library, status, 'a message of the server', SecurityFault.UNTRUSTED_SERVER);
    return output;
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return; // C would free it twice
    this.#isClosed = true;
    this.#library.deleteContext(this.#context);
    this.#context = null;
    this.#library.releaseName(this.#target);
    this.#library.releaseCred(this.#cred);
  }

  async #step(token: Uint8Array, what: string): Promise<{ readonly token: Buffer; readonly isDone: boolean }> {
    const { status, context, output } = await this.#library.callInitSecContext(
      this.#cred,
      this.#context,
      this.#target,
      FLAGS,
      token,
    );
    this.#context = context;
    check(this.#library, status, what);
    return { token: output, isDone: (status.major & CONTINUE_NEEDED) === 0 };
  }
}

/** @throws {KuduError} with GSSAPI's own words for both of its codes */
export function check(
  library: GssLibrary,
  { major, minor }: GssStatus,
  what: string,
  code: number = SecurityFault.NO_TICKET,
): void {
  if ((major & ERROR_MASK) === 0) return;
  const general = library.describe(major, false);
  const own = minor === 0 ? '' : library.describe(minor, true);
  const words = own === '' || own === general ? general : `${general}: ${own}`;
  throw new KuduError('security', `Kerberos: ${what}: ${words}`, { code, notRun: true });
}
