import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export interface CommandResult {
  readonly exitCode: number;
  /** Both streams, in the order of arrival. */
  readonly output: string;
  readonly stdout: string;
}

/** Runs a command to its end. Never rejects for a non-zero exit; does when the program cannot be started. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: {
    env?: NodeJS.ProcessEnv;
    cwd?: string;
    onLine?: (line: string) => void;
    signal?: AbortSignal;
  } = {},
): Promise<CommandResult> {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const output: string[] = [];
  const stdout: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      output.push(line);
      options.onLine?.(line);
    });
  }
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode: exitCode ?? 1, output: output.join('\n'), stdout: Buffer.concat(stdout).toString('utf8') };
}
