import { Command, CommanderError } from 'commander';
import { SPOOR_VERSION } from '../util/version.ts';
import { addApiCommands, openClient } from './api-commands.ts';
import type { CliContext } from './cli-context.ts';
import { CliError } from './cli-error.ts';
import { addCompletionCommand } from './completion-command.ts';
import { addDemoCommand } from './demo.ts';
import { addDoctorCommand } from './doctor-command.ts';
import { addExamples } from './examples.ts';
import { runCommand } from './run-command.ts';
import { columnsOf } from './text-style.ts';
import { addVerifyCommand } from './verify-command.ts';

/**
 * Runs one command line.
 * @param args without the names of node and of the program
 * @returns exit code: 0 done, 1 failed, 2 wrong use
 */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  let exitCode = 0;
  const program = buildProgram(context, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // help and version, or wrong use; commander has printed
    context.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof CliError ? error.exitCode : 1;
  }
}

/** All commands. @param done is told the exit code of those that have one of their own */
export function buildProgram(context: CliContext, done: (exitCode: number) => void): Command {
  const { out, err, isRead = () => true } = context;
  const program = new Command('spoor')
    .description(
      'Change data capture for stock Apache Kudu: every committed row change, in order, to Kafka, Redis or files.',
    )
    .version(SPOOR_VERSION)
    .configureOutput({
      writeOut: out,
      writeErr: err,
      getOutHelpWidth: () => columnsOf(context),
      getErrHelpWidth: () => columnsOf(context),
    })
    .showHelpAfterError('(--help says what is allowed)')
    .exitOverride();

  program
    .command('run')
    .description('run the sidecar; configured by SPOOR_* variables and .env (docs/operations.md)')
    .action(async () => {
      done(await runCommand(context));
    });
  addApiCommands(program, context);
  const wal = program.command('wal').description('look into a write-ahead log');
  wal
    .command('dump')
    .description("print a WAL's entries, one JSON line each")
    .argument('<path>', 'segment file, or folder of a tablet')
    .action(async (path: string) => {
      const { dumpWal } = await import('./wal-dump.ts');
      const print = (line: string): void => {
        out(`${line}\n`);
      };
      await dumpWal(path, print, isRead);
    });
  addDoctorCommand(program, context, done);
  addVerifyCommand(program, context, done);
  addCompletionCommand(program, () => openClient({}, context), context);
  addDemoCommand(program);
  addExamples(program);
  return program;
}
