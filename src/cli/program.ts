import { Command, CommanderError } from 'commander';
import { SPOOR_VERSION } from '../util/version.ts';
import { addApiCommands } from './api-commands.ts';
import type { CliContext } from './cli-context.ts';
import { CliError } from './cli-error.ts';
import { addDemoCommand } from './demo.ts';
import { runCommand } from './run-command.ts';
import { addVerifyCommand } from './verify-command.ts';

/**
 * Runs one command line.
 * @param args without the names of node and of the program
 * @returns exit code: 0 done, 1 failed, 2 wrong use
 */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  const { out, err, isRead = () => true } = context;
  let exitCode = 0;
  const program = new Command('spoor')
    .description('Change data capture for stock Apache Kudu: every committed row change, in order, to Kafka.')
    .version(SPOOR_VERSION)
    .configureOutput({ writeOut: out, writeErr: err })
    .showHelpAfterError('(--help says what is allowed)')
    .exitOverride();

  program
    .command('run')
    .description('run the sidecar; configured by SPOOR_* variables and .env (docs/operations.md)')
    .action(async () => {
      exitCode = await runCommand(context);
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
  addVerifyCommand(program, context, (code) => {
    exitCode = code;
  });
  addDemoCommand(program);

  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // help and version, or wrong use; commander has printed
    err(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof CliError ? error.exitCode : 1;
  }
}
