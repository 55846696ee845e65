/** What a command line has around it; tests bring their own. */
export interface CliContext {
  /** Writes to standard output. */
  readonly out: (text: string) => void;
  /** False when nobody reads standard output any more: what only prints may end. Left out: always read. */
  readonly isRead?: () => boolean;
  /** Writes to standard error. */
  readonly err: (text: string) => void;
  /** How wide the terminal is that standard output goes to; null, or left out, where it goes elsewhere. */
  readonly screen?: () => Screen | null;
  /** The same of standard error. */
  readonly errScreen?: () => Screen | null;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder in which `.env` is looked for. */
  readonly cwd: string;
  /** Reads all of standard input. */
  readonly readStdin: () => string;
}

/** A terminal. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
}
