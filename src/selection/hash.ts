import { createHmac } from 'node:crypto';

/** By which values are replaced by their hash. */
export interface HashRule {
  readonly algorithm: 'SHA-256' | 'SHA-512';
  /** What is in the salt's file. */
  readonly salt: Buffer;
}

const NAMES = { 'SHA-256': 'sha256', 'SHA-512': 'sha512' } as const;

/** HMAC of the value's own bytes (of a text its UTF-8) with the salt as key, in hexadecimal. */
export function hexOf({ algorithm, salt }: HashRule, value: Uint8Array): Buffer {
  return Buffer.from(createHmac(NAMES[algorithm], salt).update(value).digest('hex'), 'latin1');
}
