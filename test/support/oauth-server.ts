import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Provider } from 'oidc-provider';
import { freePort } from '../../src/demo/ports.ts';
import type { Certificate } from './test-authority.ts';

export const AUDIENCE = 'spoor-kafka';
const SCOPE = 'kafka.write';

export interface OAuthServerOptions {
  readonly certificate: Certificate;
  /** Its keys, for whoever looks at its tokens, go into a file there. */
  readonly dir: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly tokenLifeS: number;
}

interface OAuthServerState {
  clientSecret: string;
  readonly tokens: string[];
  refused: number;
}

/** A real authorization server (oidc-provider) on loopback, by TLS, that gives JWTs by client credentials. */
export class OAuthServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #state: OAuthServerState;
  readonly tokenUrl: string;
  readonly jwksFile: string;
  readonly scope = SCOPE;

  private constructor(server: Server, tokenUrl: string, jwksFile: string, state: OAuthServerState) {
    this.#server = server;
    this.tokenUrl = tokenUrl;
    this.jwksFile = jwksFile;
    this.#state = state;
  }

  static async start(options: OAuthServerOptions): Promise<OAuthServer> {
    const { certificate, dir, clientId, tokenLifeS } = options;
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const about = { kid: 'test', alg: 'RS256', use: 'sig' };
    const jwksFile = join(dir, 'jwks.json');
    await writeFile(jwksFile, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), ...about }] }));
    const state: OAuthServerState = { clientSecret: options.clientSecret, tokens: [], refused: 0 };
    const issuer = `https://127.0.0.1:${await freePort()}`;
    const provider = new Provider(issuer, {
      jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), ...about }] },
      scopes: [SCOPE],
      adapter: clientsIn(() => ({
        client_id: clientId,
        client_secret: state.clientSecret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      })),
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => `urn:${AUDIENCE}`,
          getResourceServerInfo: () => ({
            scope: SCOPE,
            audience: AUDIENCE,
            accessTokenFormat: 'jwt',
            accessTokenTTL: tokenLifeS,
            jwt: { sign: { alg: 'RS256' } },
          }),
        },
      },
      ttl: { ClientCredentials: tokenLifeS },
    });
    provider.on('grant.success', ({ body }) => state.tokens.push(body.access_token));
    provider.on('grant.error', () => state.refused++);
    const tls = { cert: await readFile(certificate.cert), key: await readFile(certificate.key) };
    const server = createServer(tls, provider.callback());
    server.listen(Number(new URL(issuer).port), '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return new OAuthServer(server, `https://127.0.0.1:${port}/token`, jwksFile, state);
  }

  /** Those that it gave. */
  get tokens(): readonly string[] {
    return this.#state.tokens;
  }

  /** Requests that it refused. */
  get refused(): number {
    return this.#state.refused;
  }

  /** From now on the client has this secret and no other. */
  changeSecret(clientSecret: string): void {
    this.#state.clientSecret = clientSecret;
  }

  /** Nobody is there any more, until {@link back}. */
  async away(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async back(): Promise<void> {
    this.#server.listen(Number(new URL(this.tokenUrl).port), '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.away();
  }
}

/** Clients are asked for each time; nothing else is kept, since tokens say themselves what they are. */
function clientsIn(client: () => object): (name: string) => object {
  return (name) => ({
    find: () => Promise.resolve(name === 'Client' ? client() : undefined),
    upsert: () => Promise.resolve(),
    consume: () => Promise.resolve(),
    destroy: () => Promise.resolve(),
    revokeByGrantId: () => Promise.resolve(),
    findByUid: () => Promise.resolve(undefined),
    findByUserCode: () => Promise.resolve(undefined),
  });
}
