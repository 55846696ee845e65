import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A TCP proxy on loopback that takes what is sent at once, and holds every byte of an answer back for some time. */
export class SlowProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** How long an answer takes on top. */
  delayMs: number;

  private constructor(to: { readonly host: string; readonly port: number }, delayMs: number) {
    this.delayMs = delayMs;
    this.#server = createServer((client) => {
      const server = connect(to);
      this.#join(client, server);
      client.pipe(server);
      server.on('data', (bytes: Buffer) => {
        const timer = setTimeout(() => {
          this.#timers.delete(timer);
          client.write(bytes);
        }, this.delayMs);
        this.#timers.add(timer);
      });
    });
  }

  static async start(to: { readonly host: string; readonly port: number }, delayMs: number): Promise<SlowProxy> {
    const proxy = new SlowProxy(to, delayMs);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** A connection to it, as a `socketFactory` answers one, whatever address is asked for. */
  connect(onConnect: () => void): Socket {
    return connect({ host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port }, onConnect);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** When one goes the other goes too. */
  #join(one: Socket, other: Socket): void {
    for (const [socket, peer] of [
      [one, other],
      [other, one],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        peer.destroy();
      });
    }
  }
}
