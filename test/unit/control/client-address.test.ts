import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clientKey } from '../../../src/control/client-address.ts';

describe('clientKey', () => {
  const KEYS: readonly (readonly [address: string | undefined, key: string])[] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2:ffff::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    [undefined, ''],
  ];
  for (const [address, key] of KEYS)
    it(`is ${key} for ${address}`, () => {
      assert.equal(clientKey(address), key);
    });
});
