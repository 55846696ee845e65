/** Who may call the HTTP API, and by what callers and sidecar show each other who they are. */
export interface HttpCredentials {
  /** Null: nobody is asked for one. */
  readonly tokens: HttpTokens | null;
  /** Null: plain HTTP. */
  readonly tls: HttpTls | null;
}

export interface HttpTokens {
  /** For every call. */
  readonly operate: string;
  /** For those that change nothing; null where there is none but the other. */
  readonly read: string | null;
}

/** All PEM. */
export interface HttpTls {
  readonly cert: string;
  readonly key: string;
  /** Whose clients may call; null where that is not asked. */
  readonly clientCa: string | null;
}

/** The credentials as they are at the moment: they change while a sidecar runs, but TLS neither comes nor goes. */
export interface CurrentCredentials {
  readonly current: HttpCredentials;
  /** @returns what ends it */
  onChange(listener: (credentials: HttpCredentials) => void): () => void;
}
