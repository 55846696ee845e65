import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../src/demo/run-command.ts';
import type { Certificate } from './certificates.ts';

/** A CA of its own, whose certificates are good for a day. */
export class TestAuthority {
  readonly #dir: string;
  readonly #name: string;

  private constructor(dir: string, name: string) {
    [this.#dir, this.#name] = [dir, name];
  }

  static async create(dir: string, name: string): Promise<TestAuthority> {
    await mkdir(dir, { recursive: true });
    const authority = new TestAuthority(dir, name);
    const { cert, key } = authority.#files(name);
    await openssl('req', '-x509', ...NEW_KEY, '-days', '1', '-subj', `/CN=${name}`, '-keyout', key, '-out', cert);
    return authority;
  }

  /** Its own certificate, a file in PEM. */
  get cert(): string {
    return this.#files(this.#name).cert;
  }

  /** For a server at 127.0.0.1, or a client of that name. */
  async issue(name: string): Promise<Certificate> {
    const [{ cert, key }, own] = [this.#files(`${this.#name}-${name}`), this.#files(this.#name)];
    const [request, extensions] = [`${cert}.csr`, `${cert}.ext`];
    await writeFile(extensions, 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
    await openssl('req', '-new', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', key, '-out', request);
    const by = ['-CA', own.cert, '-CAkey', own.key, '-CAcreateserial'];
    await openssl('x509', '-req', '-in', request, ...by, '-days', '1', '-extfile', extensions, '-out', cert);
    return { cert, key };
  }

  #files(name: string): Certificate {
    return { cert: join(this.#dir, `${name}.pem`), key: join(this.#dir, `${name}.key`) };
  }
}

const NEW_KEY = ['-newkey', 'rsa:2048', '-nodes'];

/** Several files in PEM, one behind the other. */
export async function joinPem(into: string, files: readonly string[]): Promise<void> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  await writeFile(into, texts.join(''));
}

async function openssl(...args: readonly string[]): Promise<void> {
  const { exitCode, output } = await runCommand('openssl', args);
  if (exitCode !== 0) throw new Error(`openssl ${args[0] ?? ''} failed:\n${output}`);
}
