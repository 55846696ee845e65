/** The part of pino that the lower rooms may use: fields first, then a constant lower-case sentence. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  /** Spoor recovers by itself. */
  warn(fields: object, message: string): void;
  /** A person is needed. */
  error(fields: object, message: string): void;
  child(bindings: object): Logger;
}
