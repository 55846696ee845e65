import { join } from 'node:path';
import { runCommand } from '../../src/demo/run-command.ts';

/** Files in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate of its own authority for 127.0.0.1, good for a day. @param name of its files, and its own */
export async function selfSigned(dir: string, name: string): Promise<Certificate> {
  const [cert, key] = [join(dir, `${name}.pem`), join(dir, `${name}.key`)];
  const { exitCode, output } = await runCommand('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', `/CN=${name}`],
    ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
  ]);
  if (exitCode !== 0) throw new Error(`openssl failed:\n${output}`);
  return { cert, key };
}
