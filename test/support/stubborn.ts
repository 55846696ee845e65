/** A program that is asked to stop and does not: what StopSignals does about it. Prints `ready`, then what happens. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StopSignals } from '../../src/cli/stop-signals.ts';

const say = (what: string, exitCode: number) => (signalName: string) => {
  process.stdout.write(`${what} after ${signalName}\n`);
  process.exit(exitCode);
};
const limitMs = Number(process.argv[2]);
using stop = new StopSignals({ limitMs, onLimit: say('limit', 11), onSecond: say('second', 12) });
stop.signal.addEventListener('abort', () => process.stdout.write('asked\n'));
process.stdout.write('ready\n');
await sleep(60_000);
