import type { RegistryOptions } from '../config/config.ts';
import { RegistryClient } from '../formats/registry/registry-client.ts';
import { SchemaIds } from '../formats/registry/schema-ids.ts';

/** A registry, and what is known of it. */
export interface Registry {
  readonly client: RegistryClient;
  readonly ids: SchemaIds;
}

/** The schema registries that streams name: each is one for all streams that name it alike. */
export class Registries implements Disposable {
  readonly #options: RegistryOptions;
  readonly #known = new Map<string, Registry>();

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  at(registry: string | readonly string[]): Registry {
    const urls = [registry].flat();
    const key = JSON.stringify(urls);
    const known = this.#known.get(key);
    if (known) return known;
    const client = new RegistryClient({ ...this.#options, urls });
    const made = { client, ids: new SchemaIds(client) };
    this.#known.set(key, made);
    return made;
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#known.values()) client[Symbol.dispose]();
  }
}
