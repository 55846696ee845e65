import { setImmediate as turn } from 'node:timers/promises';

/** How long a sidecar, whose work is over, waits for whoever reads its log. */
const SIDECAR_LINGER_MS = 500;

/**
 * Standard output and error. That their reader goes away is no failure (`spoor wal dump ... | head`): a command goes on
 * without them and answers with its own exit code. That they cannot be written for another reason is one.
 */
export class Outputs {
  #failure: Error | null = null;
  #isRead = true;

  constructor() {
    for (const stream of [process.stdout, process.stderr])
      stream.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EPIPE') this.#isRead &&= stream !== process.stdout;
        else this.#failure ??= error;
      });
  }

  /** False when the reader of standard output has gone. */
  readonly isRead = (): boolean => this.#isRead;

  readonly out = (text: string): void => {
    if (process.stdout.errored === null) process.stdout.write(text);
  };

  readonly err = (text: string): void => {
    if (process.stderr.errored === null) process.stderr.write(text);
  };

  /** Ends the process when all text has got out: nothing else may hold it, what is worth waiting for was awaited. */
  async end(exitCode: number, { isSidecar }: { readonly isSidecar: boolean }): Promise<never> {
    if (isSidecar) setTimeout(() => process.exit(exitCode), SIDECAR_LINGER_MS);
    await flushed(process.stdout);
    if (this.#failure === null || isSidecar) {
      await flushed(process.stderr);
      return process.exit(exitCode);
    }
    this.err(`the output cannot be written: ${this.#failure.message}\n`);
    await flushed(process.stderr);
    return process.exit(exitCode === 0 ? 1 : exitCode);
  }
}

async function flushed(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.errored === null)
    await new Promise<void>((resolve) => {
      stream.once('error', () => {
        resolve();
      });
      stream.write('', () => {
        resolve();
      });
    });
  await turn(); // in which an error is told that was only noted
}
