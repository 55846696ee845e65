/**
 * The two parts of kafkajs 2.2.4 below its Producer that Spoor drives itself: a pool of sockets to one broker, and
 * the broker that speaks TLS, SASL and API versions over it. kafkajs publishes no types for them; its version is pinned.
 */
declare module 'kafkajs/src/cluster/connectionPoolBuilder.js' {
  import type { ISocketFactory, KafkaConfig, Logger } from 'kafkajs';

  /** One request as kafkajs frames it: it writes the header, `encode` answers the rest. */
  export interface WireExchange<T> {
    readonly request: {
      readonly apiKey: number;
      readonly apiVersion: number;
      readonly apiName: string;
      /** kafkajs copies `buffer`; `buf` is what it looks at to tell an encoder from anything else. */
      encode(): Promise<{ readonly buf: Buffer; readonly buffer: Buffer }>;
    };
    readonly response: {
      /** kafkajs would hold later requests back for this many milliseconds. */
      decode(payload: Buffer): Promise<{ readonly clientSideThrottleTime: 0; readonly value: T }>;
      parse(decoded: { readonly value: T }): Promise<T>;
    };
    readonly logResponseError: boolean;
  }
  export interface ConnectionPool {
    readonly pool: readonly { readonly requestQueue: { scheduleCheckPendingRequests(): void } }[];
    send<T>(exchange: WireExchange<T>): Promise<T>;
  }
  interface ConnectionPoolBuilder {
    build(destination: { readonly host: string; readonly port: number }): Promise<ConnectionPool>;
  }
  export default function connectionPoolBuilder(
    options: Pick<
      KafkaConfig,
      'brokers' | 'ssl' | 'sasl' | 'clientId' | 'connectionTimeout' | 'requestTimeout' | 'enforceRequestTimeout'
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
