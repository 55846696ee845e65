import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatHostPort, isLoopbackHost, isWildcardHost, parseHostPort } from '../../../src/util/host-port.ts';

describe('parseHostPort', () => {
  const GOOD: [text: string, host: string, port: number][] = [
    ['localhost:7051', 'localhost', 7051],
    ['kudu-master_0.kudu.svc:0', 'kudu-master_0.kudu.svc', 0],
    ['192.0.2.1:65535', '192.0.2.1', 65535],
    ['[::1]:8100', '::1', 8100],
    ['[fe80::1%eth0]:1', 'fe80::1%eth0', 1],
  ];
  for (const [text, host, port] of GOOD)
    it(`reads ${text}, and writes it again`, () => {
      assert.deepEqual(parseHostPort(text), { host, port });
      assert.equal(formatHostPort({ host, port }), text);
    });

  const BAD = [
    '',
    'a',
    ':1',
    'a:',
    'a:b',
    'a:-1',
    'a:65536',
    'a:1:2',
    '::1:1',
    '[::1]',
    '[a]:1',
    'a b:1',
    'http://a:1',
    '-a:1',
    'a/b:1',
    'a:1 ',
    '999.1.1.1:1',
    '1.2.3.4.5:1',
    '127.1:1',
    'ünï.example:1',
    'a:1;b:2',
  ];
  for (const text of BAD)
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(parseHostPort(text), null);
    });
});

it('isLoopbackHost knows what no other machine can reach', () => {
  const spellings = ['LOCALHOST', 'localhost.', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '0000::0001'];
  for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '::1', ...spellings])
    assert.equal(isLoopbackHost(host), true, host);
  for (const host of [
    '0.0.0.0',
    '::',
    '192.0.2.1',
    '127.evil.example',
    'localhost.example',
    '::ffff:192.0.2.1',
    '1::1',
  ])
    assert.equal(isLoopbackHost(host), false, host);
});

it('isWildcardHost knows every interface', () => {
  for (const host of ['0.0.0.0', '::', '0:0:0:0:0:0:0:0', '0000::', '::ffff:0.0.0.0'])
    assert.equal(isWildcardHost(host), true, host);
  for (const host of ['127.0.0.1', '::1', 'a']) assert.equal(isWildcardHost(host), false, host);
});
