/** How Redis is reached. */
export interface RedisServers {
  /** `single`: this one. `sentinel`: whoever these say is the master of that name. `cluster`: whoever these say has a slot. */
  readonly kind: 'single' | 'sentinel' | 'cluster';
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** Of a sentinel's. */
  readonly masterName: string;
  readonly db: number;
  readonly isTls: boolean;
}

/** Who we are to it, and whom we trust, asked for each connection: files may have changed. */
export interface RedisAccess {
  credentials(): RedisCredentials;
}

export interface RedisCredentials {
  /** The default user where it is left out. */
  readonly username?: string;
  readonly password?: string;
  /** PEM; Node's own where it is left out. */
  readonly ca?: string;
}
