/**
 * The two parts of kafkajs 2.2.4 below its Producer that Spoor drives itself: a pool of sockets to one broker, and
 * the broker that speaks TLS, SASL and API versions over it. kafkajs publishes no types for them; its version is pinned.
 */
declare module 'kafkajs/src/cluster/connectionPoolBuilder.js' {
  import type { Socket } from 'node:net';
  import type { ISocketFactory, KafkaConfig, Logger } from 'kafkajs';

  export interface RequestEntry {
    readonly apiKey: number;
    readonly apiName: string;
    readonly apiVersion: number;
    readonly correlationId: number;
    /** `payload`: the answer behind its correlation id. */
    readonly resolve: (answer: { readonly payload: Buffer }) => void;
    readonly reject: (error: Error) => void;
  }
  /** One socket. */
  export interface Connection {
    readonly clientId: string;
    readonly socket: Socket;
    readonly requestQueue: {
      scheduleCheckPendingRequests(): void;
      /** Calls `sendRequest` at once unless a quota holds it back, and one of the entry's two in the end. */
      push(request: {
        readonly entry: RequestEntry;
        readonly expectResponse: boolean;
        readonly requestTimeout: number | null;
        readonly sendRequest: () => void;
      }): void;
    };
    isAuthenticated(): boolean;
    /** As the broker has said at the last log-in, in milliseconds; 0: it lasts. */
    readonly sessionLifetime: { toString(): string };
    authenticate(): Promise<void>;
    /** @throws when it has been closed */
    failIfNotConnected(): void;
    nextCorrelationId(): number;
  }
  export interface ConnectionPool {
    readonly pool: readonly Connection[];
    /** Connected, and anew where it was closed; Fetch has a socket of its own. */
    getConnectionByRequest(of: { readonly request: { readonly apiKey: number } }): Promise<Connection>;
  }
  interface ConnectionPoolBuilder {
    build(destination: { readonly host: string; readonly port: number }): Promise<ConnectionPool>;
  }
  export default function connectionPoolBuilder(
    options: Pick<
      KafkaConfig,
      'brokers' | 'sasl' | 'clientId' | 'connectionTimeout' | 'requestTimeout' | 'enforceRequestTimeout'
    > & {
      readonly logger: Logger;
      readonly socketFactory: ISocketFactory;
    },
  ): ConnectionPoolBuilder;
}

declare module 'kafkajs/src/network/socketFactory.js' {
  import type { ISocketFactory } from 'kafkajs';
  export default function createSocketFactory(): ISocketFactory;
}

declare module 'kafkajs/src/broker/index.js' {
  import type { ApiVersions, Logger } from 'kafkajs';
  import type { ConnectionPool } from 'kafkajs/src/cluster/connectionPoolBuilder.js';

  export default class Broker {
    constructor(options: {
      readonly connectionPool: ConnectionPool;
      readonly logger: Logger;
      readonly authenticationTimeout: number;
      readonly allowAutoTopicCreation: boolean;
    });
    readonly connectionPool: ConnectionPool;
    /** Set by {@link connect}. */
    readonly versions: ApiVersions | null;
    isConnected(): boolean;
    connect(): Promise<void>;
    disconnect(): Promise<void>;
  }
}

declare module 'kafkajs/src/broker/saslAuthenticator/plain.js' {
  import type { Mechanism } from 'kafkajs';
  export default function plain(login: {
    readonly username: string;
    readonly password: string;
  }): Mechanism['authenticationProvider'];
}

declare module 'kafkajs/src/broker/saslAuthenticator/scram256.js' {
  export { default } from 'kafkajs/src/broker/saslAuthenticator/plain.js';
}

declare module 'kafkajs/src/broker/saslAuthenticator/scram512.js' {
  export { default } from 'kafkajs/src/broker/saslAuthenticator/plain.js';
}
