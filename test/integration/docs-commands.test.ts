import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runCli } from '../../src/cli/program.ts';
import { type ControlServer } from '../../src/control/server.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { commandsOf, EXAMPLE_STREAM, isAtWork, readPage } from '../support/documented-commands.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane } from '../support/memory-control-plane.ts';

let plane: MemoryControlPlane;
let server: ControlServer;
let dir: WorkDir;

before(async () => {
  plane = new MemoryControlPlane();
  server = await serveMemory(plane);
  dir = await WorkDir.create('spoor-test-docs');
  await mkdir(join(dir.path, 'streams'));
  for (const name of ['orders.json', 'orders.yaml', 'streams/orders.json'])
    await writeFile(join(dir.path, name), JSON.stringify(EXAMPLE_STREAM));
});
after(async () => {
  await server.close();
});

/** @returns exit code, and all that was printed */
async function spoor(args: readonly string[], stdin = ''): Promise<readonly [number, string]> {
  const said: string[] = [];
  const exitCode = await runCli(args, {
    out: (text) => said.push(text),
    err: (text) => said.push(text),
    env: { SPOOR_HTTP_LISTEN: `127.0.0.1:${server.address.port}` },
    cwd: dir.path,
    readStdin: () => stdin,
  });
  return [exitCode, said.join('')];
}

/** The stream is there, so that it can be shown, changed and deleted; but not where the command makes it. */
async function prepare(makesIt: boolean): Promise<void> {
  await plane.deleteStream('orders');
  if (!makesIt)
    await fetch(`http://127.0.0.1:${server.address.port}/v1/streams`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(EXAMPLE_STREAM),
    });
}

describe('a command on a page', () => {
  it('of spoor is one that it knows, with options that it has', async () => {
    const found = commandsOf(['spoor']);
    assert.ok(found.length > 60, `${found.length} commands`);
    const cwd = process.cwd();
    process.chdir(dir.path); // names of files are taken from here
    try {
      for (const { words, stdin, where, place } of found) {
        const args = words.slice(1);
        if (args[0] === '--version' || args[0] === '--help' || args[0] === '<command>') continue;
        const path = args.slice(0, args[0] === 'streams' || args[0] === 'wal' ? 2 : 1);
        const [helpCode, help] = await spoor([...path, '--help']);
        assert.equal(helpCode, 0, where);
        assert.ok(help.includes(`Usage: spoor ${path.join(' ')} `), `${where}: no such command`);
        for (const option of args.filter((arg) => arg.startsWith('--')))
          assert.match(help, new RegExp(`${option.replace(/=.*/, '')}(?![\\w-])`), `${where}: ${option}`);
        if (place === 'sentence' || isAtWork(args)) continue; // what is at work: docs-at-work.test.ts
        await prepare(['create', 'apply', 'validate'].includes(args[1]!));
        const [exitCode, said] = await spoor(args, stdin);
        // A dry run tells what is missing by its exit code: that is its answer.
        assert.ok(
          exitCode === 0 || (exitCode === 1 && args.includes('--dry-run')),
          `${where}: ${words.join(' ')}\n${said}`,
        );
      }
    } finally {
      process.chdir(cwd);
    }
  });

  it('of curl asks for what a sidecar answers', async () => {
    const found = commandsOf(['curl']).filter(({ words }) => words.some((word) => /:8100\//.test(word)));
    assert.ok(found.length >= 8, `${found.length} commands`);
    for (const { words, where } of found) {
      const after = (...flags: readonly string[]) => words[words.findIndex((word) => flags.includes(word)) + 1];
      const has = (flag: string): boolean => words.includes(flag);
      const url = new URL(words.find((word) => /^https?:/.test(word))!);
      const body = has('-d') ? after('-d') : undefined;
      const method = has('-X') ? after('-X')! : body === undefined ? 'GET' : 'POST';
      await prepare(method === 'POST' && url.pathname === '/v1/streams');
      const response = await fetch(`http://127.0.0.1:${server.address.port}${url.pathname}${url.search}`, {
        method,
        ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
      });
      const why = response.ok ? '' : await response.text();
      await response.body?.cancel(); // one of them has no end
      assert.ok(response.ok, `${where}: ${method} ${url.pathname}: ${response.status} ${why}`);
    }
  });

  it('of npm run is one of package.json', () => {
    const { scripts } = JSON.parse(readPage('package.json')) as { scripts: Record<string, string> };
    const found = commandsOf(['npm']).filter(({ words }) => words[1] === 'run');
    assert.ok(found.length > 10, `${found.length} commands`);
    for (const { words, where } of found) {
      const name = words.slice(2).find((word) => !word.startsWith('-'));
      assert.ok(name !== undefined && name in scripts, `${where}: ${words.join(' ')}`);
    }
  });
});
