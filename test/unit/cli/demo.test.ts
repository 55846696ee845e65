import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runCli } from '../../../src/cli/program.ts';

describe('spoor demo', () => {
  for (const flag of ['--exit-after', '--rate'])
    for (const value of ['0', '-1', 'soon', '1e999'])
      it(`refuses ${flag}=${value} before it starts anything`, async () => {
        const errors: string[] = [];
        const exitCode = await runCli(['demo', `${flag}=${value}`], {
          out: () => undefined,
          err: (text) => errors.push(text),
          env: {},
          cwd: '/',
          readStdin: () => '',
        });
        assert.equal(exitCode, 2);
        assert.match(errors.join(''), new RegExp(`${flag}.*must be a number above 0`, 'i'));
      });
});
