import { type FieldChange } from './change-definition.ts';

/** A table or tablet that the stream has not; `path` is where in the request it stands. */
export class UnknownMemberError extends Error {
  override readonly name = 'UnknownMemberError';
  readonly path: string;

  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

/** A definition that is right by itself, and does not fit the tables that are there. */
export class RefusedDefinitionError extends Error {
  override readonly name = 'RefusedDefinitionError';
  readonly path: string;
  readonly faults: readonly string[];

  constructor(path: string, faults: readonly string[]) {
    super('The stream cannot be as it is defined.');
    this.path = path;
    this.faults = faults;
  }
}

export class StreamExistsError extends Error {
  override readonly name = 'StreamExistsError';
}

/** A definition that differs from the stream's in what cannot change while the stream goes on. */
export class UnchangeableError extends Error {
  override readonly name = 'UnchangeableError';
  readonly changes: readonly FieldChange[];

  constructor(name: string, changes: readonly FieldChange[]) {
    super(`Stream ${JSON.stringify(name)} is there, and cannot become what is asked for while it goes on.`);
    this.changes = changes;
  }
}
