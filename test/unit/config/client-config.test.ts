import assert from 'node:assert/strict';
import { hostname, tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { loadClientConfig, loadServersConfig } from '../../../src/config/client-config.ts';
import { makeAuthority } from '../../support/certificates.ts';

const load = (env: Record<string, string>) => loadClientConfig(env, `${tmpdir()}/no-such-folder`);

const BY_DEFAULT = { auth: 'auto', encryption: 'optional', saslProtocolName: 'kudu' };
const PLAIN = { ca: null, identity: null };
const { cert, key, ca } = await makeAuthority().then(async (authority) => ({
  ...(await authority.issue('node-1')),
  ca: authority.cert,
}));

describe('loadClientConfig', () => {
  it('calls where a sidecar listens by default', () => {
    assert.deepEqual(load({}), { url: 'http://127.0.0.1:8100', token: null, tls: PLAIN });
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
      assert.deepEqual(load({ SPOOR_HTTP_LISTEN: listen, SPOOR_HTTP_TOKEN: 't' }), { url, token: 't', tls: PLAIN });
    });

  it('calls by TLS where the sidecar serves so, by the name that its certificate has for others', () => {
    const tls = { SPOOR_HTTP_TLS_CERT: cert, SPOOR_HTTP_TLS_KEY: key };
    const of = (more: Record<string, string>): unknown => load({ ...tls, ...more });
    const trusting = { url: 'https://127.0.0.1:8100', token: null, tls: { ca, identity: { cert, key } } };
    assert.deepEqual(of({ SPOOR_HTTP_TLS_CLIENT_CA: ca }), trusting);
    const url = { SPOOR_HTTP_LISTEN: '0.0.0.0:9' };
    const named = { url: `https://${hostname()}:9`, token: null, tls: { ca: null, identity: { cert, key } } };
    assert.deepEqual(of(url), named);
    assert.deepEqual(of({ ...url, SPOOR_HTTP_ADVERTISE: 'node-1:8100' }), { ...named, url: 'https://node-1:8100' });
    assert.deepEqual(load({ SPOOR_HTTP_TLS_KEY: key }), {
      faults: [
        'SPOOR_HTTP_TLS_CERT: not given; allowed: a certificate in PEM, with those between it and its CA behind it (goes with SPOOR_HTTP_TLS_KEY)',
      ],
    });
  });

  it('takes the token for reading where it has no other', () => {
    assert.deepEqual(load({ SPOOR_HTTP_TOKEN_READ: 'r' }), { url: 'http://127.0.0.1:8100', token: 'r', tls: PLAIN });
    assert.deepEqual(load({ SPOOR_HTTP_TOKEN_READ: 'r', SPOOR_HTTP_TOKEN: 'o' }), {
      url: 'http://127.0.0.1:8100',
      token: 'o',
      tls: PLAIN,
    });
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

describe('loadServersConfig', () => {
  const servers = (env: Record<string, string>) => loadServersConfig(env, `${tmpdir()}/no-such-folder`);
  const given = { SPOOR_KUDU_MASTERS: 'a:1,b:2', SPOOR_KAFKA_BROKERS: 'k:9092' };

  it('says where Kudu and Kafka are, whatever else a sidecar needs', () => {
    assert.deepEqual(servers({ ...given, SPOOR_MODE: 'learner' }), {
      kudu: { masters: ['a:1', 'b:2'], ...BY_DEFAULT },
      kafka: { brokers: ['k:9092'], tls: null, sasl: null, files: {} },
      redis: { servers: null, files: {} },
      systemTablePrefix: 'spoor.',
      registry: { files: {} },
      secrets: [],
    });
  });

  it('takes user, TLS and SASL, and knows what is secret of it', () => {
    const sasl = {
      SPOOR_KAFKA_SASL_MECHANISM: 'PLAIN',
      SPOOR_KAFKA_SASL_USERNAME: 'u',
      SPOOR_KAFKA_SASL_PASSWORD: 'p',
    };
    assert.deepEqual(servers({ ...given, ...sasl, SPOOR_KUDU_USER: 'kudu', SPOOR_KAFKA_SSL: 'true' }), {
      kudu: { masters: ['a:1', 'b:2'], user: 'kudu', ...BY_DEFAULT },
      kafka: {
        brokers: ['k:9092'],
        tls: {},
        sasl: { mechanism: 'plain', username: 'u', password: 'p' },
        files: {},
      },
      redis: { servers: null, files: {} },
      systemTablePrefix: 'spoor.',
      registry: { files: {} },
      secrets: ['p'],
    });
  });

  it('names every one that is missing or wrong, a line each', () => {
    assert.deepEqual(servers({ SPOOR_KAFKA_SASL_PASSWORD: 'p', SPOOR_KUDU_MASTERS: 'x', SPOOR_FOO: '1' }), {
      faults: [
        'SPOOR_FOO: got ***; no such variable; allowed: those in .env.example',
        'SPOOR_KUDU_MASTERS: got "x"; allowed: host:port,host:port,...',
        'SPOOR_KAFKA_SASL_MECHANISM: not given; allowed: plain, scram-sha-256, scram-sha-512, oauthbearer or gssapi (goes with SPOOR_KAFKA_SASL_PASSWORD)',
        'SPOOR_KAFKA_SASL_USERNAME: not given; allowed: a user name (goes with SPOOR_KAFKA_SASL_PASSWORD)',
      ],
    });
  });
});
