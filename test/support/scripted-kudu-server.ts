import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import {
  ErrorStatusPBSchema,
  NegotiatePBSchema,
  RequestHeaderSchema,
  ResponseHeaderSchema,
  type RequestHeader,
} from '../../src/kudu/proto/rpc_pb.ts';
import { NegotiateStep } from '../../src/kudu/rpc/negotiation-link.ts';

export interface ScriptedCall {
  readonly header: RequestHeader;
  readonly body: Buffer;
  answer<D extends DescMessage>(schema: D, message: MessageInitShape<D>): void;
  /** An error of the RPC layer. */
  refuse(code: number, message: string): void;
  /** Ends the connection without an answer. */
  hangUp(): void;
}

/** A server in this process that speaks just enough of Kudu's RPC; what it does with a call is the test's. */
export class ScriptedKuduServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** User names of the connections that were negotiated, in order. */
  readonly users: string[] = [];
  onCall: (call: ScriptedCall) => void = (call) => {
    call.hangUp();
  };
  /** What the server offers at negotiation. */
  mechanism = 'PLAIN';

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#serve(socket);
    });
  }

  static async start(): Promise<ScriptedKuduServer> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ScriptedKuduServer(server);
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  closeConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closeConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    let bytes = Buffer.alloc(0);
    let greeted = false;
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!greeted && bytes.length >= 7) {
        bytes = bytes.subarray(7);
        greeted = true;
      }
      while (greeted && bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
        const frame = bytes.subarray(4, 4 + bytes.readUInt32BE(0));
        bytes = bytes.subarray(4 + frame.length);
        this.#onFrame(socket, frame);
      }
    });
  }

  #onFrame(socket: Socket, frame: Buffer): void {
    const head = delimited(frame, 0);
    const header = fromBinary(RequestHeaderSchema, head.bytes);
    const body = Buffer.from(delimited(frame, head.end).bytes);
    const send = (isError: boolean, message: Uint8Array): void => {
      socket.write(responseFrame(header.callId, isError, message));
    };
    if (header.callId === -33) this.#negotiate(body, send);
    else if (header.callId >= 0)
      this.onCall({
        header,
        body,
        answer: (schema, message) => {
          send(false, toBinary(schema, create(schema, message)));
        },
        refuse: (code, message) => {
          send(true, toBinary(ErrorStatusPBSchema, create(ErrorStatusPBSchema, { code, message })));
        },
        hangUp: () => {
          socket.destroy();
        },
      });
  }

  #negotiate(body: Buffer, send: (isError: boolean, message: Uint8Array) => void): void {
    const request = fromBinary(NegotiatePBSchema, body);
    const reply = (step: number, mechanisms: string[] = []): void => {
      const saslMechanisms = mechanisms.map((mechanism) => ({ mechanism }));
      send(false, toBinary(NegotiatePBSchema, create(NegotiatePBSchema, { step, saslMechanisms })));
    };
    if (request.step === NegotiateStep.NEGOTIATE) {
      reply(NegotiateStep.NEGOTIATE, [this.mechanism]);
      return;
    }
    this.users.push(Buffer.from(request.token).toString().split('\0')[1]!);
    reply(NegotiateStep.SASL_SUCCESS);
  }
}

function delimited(frame: Buffer, at: number): { bytes: Buffer; end: number } {
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = frame[at++]!;
    length |= (byte & 127) << shift;
    if (byte < 128) return { bytes: frame.subarray(at, at + length), end: at + length };
  }
}

function responseFrame(callId: number, isError: boolean, message: Uint8Array): Buffer {
  const header = toBinary(ResponseHeaderSchema, create(ResponseHeaderSchema, { callId, isError }));
  const frame = Buffer.concat([varint(header.length), header, varint(message.length), message]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  return Buffer.concat([length, frame]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}
