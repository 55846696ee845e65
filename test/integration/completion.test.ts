import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runCli } from '../../src/cli/program.ts';
import { type ControlServer } from '../../src/control/server.ts';
import { SPOOR_VERSION } from '../../src/util/version.ts';
import { withToken } from '../support/credentials.ts';
import { toolsMissing } from '../support/cluster.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane } from '../support/memory-control-plane.ts';

const SOURCE = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const BUILT = process.env['TEST_SPOOR_PROGRAM'];
const TOKEN = 'a-token-of-the-test';

const skip = await toolsMissing({ shells: true });

const dir = mkdtempSync(join(tmpdir(), 'spoor-completion-'));
after(() => {
  rmSync(dir, { recursive: true });
});

describe('completion in a real shell', () => {
  const plane = new MemoryControlPlane();
  let server: ControlServer;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    server = await serveMemory(plane, {
      credentials: withToken(TOKEN),
      version: SPOOR_VERSION,
    });
    const api = { SPOOR_HTTP_LISTEN: `127.0.0.1:${server.address.port}`, SPOOR_HTTP_TOKEN: TOKEN };
    const program = BUILT ?? SOURCE;
    const loader = BUILT === undefined ? ` --import '${import.meta.resolve('tsx')}'` : '';
    const bin = join(dir, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'spoor'), `#!/bin/sh\nexec '${process.execPath}'${loader} '${program}' "$@"\n`);
    chmodSync(join(bin, 'spoor'), 0o755);
    mkdirSync(join(dir, 'work'));
    writeFileSync(join(dir, 'work', 'orders.json'), '{}');
    env = { ...process.env, ...api, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`, HOME: dir };
    for (const shell of ['bash', 'zsh', 'fish']) writeFileSync(join(dir, shell), await scriptFor(shell));
    for (const name of ['orders', 'returns'])
      assert.equal((await spoor('streams', 'create', '--name', name, '--table', 'x', '--topic', 't')).code, 0);
  });
  after(() => server.close());

  async function spoor(...args: string[]): Promise<{ code: number; out: string }> {
    let out = '';
    const code = await runCli(args, {
      ...{ out: (text) => (out += text), err: () => undefined, cwd: dir, readStdin: () => '' },
      env: { SPOOR_HTTP_LISTEN: `127.0.0.1:${server.address.port}`, SPOOR_HTTP_TOKEN: TOKEN },
    });
    return { code, out };
  }

  async function scriptFor(shell: string): Promise<string> {
    const { code, out } = await spoor('completion', shell);
    assert.equal(code, 0);
    return out;
  }

  async function run(command: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<string> {
    const child = spawn(command, args, {
      cwd: join(dir, 'work'),
      env: { ...env, ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    await once(child, 'close');
    assert.equal(err, '', 'nothing disturbs who types');
    return out;
  }

  it('bash', { skip }, async () => {
    const complete = async (words: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<string[]> => {
      const script = `. ../bash; COMP_WORDS=(spoor "$@"); COMP_CWORD=$#; _spoor; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return (await run('bash', ['--norc', '-c', script, 'bash', ...words], more)).split('\n').filter(Boolean).sort();
    };
    assert.deepEqual(await complete(['streams', 'res']), ['resume', 'resync']);
    assert.deepEqual(await complete(['status', '--w']), ['--watch', '--wide']);
    assert.deepEqual(await complete(['streams', 'show', '']), ['orders', 'returns']);
    assert.deepEqual(await complete(['verify', '--max-rows', '5', 'o']), ['orders']);
    assert.deepEqual(await complete(['streams', 'apply', '-f', 'ord']), ['orders.json']);
    assert.deepEqual(await complete(['completion', 'b']), ['bash']);
    assert.deepEqual(await complete(['streams', 'create', '--sink', '']), ['file', 'kafka', 'redis']);
    assert.deepEqual(await complete(['streams', 'create', '--sh']), ['--shards']);
    assert.deepEqual(await complete(['streams', 'show', ''], { SPOOR_HTTP_LISTEN: '127.0.0.1:1' }), []);
  });

  it('fish', { skip }, async () => {
    const complete = async (line: string): Promise<string[]> => {
      const out = await run('fish', ['--no-config', '-c', `source ../fish; complete -C ${JSON.stringify(line)}`]);
      return out.split('\n').flatMap((each) => each.split('\t')[0] || []);
    };
    assert.deepEqual(await complete('spoor streams res'), ['resume', 'resync']);
    assert.deepEqual(await complete('spoor status --w'), ['--watch', '--wide']);
    assert.deepEqual(await complete('spoor streams show '), ['orders', 'returns']);
    assert.deepEqual(await complete('spoor streams apply -f ord'), ['orders.json']);
  });

  it('zsh', { skip }, async () => {
    /** What is on the line once the tabulator was pressed in a shell at a terminal of its own. */
    const press = async (line: string): Promise<string> => {
      const script = `zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='ready> '; autoload -Uz compinit; compinit -u -D; source ../zsh; bindkey '^I' complete-word; echo set-$((40+2))"
text=
for i in {1..200}; do zpty -r -t shell part && text+=$part; [[ $text == *set-42* ]] && break; sleep 0.05; done
zpty -w -n shell "$1"$'\\t'
text=
for i in {1..200}; do zpty -r -t shell part && text+=$part; [[ $text == *$2* ]] && break; sleep 0.05; done
print -r -- "$text"`;
      const [typed, wanted] = line.split(' => ') as [string, string];
      return run('zsh', ['-f', '-c', script, 'zsh', typed, wanted], { TERM: 'dumb' });
    };
    assert.match(await press('spoor doc => doctor'), /doctor/);
    assert.match(await press('spoor streams resu => resume'), /resume/);
    assert.match(await press('spoor status --wat => --watch'), /--watch/);
    assert.match(await press('spoor streams show o => orders'), /orders/);
    assert.match(await press('spoor streams create ord => orders.json'), /orders\.json/);
  });
});
