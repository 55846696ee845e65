/** Why nothing could be verified: `usage`, what was asked for cannot be; `failed`, it did not come to an end. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError';
  readonly kind: 'usage' | 'failed';

  constructor(kind: 'usage' | 'failed', message: string) {
    super(message);
    this.kind = kind;
  }
}

/** What the sidecars say of the stream cannot be had at the moment. */
export class StreamUnavailableError extends Error {
  override readonly name = 'StreamUnavailableError';
}
