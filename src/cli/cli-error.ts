import type { BodyFault } from '../util/zod-faults.ts';

/** What a command found wrong: printed as it is, and the exit code that goes with it. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  /** 1: the command failed. 2: it was used wrongly. */
  readonly exitCode: 1 | 2;

  constructor(exitCode: 1 | 2, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitCode = exitCode;
  }
}

/** A sidecar that cannot be reached, or cannot answer now. */
export class UnavailableError extends CliError {}

/** A request that the sidecar finds wrong, and what about it. */
export class RefusedError extends CliError {
  /** By their places in the body; none where the sidecar names no place. */
  readonly faults: readonly BodyFault[];

  constructor(message: string, faults: readonly BodyFault[]) {
    super(1, message);
    this.faults = faults;
  }
}
