import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';

export interface FakeRequest {
  readonly apiKey: number;
  readonly body: Buffer;
  answer(body: Buffer): void;
  /** Closes the socket without an answer. */
  hangUp(): void;
}

const API_VERSIONS = 18;
const SASL_HANDSHAKE = 17;
const SASL_AUTHENTICATE = 36;

/** Speaks Kafka's framing on loopback, answers the handshake, and leaves every other request to the test's script. */
export class FakeBroker implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** How many sockets were opened to it. */
  connections = 0;
  /** The newest version of each API that it claims to know. */
  maxVersion = 20;
  /** The same of single APIs, by key. */
  readonly maxVersionOf = new Map<number, number>();
  /** Whether it hangs up as soon as somebody connects. */
  refusing = false;
  /** How long it takes for each answer of a handshake. */
  answersAfterMs = 0;

  private constructor(onRequest: (request: FakeRequest) => void) {
    this.#server = createServer((socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
      if (this.refusing) {
        socket.end();
        return;
      }
      let bytes = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
        while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
          const end = 4 + bytes.readInt32BE(0);
          this.#take(socket, bytes.subarray(4, end), onRequest);
          bytes = bytes.subarray(end);
        }
      });
    });
  }

  static async start(onRequest: (request: FakeRequest) => void): Promise<FakeBroker> {
    const broker = new FakeBroker(onRequest);
    broker.#server.listen(0, '127.0.0.1');
    await once(broker.#server, 'listening');
    return broker;
  }

  get address(): { host: string; port: number } {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  #take(socket: Socket, frame: Buffer, onRequest: (request: FakeRequest) => void): void {
    const apiKey = frame.readInt16BE(0);
    const correlationId = frame.readInt32BE(4);
    const body = frame.subarray(10 + Math.max(0, frame.readInt16BE(8)));
    const answer = (payload: Buffer): void => {
      const head = Buffer.alloc(8);
      head.writeInt32BE(payload.length + 4, 0);
      head.writeInt32BE(correlationId, 4);
      socket.write(Buffer.concat([head, payload]));
    };
    const handshake = this.#handshake(apiKey);
    if (handshake !== null)
      setTimeout(() => {
        answer(handshake);
      }, this.answersAfterMs);
    else onRequest({ apiKey, body, answer, hangUp: () => socket.destroy() });
  }

  /** Whoever comes is let in, with SASL's PLAIN where that is wanted; null for another request. */
  #handshake(apiKey: number): Buffer | null {
    if (apiKey === API_VERSIONS) return this.#apiVersions();
    const w = new ByteWriter();
    if (apiKey === SASL_HANDSHAKE)
      return w
        .int16(0)
        .array(['PLAIN'], (mechanism) => w.string(mechanism))
        .finish();
    if (apiKey === SASL_AUTHENTICATE) return w.int16(0).string(null).int32(0).int64(0n).finish();
    return null;
  }

  #apiVersions(): Buffer {
    const w = new ByteWriter();
    const keys = Array.from({ length: 66 }, (_, key) => key);
    return w
      .int16(0)
      .array(keys, (key) =>
        w
          .int16(key)
          .int16(0)
          .int16(this.maxVersionOf.get(key) ?? this.maxVersion),
      )
      .int32(0)
      .finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
