import { randomBytes, webcrypto } from 'node:crypto';
import 'reflect-metadata'; // before x509, which asks for it
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

type CryptoKey = webcrypto.CryptoKey;
const crypto = webcrypto;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR_MS = 3_600_000;

/** PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Issued {
  /** A certificate for a server and client of this name, and for this machine's addresses. @param hours how long from now; negative: it has expired */
  issue(name: string, hours?: number): Promise<Issued>;
}

/** A CA of its own. */
export async function makeAuthority(name = 'test CA'): Promise<Authority> {
  const keys = await generateKeys();
  const root = await X509CertificateGenerator.createSelfSigned(
    {
      ...lifeOf(24),
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      ],
    },
    crypto,
  );
  const issue = async (subject: string, hours = 1): Promise<Issued> => {
    const own = await generateKeys();
    const made = await X509CertificateGenerator.create(
      {
        ...lifeOf(hours),
        subject: `CN=${subject}, O=Spoor tests`,
        issuer: root.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: ALGORITHM,
        extensions: [
          await AuthorityKeyIdentifierExtension.create(root, false, crypto),
          new SubjectAlternativeNameExtension([
            { type: 'dns', value: subject.replaceAll(/[^\w.-]/g, '-') },
            { type: 'dns', value: 'localhost' },
            { type: 'ip', value: '127.0.0.1' },
          ]),
        ],
      },
      crypto,
    );
    return { cert: `${made.toString('pem')}\n`, key: await pemOf(own.privateKey) };
  };
  return { cert: `${root.toString('pem')}\n`, key: await pemOf(keys.privateKey), issue };
}

function lifeOf(hours: number): { serialNumber: string; notBefore: Date; notAfter: Date } {
  const now = Date.now();
  const [from, to] = hours > 0 ? [-1, hours] : [hours - 1, hours];
  const serialNumber = `01${randomBytes(8).toString('hex')}`;
  return { serialNumber, notBefore: new Date(now + from * HOUR_MS), notAfter: new Date(now + to * HOUR_MS) };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function pemOf(key: CryptoKey): Promise<string> {
  const base64 = Buffer.from(await crypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${base64.replaceAll(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}
