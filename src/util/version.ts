import { readFileSync } from 'node:fs';

/** Spoor's version as package.json says it: in `spoor --version`, in each record's source and in the list of sidecars. */
export const SPOOR_VERSION: string = readVersion();

function readVersion(): string {
  // src/util/ and dist/util/ are equally deep, so that one path serves both.
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  if (
    typeof manifest === 'object' &&
    manifest !== null &&
    'version' in manifest &&
    typeof manifest.version === 'string'
  )
    return manifest.version;
  throw new Error('package.json has no version');
}
