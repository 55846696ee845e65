/** Entity tags as they are written in a header, or `*` for any. */
export type TagList = '*' | readonly string[];

/** What a call asks of the stream as it is before anything of it is changed (RFC 9110, 13.1). */
export interface Precondition {
  /** The stream is there, and its tag is one of these. */
  readonly ifMatch?: TagList;
  /** It is not there, or its tag is none of these. */
  readonly ifNoneMatch?: TagList;
}

/**
 * The entity tag of a stream: another one whenever its definition was changed, or it was paused or resumed, also when it was
 * deleted and made anew. What its tablets do does not show in it.
 * @param revision the number of its definition, which rises over all streams that have the name
 */
export function etagOf(revision: number): string {
  return `"${revision}"`;
}

/** The stream is another one by now than whoever asks has seen. */
export class PreconditionError extends Error {
  override readonly name = 'PreconditionError';
  /** Of the stream as it is; null where there is none. */
  readonly etag: string | null;

  constructor(message: string, etag: string | null) {
    super(message);
    this.etag = etag;
  }
}

/**
 * @param revision of the stream; null where there is none of that name
 * @throws {PreconditionError}
 */
export function checkPrecondition({ ifMatch, ifNoneMatch }: Precondition, name: string, revision: number | null): void {
  const etag = revision === null ? null : etagOf(revision);
  const is = etag === null ? `There is no stream named ${JSON.stringify(name)}` : `The stream is ${etag} by now`;
  const fail = (header: string, tags: TagList): never => {
    throw new PreconditionError(`${is}; ${header} asks for ${tags === '*' ? tags : tags.join(', ')}.`, etag);
  };
  // A weak tag says of no stream that it is just the same: If-Match never holds by one, and If-None-Match fails by it.
  if (ifMatch !== undefined && (etag === null || (ifMatch !== '*' && !ifMatch.includes(etag))))
    fail('If-Match', ifMatch);
  if (ifNoneMatch === undefined || etag === null) return;
  if (ifNoneMatch === '*' || ifNoneMatch.some((tag) => tag.replace(/^W\//, '') === etag))
    fail('If-None-Match', ifNoneMatch);
}
