import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../support/talkative.ts', import.meta.url));

/** Starts a program that logs 3 MB and then waits for SIGTERM; what it says besides comes by its standard error. */
function start(stdout: 'pipe' | number): { child: ChildProcess; said: () => string } {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM], { stdio: ['ignore', stdout, 'pipe'] });
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => void (said += chunk.toString()));
  return { child, said: () => said };
}

async function hasSaid({ child, said }: ReturnType<typeof start>, what: string): Promise<void> {
  while (!said().includes(what)) await once(child.stderr!, 'data');
}

async function endOf({ child }: ReturnType<typeof start>): Promise<unknown> {
  const end = once(child, 'close');
  child.kill('SIGTERM');
  const [code] = (await end) as [unknown];
  return code;
}

describe('a log that finds no place', () => {
  it('lets the program go on, and end, where the disk is full', async () => {
    const full = openSync('/dev/full', 'w');
    const program = start(full);
    closeSync(full);
    await hasSaid(program, 'logged');
    assert.equal(await endOf(program), 0);
  });

  it('lets it go on, and end, where its reader has gone', async () => {
    const program = start('pipe');
    program.child.stdout!.destroy();
    await hasSaid(program, 'logged');
    assert.equal(await endOf(program), 0);
  });

  it('lets it go on where its reader hangs, and says how much was lost when that reads again', async () => {
    const program = start('pipe');
    await hasSaid(program, 'logged');
    let text = '';
    program.child.stdout!.on('data', (chunk: Buffer) => void (text += chunk.toString()));
    while (!text.includes('were lost')) await once(program.child.stdout!, 'data');
    const lines = text.split('\n').slice(0, -1);
    const lost = lines.map((line) => JSON.parse(line) as { lost?: number }).find((line) => line.lost !== undefined);
    assert.ok(lost!.lost! > 500, String(lost!.lost));
    assert.equal(await endOf(program), 0);
  });
});

describe('signals that mean nothing', () => {
  it('are told, open no debugger and end nothing', async () => {
    const program = start('pipe');
    program.child.stdout!.resume();
    await hasSaid(program, 'logged');
    for (const name of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
      program.child.kill(name);
      await hasSaid(program, `stray ${name}`);
    }
    assert.equal(await endOf(program), 0);
    assert.doesNotMatch(program.said(), /Debugger/);
  });
});
