import { REDIS_FILES, redisCaFault, redisSecretsOf, type RedisOptions } from '../config/redis-options.ts';
import { rereadFiles } from '../config/reread-files.ts';
import { pathsOf } from '../config/environment.ts';
import type { RedisAccess, RedisCredentials } from '../sinks/redis/settings.ts';
import type { Logger } from '../util/logger.ts';
import type { SecretMask } from '../util/secret-mask.ts';

/**
 * Who we are to Redis at the moment, and whom we trust. What was read from files follows them from the start until it is disposed
 * of: connections that are opened have what is in force then. What cannot be used is logged, and the old ones stay.
 */
export class RedisAccessInForce implements RedisAccess, AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;
  #credentials: RedisCredentials;

  constructor(
    { username, password, ca, files }: RedisOptions,
    { mask, logger }: { /** Learns each secret that comes. */ readonly mask: SecretMask; readonly logger: Logger },
  ) {
    this.#credentials = {
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(ca !== undefined && { ca }),
    };
    const fault = ca === undefined ? null : redisCaFault(ca);
    if (fault !== null) logger.error({ reason: fault }, 'no redis can be reached with these certificates');
    this.#following = rereadFiles(
      {
        files: pathsOf(files, REDIS_FILES),
        logger,
        take: (values) => {
          const { SPOOR_REDIS_PASSWORD: newPassword, SPOOR_REDIS_CA: newCa } = values;
          const newFault = newCa === undefined ? null : redisCaFault(newCa);
          if (newFault !== null) throw new Error(newFault);
          if (newPassword !== undefined) mask.add(...redisSecretsOf({ password: newPassword }));
          this.#credentials = {
            ...this.#credentials,
            ...(newPassword !== undefined && { password: newPassword }),
            ...(newCa !== undefined && { ca: newCa }),
          };
        },
      },
      this.#stop.signal,
    );
  }

  credentials(): RedisCredentials {
    return this.#credentials;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }
}
