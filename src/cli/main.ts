#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Outputs } from './outputs.ts';
import { runCli } from './program.ts';
import { screenOf } from './text-style.ts';

// Node would open its debugger, through which whoever may connect to this machine's port 9229 becomes this process.
process.on('SIGUSR1', () => undefined);

const outputs = new Outputs();
const args = process.argv.slice(2);
const exitCode = await runCli(args, {
  out: outputs.out,
  err: outputs.err,
  isRead: outputs.isRead,
  screen: () => screenOf(process.stdout),
  errScreen: () => screenOf(process.stderr),
  env: process.env,
  cwd: process.cwd(),
  readStdin: () => readFileSync(0, 'utf8'),
});
await outputs.end(exitCode, { isSidecar: args[0] === 'run' });
