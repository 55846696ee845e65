import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';
import { parseRedisUrl } from '../../../src/config/redis-url.ts';

const single = { kind: 'single', hosts: [{ host: 'h', port: 6379 }], masterName: '', db: 0, isTls: false };

describe('SPOOR_REDIS_URL', () => {
  const GOOD: [url: string, read: object][] = [
    ['redis://h', single],
    ['redis://h:7000/', { ...single, hosts: [{ host: 'h', port: 7000 }] }],
    ['rediss://[::1]:7000/3', { ...single, hosts: [{ host: '::1', port: 7000 }], db: 3, isTls: true }],
    ['redis://u:p%40%20x@h', { ...single, username: 'u', password: 'p@ x' }],
    ['redis://:p:q@h', { ...single, password: 'p:q' }],
    [
      'redis+cluster://a:1,b:2',
      {
        ...single,
        kind: 'cluster',
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
    [
      'rediss+cluster://u:p@a',
      { ...single, kind: 'cluster', hosts: [{ host: 'a', port: 6379 }], isTls: true, username: 'u', password: 'p' },
    ],
    [
      'redis+sentinel://a:1,b/my%20master/2',
      {
        ...single,
        kind: 'sentinel',
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 26379 },
        ],
        masterName: 'my master',
        db: 2,
      },
    ],
  ];
  for (const [url, read] of GOOD)
    it(`is read: ${url}`, () => {
      assert.deepEqual(parseRedisUrl(url), read);
    });

  const BAD = [
    '',
    'h:1',
    'http://h',
    'redis://',
    'redis://a,b',
    'redis://h/x',
    'redis://u@h',
    'redis://u:@h',
    'redis://h:0',
    'redis+sentinel://a',
    'redis+cluster://a/1',
    'redis+cluster://',
    'redis://h/0/1',
    'redis+foo://h',
  ];
  for (const url of BAD)
    it(`is refused: ${url}`, () => {
      assert.equal(parseRedisUrl(url), null);
    });
});

describe('the variables of Redis', () => {
  const REQUIRED = { SPOOR_KUDU_MASTERS: 'm:1', SPOOR_TSERVER: 't:1', SPOOR_WAL_DIR: '/w' };
  const load = (env: Record<string, string>) =>
    loadConfig({ ...REQUIRED, ...env }, `${tmpdir()}/no-such-folder`, { user: 'kudu' });
  const faults = (env: Record<string, string>): string => {
    const loaded = load(env);
    return 'faults' in loaded ? loaded.faults.join('\n') : '';
  };

  it('are enough for a sidecar without Kafka', () => {
    const loaded = load({ SPOOR_REDIS_URL: 'redis://h', SPOOR_REDIS_USERNAME: 'u', SPOOR_REDIS_PASSWORD: 'p' });
    assert.ok('config' in loaded);
    assert.equal(loaded.config.kafka.brokers, null);
    assert.deepEqual([loaded.config.redis.username, loaded.config.redis.password], ['u', 'p']);
  });

  it('say what does not go together', () => {
    const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----';
    assert.match(
      faults({ SPOOR_REDIS_PASSWORD: 'p' }),
      /^SPOOR_REDIS_URL: not given; .*goes with SPOOR_REDIS_PASSWORD/,
    );
    assert.match(
      faults({ SPOOR_REDIS_URL: 'redis://h', SPOOR_REDIS_USERNAME: 'u' }),
      /^SPOOR_REDIS_PASSWORD: not given/,
    );
    assert.match(
      faults({ SPOOR_REDIS_URL: 'redis://a:b@h', SPOOR_REDIS_PASSWORD: 'p' }),
      /^SPOOR_REDIS_PASSWORD: got \*\*\*/,
    );
    assert.match(
      faults({ SPOOR_REDIS_URL: 'redis://h', SPOOR_REDIS_CA: pem }),
      /^SPOOR_REDIS_URL: got \*\*\*; allowed: rediss/,
    );
    assert.equal(faults({ SPOOR_REDIS_URL: 'rediss://h', SPOOR_REDIS_CA: pem }), '');
  });
});
