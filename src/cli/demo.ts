import { InvalidArgumentError, Option, type Command } from 'commander';
import { defaultCacheDir } from '../demo/artifacts.ts';
import { FAULTS, type FaultKind } from '../demo/fault-script.ts';
import { Screen } from '../demo/screen.ts';
import { CliError } from './cli-error.ts';
import { StopSignals } from './stop-signals.ts';

const DEFAULT_RATE = 1_000;
/** Draining, the sidecars' own 10 s, Kafka and Kudu. */
const STOP_LIMIT_MS = 60_000;

interface DemoFlags {
  readonly exitAfter?: number;
  readonly rate: number;
  readonly secure: boolean;
  readonly redis: boolean;
  readonly file: boolean;
  readonly fault?: FaultKind;
  readonly cache: string;
}

/** `spoor demo`. Fails unless every row that was written had arrived at the end. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description(
      'a whole cluster on this machine: Kudu, Kafka (or Redis, or files), a sidecar each, a table under load; Ctrl-C ends it',
    )
    .option('--exit-after <seconds>', 'end by itself after so long under load', positive)
    .option('--rate <rows>', 'row operations a second', positive, DEFAULT_RATE)
    .option('--secure', 'TLS and Kerberos everywhere in Kudu, with a KDC of its own', false)
    .option('--redis', "ship to the machine's own redis-server in the place of Kafka", false)
    .option('--file', 'ship into files in the place of Kafka', false)
    .addOption(
      new Option('--fault <part>', 'kill this part a while into the load, and see it recover').choices([...FAULTS]),
    )
    .option('--cache <folder>', 'where Kudu and Kafka are kept between runs', defaultCacheDir())
    .action(async ({ exitAfter, rate, secure, redis, file, fault, cache }: DemoFlags) => {
      if (redis && file)
        throw new CliError(2, '--redis and --file: got both; allowed: one of them, or neither for Kafka');
      if (file && fault === 'broker')
        throw new CliError(2, '--fault: got "broker" with --file, where there is none; allowed: sidecar or leader');
      const endAtOnce = (): void => {
        process.exit(1); // what was started ends with us
      };
      using stop = new StopSignals({ limitMs: STOP_LIMIT_MS, onLimit: endAtOnce, onSecond: endAtOnce });
      const exitAfterMs = exitAfter === undefined ? null : exitAfter * 1000;
      const { runDemo } = await loadDemo();
      const screen = new Screen(process.stdout);
      const outcome = await runDemo({
        screen,
        cacheDir: cache,
        rate,
        isSecure: secure,
        ships: file ? 'to-files' : redis ? 'to-redis' : 'to-kafka',
        fault: fault ?? null,
        exitAfterMs,
        signal: stop.signal,
      });
      if (outcome === 'unstarted') throw new CliError(1, 'ended before the load began');
      if (outcome === 'not-all-shipped') throw new CliError(1, 'not every row that was written has arrived');
    });
}

/** Kudu and Kafka clients are loaded by this command alone. (Apart: tsc leaves an import in a scope with `using` as it is.) */
function loadDemo(): Promise<typeof import('../demo/demo.ts')> {
  return import('../demo/demo.ts');
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}
