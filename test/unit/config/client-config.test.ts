import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { loadClientConfig } from '../../../src/config/client-config.ts';

const load = (env: Record<string, string>) => loadClientConfig(env, `${tmpdir()}/no-such-folder`);

describe('loadClientConfig', () => {
  it('calls where a sidecar listens by default', () => {
    assert.deepEqual(load({}), { url: 'http://127.0.0.1:8100', token: null });
  });

  const LISTEN: [listen: string, url: string][] = [
    ['127.0.0.1:9', 'http://127.0.0.1:9'],
    ['0.0.0.0:9', 'http://127.0.0.1:9'], // every interface is not an address to call
    ['[::]:9', 'http://127.0.0.1:9'],
    ['[::1]:9', 'http://[::1]:9'],
    ['node-1:9', 'http://node-1:9'],
  ];
  for (const [listen, url] of LISTEN)
    it(`calls ${url} for SPOOR_HTTP_LISTEN=${listen}`, () => {
      assert.deepEqual(load({ SPOOR_HTTP_LISTEN: listen, SPOOR_HTTP_TOKEN: 't' }), { url, token: 't' });
    });

  it("does not ask for the sidecar's other variables, nor mind them", () => {
    assert.ok('url' in load({ SPOOR_MODE: 'learner' }));
  });

  it('refuses what it reads and unknown names', () => {
    assert.deepEqual(load({ SPOOR_HTTP_LISTEN: 'x', SPOOR_HTTP_TOKEN: 'a b', SPOOR_FOO: '1' }), {
      faults: [
        'SPOOR_FOO: got ***; no such variable; allowed: those in .env.example',
        'SPOOR_HTTP_LISTEN: got "x"; allowed: host:port, IPv6 as [::1]:8100; port 0 takes a free one',
        'SPOOR_HTTP_TOKEN: got ***; allowed: visible ASCII characters without spaces',
      ],
    });
  });
});
