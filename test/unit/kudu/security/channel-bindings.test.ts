import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { KuduError } from '../../../../src/kudu/errors.ts';
import { serverEndPoint } from '../../../../src/kudu/security/channel-bindings.ts';

/** DER of an element. */
function der(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const length =
    body.length < 0x80
      ? Buffer.from([body.length])
      : Buffer.from([0x82, body.length >> 8, body.length & 0xff]); // prettier-ignore
  return Buffer.concat([Buffer.from([tag]), length, body]);
}
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));

/** What a certificate is to this: something signed, by an algorithm. */
function certificate(algorithm: string, parameters = der(0x05)): Buffer {
  return der(0x30, der(0x30, Buffer.alloc(300, 7)), der(0x30, oid(algorithm), parameters), der(0x03, Buffer.alloc(64)));
}
const pss = (hash: string): Buffer => der(0x30, der(0xa0, der(0x30, oid(hash), der(0x05))));

/** Source of the identifiers: RFC 3279, 4055, 5758; of the rule: RFC 5929 4.1. */
describe('channel bindings', () => {
  const CASES: [string, Buffer, string][] = [
    ['md5WithRSA', certificate('2a864886f70d010104'), 'sha256'],
    ['sha1WithRSA', certificate('2a864886f70d010105'), 'sha256'],
    ['sha224WithRSA', certificate('2a864886f70d01010e'), 'sha224'],
    ['sha256WithRSA', certificate('2a864886f70d01010b'), 'sha256'],
    ['sha384WithRSA', certificate('2a864886f70d01010c'), 'sha384'],
    ['sha512WithRSA', certificate('2a864886f70d01010d'), 'sha512'],
    ['ecdsa-with-SHA1', certificate('2a8648ce3d0401'), 'sha256'],
    ['ecdsa-with-SHA256', certificate('2a8648ce3d040302'), 'sha256'],
    ['ecdsa-with-SHA384', certificate('2a8648ce3d040303'), 'sha384'],
    ['RSASSA-PSS, SHA-384', certificate('2a864886f70d01010a', pss('608648016503040202')), 'sha384'],
    ['RSASSA-PSS, SHA-1', certificate('2a864886f70d01010a', pss('2b0e03021a')), 'sha256'],
    ['RSASSA-PSS by default', certificate('2a864886f70d01010a', der(0x30)), 'sha256'],
  ];
  for (const [name, bytes, hash] of CASES)
    it(`of ${name} are by ${hash}`, () => {
      assert.deepEqual(serverEndPoint(bytes), createHash(hash).update(bytes).digest());
    });

  it('are refused for a signature that has none, and for what is no certificate', () => {
    const isProtocol = (error: unknown): boolean => KuduError.is(error, 'protocol');
    assert.throws(() => serverEndPoint(certificate('2b6570')), isProtocol, 'Ed25519');
    const whole = certificate('2a864886f70d01010b');
    for (let end = 0; end < whole.length; end++)
      assert.throws(() => serverEndPoint(whole.subarray(0, end)), isProtocol);
  });
});
