import { createHash } from 'node:crypto';
import { KuduError } from '../errors.ts';

/** Content of the DER of signature algorithms, and the hash that RFC 5929 takes for each (MD5 and SHA-1: SHA-256). */
const HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a864886f70d01010e': 'sha224',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};
const RSASSA_PSS = '2a864886f70d01010a';
/** Hash algorithms, as the parameters of RSASSA-PSS name them. */
const PSS_HASHES: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha256', // SHA-1
  '608648016503040204': 'sha224',
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
};

const SEQUENCE = 0x30;
const OBJECT_ID = 0x06;
const CONTEXT_0 = 0xa0;

/**
 * `tls-server-end-point` of RFC 5929: the hash of the server's certificate, which binds a log-in to the TLS connection
 * that it goes over.
 * @param certificate DER
 * @throws {KuduError} `protocol` for bytes that are no certificate, or one that is signed in a way which has no such hash
 */
export function serverEndPoint(certificate: Uint8Array): Buffer {
  return createHash(hashOf(Buffer.from(certificate)))
    .update(certificate)
    .digest();
}

/** Certificate = SEQUENCE { tbsCertificate, SEQUENCE { signature algorithm, parameters }, signature }. */
function hashOf(der: Buffer): string {
  const [outer] = elements(der);
  const [, algorithm] = elements(expect(outer, SEQUENCE));
  const [oid, parameters] = elements(expect(algorithm, SEQUENCE));
  const name = expect(oid, OBJECT_ID).toString('hex');
  const hash = name === RSASSA_PSS ? pssHash(parameters) : HASHES[name];
  if (hash === undefined)
    throw new KuduError('protocol', `a server certificate that is signed by ${name}: no channel bindings`);
  return hash;
}

/** RSASSA-PSS-params = SEQUENCE { [0] AlgorithmIdentifier DEFAULT sha1, … }. */
function pssHash(parameters: Element | undefined): string | undefined {
  const [first] = parameters?.tag === SEQUENCE ? elements(parameters.content) : [];
  if (first?.tag !== CONTEXT_0) return 'sha256';
  const [algorithm] = elements(first.content);
  const [oid] = elements(expect(algorithm, SEQUENCE));
  return PSS_HASHES[expect(oid, OBJECT_ID).toString('hex')];
}

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/** The DER elements that lie one behind the other in `bytes`. */
function elements(bytes: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at];
    const first = bytes[at + 1];
    if (tag === undefined || first === undefined) throw malformed();
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    const start = at + 2 + lengthBytes;
    if (lengthBytes > 4 || start > bytes.length) throw malformed();
    const length = lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes);
    if (start + length > bytes.length) throw malformed();
    found.push({ tag, content: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

function expect(element: Element | undefined, tag: number): Buffer {
  if (element?.tag !== tag) throw malformed();
  return element.content;
}

function malformed(): KuduError {
  return new KuduError('protocol', 'bytes that are no certificate');
}
