import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runCli } from '../../src/cli/program.ts';
import { type ControlServer } from '../../src/control/server.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { codeBlocks } from '../support/markdown.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane, tabletView } from '../support/memory-control-plane.ts';
import { commandsIn, type ShellCommand } from '../support/shell-commands.ts';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const PAGES = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(new URL('docs', ROOT), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
/** What has no end by itself, or waits for sidecars that ship. */
const GOES_ON = ['--watch', '--wait'];
/** These do more than ask the API: what they may be given is read from their help. */
const AT_WORK = ['run', 'demo', 'verify', 'wal', 'doctor'];
/** In a sentence a command may be named without all that it takes, and its options by a part of their names. */
type Place = 'block' | 'sentence';

interface Found extends ShellCommand {
  readonly where: string;
  readonly place: Place;
}

const EXAMPLE = {
  name: 'orders',
  tables: ['shop.orders'],
  start: 'now',
  sink: { type: 'kafka', topic: 'cdc.{table}' },
};
const TABLET = tabletView();
/** What a reader puts in himself. */
const MEANT: Readonly<Record<string, string>> = {
  '<stream>': 'orders',
  '<name>': 'orders',
  '<tablet>': TABLET.tabletId,
  '<file>': 'orders.json',
  '<file or folder>': 'streams/',
};

/** Every command on the pages that begins with one of these words. */
function commandsOf(programs: readonly string[]): readonly Found[] {
  return PAGES.flatMap((page) => {
    const text = read(page);
    const inBlocks = codeBlocks(text)
      .filter(({ info }) => info === 'sh')
      .flatMap(({ text: script, line }) =>
        commandsIn(script).map((command): Found => ({ ...command, where: `${page}:${line}`, place: 'block' })),
      );
    const inSentences = [...text.replaceAll(/^```.*?^```$/gms, '').matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) =>
      commandsIn(withMeant(code!)).map((command): Found => ({
        ...command,
        where: `${page}: ${code!}`,
        place: 'sentence',
      })),
    );
    return [...inBlocks, ...inSentences].flatMap((found) => {
      const words = found.words.join(' ').startsWith('node dist/cli/main.js')
        ? ['spoor', ...found.words.slice(2)]
        : found.words;
      return programs.includes(words[0]!) && words.length > 1 ? [{ ...found, words }] : [];
    });
  });
}

function withMeant(code: string): string {
  return Object.entries(MEANT).reduce((done, [name, value]) => done.replaceAll(name, value), code);
}

let plane: MemoryControlPlane;
let server: ControlServer;
let dir: WorkDir;

before(async () => {
  plane = new MemoryControlPlane();
  server = await serveMemory(plane);
  dir = await WorkDir.create('spoor-test-docs');
  await mkdir(join(dir.path, 'streams'));
  for (const name of ['orders.json', 'orders.yaml', 'streams/orders.json'])
    await writeFile(join(dir.path, name), JSON.stringify(EXAMPLE));
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
      body: JSON.stringify(EXAMPLE),
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
        if (place === 'sentence' || AT_WORK.includes(args[0]!) || args.some((arg) => GOES_ON.includes(arg))) continue;
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
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const found = commandsOf(['npm']).filter(({ words }) => words[1] === 'run');
    assert.ok(found.length > 10, `${found.length} commands`);
    for (const { words, where } of found) {
      const name = words.slice(2).find((word) => !word.startsWith('-'));
      assert.ok(name !== undefined && name in scripts, `${where}: ${words.join(' ')}`);
    }
  });
});
