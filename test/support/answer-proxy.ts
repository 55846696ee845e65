import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** What is done with some bytes of an answer; whoever does nothing keeps them from the client. */
export type OnAnswer = (bytes: Buffer, client: Socket) => void;

/** What is done with some bytes of a request; whoever does nothing keeps them from the server. */
export type OnRequest = (bytes: Buffer, server: Socket) => void;

const passesOn = (): OnRequest => (bytes, server) => {
  server.write(bytes);
};

/** A TCP proxy on loopback that takes what is sent at once, and asks what becomes of the answers, and where it matters of the requests. */
export class AnswerProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /**
   * @param onConnection asked with every connection what is done with its answers
   * @param requestsOf and with its requests
   */
  constructor(
    to: { readonly host: string; readonly port: number },
    onConnection: () => OnAnswer,
    requestsOf: () => OnRequest = passesOn,
  ) {
    this.#server = createServer((client) => {
      const onAnswer = onConnection();
      const onRequest = requestsOf();
      const server = connect(to);
      this.#join(client, server);
      client.on('data', (bytes: Buffer) => {
        onRequest(bytes, server);
      });
      client.on('end', () => server.end());
      server.on('data', (bytes: Buffer) => {
        onAnswer(bytes, client);
      });
    });
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
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
