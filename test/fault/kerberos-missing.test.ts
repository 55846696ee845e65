import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

const LIBRARY = new URL('../../src/kudu/gssapi/library.ts', import.meta.url).href;
/** As where an optional package was left out. */
const WITHOUT_KOFFI = `export function resolve(name, context, next) {
  if (name === 'koffi') throw Object.assign(new Error('not there'), { code: 'ERR_MODULE_NOT_FOUND' });
  return next(name, context);
}`;
/** As where the system's own is: nothing that is asked for is found. */
const WITHOUT_LIBRARY = `export async function load(url, context, next) {
  if (!url.includes('/koffi/')) return next(url, context);
  return { format: 'module', shortCircuit: true, source: 'export default { load() { throw new Error("cannot open") } }' };
}`;

/** What loading says in a process of its own whose modules are as `hooks` have them. */
async function loadWith(hooks: string): Promise<string> {
  const dataUrl = (source: string): string => `data:text/javascript,${encodeURIComponent(source)}`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))});`;
  const program = `import { loadGssLibrary } from ${JSON.stringify(LIBRARY)};
    await loadGssLibrary().then(() => console.log('loaded'), (error) => console.log(error.kind, error.message));`;
  const args = ['--import', 'tsx', '--import', dataUrl(register), '--input-type=module', '-e', program];
  return (await promisify(execFile)(process.execPath, args)).stdout;
}

describe('where Kerberos cannot be spoken', () => {
  it('without the package: says which to install', async () => {
    assert.match(await loadWith(WITHOUT_KOFFI), /^security Kerberos cannot be used: .*npm install koffi/);
  });

  it("without the system's library: says which to install", async () => {
    assert.match(
      await loadWith(WITHOUT_LIBRARY),
      /^security Kerberos cannot be used: .*apt-get install libgssapi-krb5-2/,
    );
  });
});
