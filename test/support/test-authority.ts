import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeAuthority, type Authority } from './certificates.ts';

/** Files in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A CA of its own whose certificates are files. */
export class TestAuthority {
  readonly #dir: string;
  readonly #name: string;
  readonly #authority: Authority;
  /** Its own certificate, a file in PEM. */
  readonly cert: string;

  private constructor(dir: string, name: string, authority: Authority) {
    [this.#dir, this.#name, this.#authority] = [dir, name, authority];
    this.cert = join(dir, `${name}.pem`);
  }

  static async create(dir: string, name: string): Promise<TestAuthority> {
    await mkdir(dir, { recursive: true });
    const authority = new TestAuthority(dir, name, await makeAuthority(name));
    await writeFile(authority.cert, authority.#authority.cert);
    return authority;
  }

  /** For a server at 127.0.0.1, or a client of that name; good for a day. */
  async issue(name: string): Promise<Certificate> {
    const { cert, key } = await this.#authority.issue(name, 24);
    const at = join(this.#dir, `${this.#name}-${name}`);
    const files = { cert: `${at}.pem`, key: `${at}.key` };
    await writeFile(files.cert, cert);
    await writeFile(files.key, key, { mode: 0o600 });
    return files;
  }
}

/** Several files in PEM, one behind the other. */
export async function joinPem(into: string, files: readonly string[]): Promise<void> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  await writeFile(into, texts.join(''));
}
