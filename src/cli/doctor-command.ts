import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { parse as parseDotenv } from 'dotenv';
import { asError } from '../util/as-error.ts';
import type { CliContext } from './cli-context.ts';
import { CliError } from './cli-error.ts';

interface DoctorFlags {
  readonly envFile?: string;
  readonly json?: boolean;
}

/** `spoor doctor`. */
export function addDoctorCommand(program: Command, context: CliContext, done: (exitCode: 0 | 1) => void): void {
  program
    .command('doctor')
    .description('look for what keeps a sidecar of this environment from working, and say what to do about it')
    .option('--env-file <file>', 'variables to look at as well, as the unit of systemd reads them')
    .option('--json', 'print the findings as JSON')
    .action(async ({ envFile, json = false }: DoctorFlags) => {
      const env = envFile === undefined ? context.env : { ...context.env, ...readEnvFile(envFile, context.cwd) };
      const { runDoctor } = await import('./run-doctor.ts'); // Kudu and the sinks, which other commands do without
      done(await runDoctor({ ...context, env }, json));
    });
}

function readEnvFile(path: string, cwd: string): Record<string, string> {
  try {
    return parseDotenv(readFileSync(resolve(cwd, path)));
  } catch (error) {
    throw new CliError(2, `--env-file: ${asError(error).message}`, error);
  }
}
