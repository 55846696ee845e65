import type { AuthenticationProviderArgs } from 'kafkajs';
import { KuduError } from '../../../kudu/errors.ts';
import type { GssContext } from '../../../kudu/gssapi/context.ts';
import type { KerberosTickets } from '../../../kudu/gssapi/tickets.ts';
import { Deadline } from '../../../kudu/rpc/deadline.ts';
import { SecurityFault } from '../../../kudu/status.ts';
import { TimeLimit } from '../../../util/time-limit.ts';
import { waitFor } from '../../../util/wait-for.ts';
import { SinkError } from '../../sink.ts';
import type { KafkaLogin } from './access.ts';
import { AuthenticationRefused } from './authentication-refused.ts';
import { saslMessage } from './sasl-message.ts';

/** Layers of RFC 4752, of which Kafka knows none but this: TLS is what protects a connection. */
const NO_LAYER = 1;
/** Of messages in a layer: there is none. */
const NO_MESSAGES = Buffer.from([NO_LAYER, 0, 0, 0]);
/** A KDC that is away is asked for about so long by MIT krb5 itself. */
const TICKET_TIMEOUT_MS = 15_000;
const NOTHING = new Uint8Array();

/** SASL GSSAPI (RFC 4752): Kerberos, with the same tickets for all brokers. */
export class KerberosLogin implements KafkaLogin {
  readonly mechanism = 'GSSAPI';
  readonly #tickets: KerberosTickets;
  readonly #serviceName: string;
  readonly #stop: AbortSignal;

  /** @param serviceName first part of the brokers' principals; the second is the host that they are called by */
  constructor(tickets: KerberosTickets, serviceName: string, stop: AbortSignal) {
    this.#tickets = tickets;
    this.#serviceName = serviceName;
    this.#stop = stop;
  }

  /** Has the broker's ticket put into the cache. */
  async prepare(host: string, signal: AbortSignal): Promise<void> {
    const gss = await this.#initiate(host, signal);
    gss[Symbol.dispose]();
  }

  async authenticate({ host, saslAuthenticate }: AuthenticationProviderArgs): Promise<void> {
    using gss = await this.#initiate(host, this.#stop);
    const say = async (token: Uint8Array): Promise<Buffer> =>
      (await saslAuthenticate(saslMessage(token))) ?? Buffer.alloc(0);
    let answer = await say(gss.firstToken);
    for (let isDone = false; !isDone;) {
      const step = await proved(() => gss.accept(answer));
      isDone = step.isDone;
      answer = await say(isDone ? NOTHING : step.token);
    }
    const layers = await proved(() => gss.unwrap(answer));
    if (layers.length !== 4 || (layers[0]! & NO_LAYER) === 0)
      throw new AuthenticationRefused(`GSSAPI: the broker wants one of the layers ${layers.toString('hex')}, not none`);
    await say(gss.wrap(NO_MESSAGES));
  }

  /** @throws {SinkError} no ticket, and why */
  async #initiate(host: string, signal: AbortSignal): Promise<GssContext> {
    using limit = new TimeLimit(signal, TICKET_TIMEOUT_MS);
    const deadline = Deadline.from({ signal: limit.signal }, TICKET_TIMEOUT_MS);
    const context = this.#tickets.initiate(`${this.#serviceName}@${host}`, deadline);
    try {
      return await waitFor(context, limit.signal);
    } catch (error) {
      void context
        .then((late) => {
          late[Symbol.dispose]();
        })
        .catch(() => undefined);
      signal.throwIfAborted();
      if (!(error instanceof KuduError))
        throw new SinkError(
          'unavailable',
          `Kerberos: no ticket for ${this.#serviceName}@${host}: ${wordsOf(error)}`,
          error,
        );
      // Without the library nobody gets a ticket; a KDC comes back.
      const kind = error.code === SecurityFault.KERBEROS_LIBRARY ? 'refused' : 'unavailable';
      throw new SinkError(kind, error.message, error);
    }
  }
}

/** @throws {AuthenticationRefused} a broker that is not the one that it should be */
async function proved<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new AuthenticationRefused(`GSSAPI: the broker does not prove itself: ${wordsOf(error)}`, { cause: error });
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
