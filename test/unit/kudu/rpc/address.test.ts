import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatHostPort, parseHostPort } from '../../../../src/kudu/rpc/address.ts';

describe('addresses', () => {
  for (const [text, host, port] of [
    ['kudu-1.example:7051', 'kudu-1.example', 7051],
    [' 127.0.0.1:1 ', '127.0.0.1', 1],
    ['[::1]:7050', '::1', 7050],
    ['host', 'host', 7051],
    ['[fe80::1]', 'fe80::1', 7051],
  ] as const)
    it(`reads ${text}`, () => {
      assert.deepEqual(parseHostPort(text, 7051), { host, port });
    });

  for (const text of ['', ':7051', 'host:', 'host:0', 'host:65536', 'host:7051x', '::1', 'a b:1', 'http://host:1'])
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseHostPort(text, 7051), /host:port/);
    });

  it('wants a port where none is usual', () => {
    assert.throws(() => parseHostPort('host'), /host:port/);
  });

  it('puts an IPv6 host in brackets', () => {
    assert.deepEqual(
      [formatHostPort({ host: '::1', port: 5 }), formatHostPort({ host: 'h', port: 5 })],
      ['[::1]:5', 'h:5'],
    );
  });
});
