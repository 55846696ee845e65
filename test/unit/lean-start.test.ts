import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';

describe('the start of a sidecar', () => {
  it('loads no package that only some sidecars need', async () => {
    await import('../../src/app/run-sidecar.ts');
    const loaded = new Set(
      Object.keys(createRequire(import.meta.url).cache).flatMap(
        (path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [],
      ),
    );
    assert.ok(loaded.has('kafkajs'), 'what is loaded is not seen here');
    for (const name of ['ioredis', 'koffi', 'pino-pretty', 'undici', 'yaml'])
      assert.ok(!loaded.has(name), `${name} is loaded, whether it is used or not`);
  });
});
