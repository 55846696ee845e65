import { parseArgs } from 'node:util';
import { runSoak } from './soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    tablets: { type: 'string', default: '4' },
    short: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write('npm run test:soak -- [--minutes 10] [--seed N] [--tablets 4] [--short]\n');
  process.exit(0);
}
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const seconds = values.short ? 40 : Number(values.minutes) * 60;
const tablets = Number(values.tablets);
if (!Number.isInteger(seed) || !(seconds > 0)) throw new RangeError('--minutes and --seed want numbers');
if (!Number.isInteger(tablets) || tablets < 2) throw new RangeError('--tablets wants a number from 2 on');

const log = (line: string): void => void process.stdout.write(`${line}\n`);
log(`seed ${seed}, ${tablets} tablets, ${seconds} s`);
const keepLogsIn = `/tmp/spoor-soak-${seed}`;
try {
  await runSoak({ seconds, seed, tablets, standsStillMs: 120_000, keepLogsIn, log });
  log('passed');
} catch (error) {
  if (!(error instanceof Error)) throw error;
  log(error.message);
  log(error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : String(error.cause));
  process.exitCode = 1;
}
