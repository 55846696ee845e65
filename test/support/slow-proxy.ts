import { connect, type Socket } from 'node:net';
import { AnswerProxy } from './answer-proxy.ts';

/** A TCP proxy on loopback that takes what is sent at once, and holds every byte of an answer back for some time. */
export class SlowProxy extends AnswerProxy {
  readonly #timers = new Set<NodeJS.Timeout>();
  /** How long an answer takes on top. */
  delayMs: number;

  private constructor(to: { readonly host: string; readonly port: number }, delayMs: number) {
    super(to, () => (bytes, client) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        client.write(bytes);
      }, this.delayMs);
      this.#timers.add(timer);
    });
    this.delayMs = delayMs;
  }

  static async start(to: { readonly host: string; readonly port: number }, delayMs: number): Promise<SlowProxy> {
    return new SlowProxy(to, delayMs).listen();
  }

  /** A connection to it, as a `socketFactory` answers one, whatever address is asked for. */
  connect(onConnect: () => void): Socket {
    return connect({ host: '127.0.0.1', port: this.port }, onConnect);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await super[Symbol.asyncDispose]();
  }
}
