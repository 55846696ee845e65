import type { RegistryOptions } from '../config/config.ts';
import { currentAuth, type RegistryAuth } from '../formats/registry/registry-auth.ts';
import { RegistryClient } from '../formats/registry/registry-client.ts';
import { SchemaIds } from '../formats/registry/schema-ids.ts';
import type { Logger } from '../util/logger.ts';

/** A registry, and what is known of it. */
export interface Registry {
  readonly client: RegistryClient;
  readonly ids: SchemaIds;
}

/** The schema registries that streams name: each is one for all streams that name it alike. */
export class Registries implements Disposable {
  readonly #auth: () => RegistryAuth;
  readonly #logger: Logger;
  readonly #known = new Map<string, Registry>();

  constructor({ files, ...auth }: RegistryOptions, logger: Logger) {
    this.#auth = currentAuth(auth, files);
    this.#logger = logger;
  }

  at(registry: string | readonly string[]): Registry {
    const urls = [registry].flat();
    const key = JSON.stringify(urls);
    const known = this.#known.get(key);
    if (known) return known;
    const client = new RegistryClient({ urls, auth: this.#auth });
    const ids = new SchemaIds({
      client,
      onChanged: (change) => {
        this.#logger.warn(
          { registry: urls, ...change },
          'the schema registry has lost a schema and gave it another number: nobody can read what was written under the old one since',
        );
      },
      onTrouble: (subject, { message: reason }) => {
        this.#logger.warn({ subject, reason }, 'the schema registry does not confirm a number that it has given');
      },
    });
    const made = { client, ids };
    this.#known.set(key, made);
    return made;
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#known.values()) client[Symbol.dispose]();
  }
}
