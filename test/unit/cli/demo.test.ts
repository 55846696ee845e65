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

  const WRONG: readonly (readonly [string[], RegExp])[] = [
    [['--redis', '--file'], /^--redis and --file: got both; allowed: one of them/],
    [['--file', '--fault', 'broker'], /^--fault: got "broker" with --file/],
    [['--fault', 'master'], /--fault.*Allowed choices are broker, sidecar, leader/],
  ];
  for (const [args, says] of WRONG)
    it(`refuses ${args.join(' ')}`, async () => {
      const errors: string[] = [];
      const quiet = { out: () => undefined, env: {}, cwd: '/', readStdin: () => '' };
      const exitCode = await runCli(['demo', ...args], { ...quiet, err: (text) => errors.push(text) });
      assert.equal(exitCode, 2);
      assert.match(errors.join(''), says);
    });
});
