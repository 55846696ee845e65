import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';

/** Prints the packages that are loaded with what a sidecar runs. In a process of its own: tests load more. */
const SHOW_LOADED = `
  import { createRequire } from 'node:module';
  const url = ${JSON.stringify(new URL('../../src/app/run-sidecar.ts', import.meta.url).href)};
  await import(url);
  const names = Object.keys(createRequire(url).cache).map((path) => /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(path)?.[1]);
  console.log([...new Set(names)].join(' '));
`;

describe('the start of a sidecar', () => {
  it('loads no package that only some sidecars need', () => {
    const args = ['--import', 'tsx', '--input-type=module', '--eval', SHOW_LOADED];
    const loaded = new Set(execFileSync(process.execPath, args, { encoding: 'utf8' }).trim().split(' '));
    assert.ok(loaded.has('kafkajs'), `what is loaded is not seen here: ${[...loaded].join(' ')}`);
    for (const name of ['ioredis', 'koffi', 'pino-pretty', 'undici', 'yaml'])
      assert.ok(!loaded.has(name), `${name} is loaded, whether it is used or not`);
  });
});
