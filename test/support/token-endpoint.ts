import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TokenRequest {
  readonly authorization: string;
  readonly form: URLSearchParams;
}

/** A token endpoint on loopback that answers as a test says. */
export class TokenEndpoint implements AsyncDisposable {
  readonly #server: Server;
  readonly requests: TokenRequest[] = [];
  answer: (response: ServerResponse, request: TokenRequest) => void = (response) => {
    grant(response, { access_token: `token-${this.requests.length}`, token_type: 'Bearer', expires_in: 3600 });
  };

  private constructor() {
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  static async start(): Promise<TokenEndpoint> {
    const endpoint = new TokenEndpoint();
    endpoint.#server.listen(0, '127.0.0.1');
    await once(endpoint.#server, 'listening');
    return endpoint;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString();
    const asked = { authorization: request.headers.authorization ?? '', form: new URLSearchParams(body) };
    this.requests.push(asked);
    this.answer(response, asked);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

export function grant(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json;charset=UTF-8' }).end(JSON.stringify(body));
}
