import { readFile } from 'node:fs/promises';
import { KuduError } from '../errors.ts';
import { SecurityFault } from '../status.ts';
import type { TextSource } from './options.ts';
import { errorCodeOf } from '../../util/error-code.ts';

/**
 * What the source holds now, without white space around it.
 * @param what for the error: `the JWT`
 * @throws {KuduError} `security` CREDENTIAL_FILE with the path and why it cannot be read
 */
export async function readText(what: string, source: TextSource): Promise<string> {
  if ('value' in source) return source.value.trim();
  const fail = (why: string, cause?: unknown): KuduError =>
    new KuduError('security', `${what} cannot be had from ${JSON.stringify(source.file)}: ${why}`, {
      code: SecurityFault.CREDENTIAL_FILE,
      notRun: true,
      cause,
    });
  let text;
  try {
    text = (await readFile(source.file, 'utf8')).trim();
  } catch (cause) {
    throw fail(errorCodeOf(cause) || String(cause), cause);
  }
  if (text === '') throw fail('it is empty');
  return text;
}
