#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { runCli } from './program.ts';

// A reader that has seen enough (`spoor wal dump ... | head`) closes the pipe: no failure, but the end.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });

const exitCode = await runCli(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  cwd: process.cwd(),
  readStdin: () => readFileSync(0, 'utf8'),
});
// Nothing may hold the process: what is worth waiting for was awaited. Text on its way to a pipe still gets out.
process.exitCode = exitCode;
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
