import type { Command } from 'commander';
import { loadServersConfig } from '../config/client-config.ts';
import { addApiOptions, openClient, type ApiOptions } from './api-commands.ts';
import type { CliContext } from './cli-context.ts';
import { CliError } from './cli-error.ts';
import type { VerifyRequest } from './run-verify.ts';
import { StopSignals } from './stop-signals.ts';

const DEFAULT_MAX_ROWS = 100;
const DEFAULT_TIMEOUT_S = 300;
/** For closing connections and files after a signal. */
const STOP_LIMIT_MS = 5_000;

interface VerifyFlags extends ApiOptions {
  readonly table?: readonly string[];
  readonly at?: string;
  readonly maxRows?: string;
  readonly timeout?: string;
  readonly repair?: boolean;
  readonly allowRepeats?: boolean;
}

/** `spoor verify <stream>`. */
export function addVerifyCommand(program: Command, context: CliContext, done: (exitCode: 0 | 1) => void): void {
  addApiOptions(
    program
      .command('verify')
      .description("compare a stream's records with its tables, row by row, at one time")
      .argument('<stream>', 'name of the stream'),
  )
    .option('--table <name...>', 'only these tables')
    .option('--at <hybrid time>', 'the time to compare at, as source.hybrid_time shows it (default: now)')
    .option('--max-rows <n>', 'how many wrong rows are printed; 0 is all', String(DEFAULT_MAX_ROWS))
    .option('--timeout <seconds>', 'how long each wait for the stream may take', String(DEFAULT_TIMEOUT_S))
    .option('--repair', 'have the wrong rows shipped again as they are, and compare once more')
    .option('--allow-repeats', 'records that came more than once are no fault (as in at-least-once streams)')
    .action(async (name: string, flags: VerifyFlags) => {
      const request: VerifyRequest = {
        name,
        tableNames: flags.table ?? null,
        at: flags.at === undefined ? null : hybridTimeOf(flags.at),
        maxRows: wholeNumber('--max-rows', flags.maxRows, 0),
        timeoutMs: wholeNumber('--timeout', flags.timeout, 1) * 1000,
        repairs: flags.repair ?? false,
        allowsRepeats: flags.allowRepeats ?? null,
        json: flags.json ?? false,
      };
      const servers = loadServersConfig(context.env, context.cwd);
      if ('faults' in servers) throw new CliError(2, servers.faults.join('\n'));
      const client = openClient(flags, context);
      const { runVerify } = await import('./run-verify.ts'); // Kudu and the sinks, which other commands do without
      done(await withSignal((signal) => runVerify(request, { client, servers, context, signal })));
    });
}

async function withSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const end = (): void => process.exit(1);
  using stop = new StopSignals({ limitMs: STOP_LIMIT_MS, onLimit: end, onSecond: end });
  return await work(stop.signal);
}

function wholeNumber(option: string, given: string | undefined, min: number): number {
  const text = given ?? '';
  const number = Number(text);
  if (/^\d{1,9}$/.test(text) && number >= min) return number;
  throw new CliError(2, `${option}: got ${JSON.stringify(text)}; allowed: a whole number from ${min} to 999999999`);
}

function hybridTimeOf(text: string): bigint {
  if (/^\d{1,19}$/.test(text)) return BigInt(text);
  throw new CliError(2, `--at: got ${JSON.stringify(text)}; allowed: a hybrid time such as 7353716506897408000`);
}
