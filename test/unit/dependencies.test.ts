import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import * as z from 'zod';
import { runtimePackages } from '../../.ci/dependencies.mjs';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const lockfile = z.looseObject({ packages: z.record(z.string(), z.looseObject({})) });

describe('what Spoor runs on', () => {
  const { everywhere, binaries, licenses, unlicensed, installScripts } = runtimePackages(
    lockfile.parse(JSON.parse(read('package-lock.json'))),
  );
  const [, section = ''] = read('docs/operations.md').split('## A dependency check\n');
  const text = section.replaceAll(/\s+/g, ' ');

  it('is under licences that let anybody pass it on', () => {
    assert.deepEqual(unlicensed, []);
  });

  it('needs to run nothing when it is installed: what koffi would run does nothing where its binary is there', () => {
    assert.deepEqual(installScripts, ['node_modules/koffi']);
  });

  it('is what docs/operations.md says: how many, under which licences', () => {
    const counts = `${everywhere} packages at run time on every machine, and ${binaries} that are binaries`;
    assert.ok(text.includes(counts), counts);
    const listed = Object.entries(licenses)
      .sort(([nameA, a], [nameB, b]) => b - a || nameA.localeCompare(nameB))
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
    assert.ok(text.includes(`Licences: ${listed}.`), listed);
  });
});
