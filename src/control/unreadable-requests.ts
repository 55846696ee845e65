import { maxHeaderSize, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { clientKey } from './client-address.ts';
import type { ClientLimits } from './client-limits.ts';
import { ProblemError, PROBLEM_TYPE, toProblem } from './problem.ts';

interface ClientError extends Error {
  readonly code?: string;
  /** What was read when it was given up. */
  readonly rawPacket?: unknown;
}

/** How long a client may take to read why it is cut off. */
const LAST_WORD_MS = 1000;
/** The first byte of a TLS connection, which no method begins with. */
const TLS_HANDSHAKE = 0x16;

/** Before it knows that there is a request, Node asks here what to do. */
export class UnreadableRequests {
  readonly #limits: ClientLimits;

  constructor(limits: ClientLimits) {
    this.#limits = limits;
  }

  /** Answers what Node cannot read as a request, and ends the connection: nothing is known of what follows on it. */
  readonly answer = (error: ClientError, socket: Socket): void => {
    const isTold = this.#limits.refuse(clientKey(socket.remoteAddress)) === null;
    // Of a handshake that failed nobody would understand an answer.
    if (!isTold || !socket.writable || error.code === 'ECONNRESET' || isOfTls(error)) {
      socket.destroy();
      return;
    }
    const { problem } = toProblem(problemOf(error));
    const body = JSON.stringify(problem);
    socket.end(
      `HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
    setTimeout(() => socket.destroy(), LAST_WORD_MS).unref();
  };

  /** `Expect` knows one expectation, 100-continue, and Node meets that. */
  readonly refuseExpectation = (request: IncomingMessage, response: ServerResponse): void => {
    const expected = JSON.stringify(request.headers.expect);
    const tooMany = this.#limits.refuse(clientKey(request.socket.remoteAddress));
    const { problem } = toProblem(
      tooMany ?? new ProblemError(417, `Expect: ${expected} cannot be met; 100-continue can.`),
    );
    const body = JSON.stringify(problem);
    const headers = { 'content-type': PROBLEM_TYPE, 'content-length': Buffer.byteLength(body), connection: 'close' };
    response.writeHead(problem.status, headers).end(body);
  };
}

function isOfTls({ code }: ClientError): boolean {
  return /^ERR_(?:SSL|TLS)_/.test(code ?? '');
}

function problemOf({ code, rawPacket }: ClientError): ProblemError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ProblemError(431, `URL and headers are longer than ${maxHeaderSize} bytes together.`);
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ProblemError(413, 'The extensions of the chunks are too long.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ProblemError(408, 'The request did not come to its end in time.');
    case undefined:
    default: {
      const isTls = Buffer.isBuffer(rawPacket) && rawPacket[0] === TLS_HANDSHAKE;
      const hint = isTls ? ' It looks like TLS: use http://, not https://.' : '';
      return new ProblemError(400, `The request is not HTTP.${hint}`);
    }
  }
}
