import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { Command } from 'commander';
import type { CliContext } from '../../../src/cli/cli-context.ts';
import { completionScript, SHELLS } from '../../../src/cli/completion.ts';
import { leavesOf, wordsOf } from '../../../src/cli/examples.ts';
import { buildProgram, runCli } from '../../../src/cli/program.ts';

const context: CliContext = {
  out: () => undefined,
  err: () => undefined,
  env: {},
  cwd: '/',
  readStdin: () => '',
};

function allOf(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap(allOf)];
}

async function helpOf(words: string): Promise<string> {
  let out = '';
  const code = await runCli([...words.split(' ').filter(Boolean), '--help'], {
    ...context,
    out: (text) => (out += text),
  });
  assert.equal(code, 0);
  return out;
}

/** As a shell would have it, as far as examples need that. */
function argumentsOf(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
}

/** Which command a line runs; what stands around it in a shell is left out. @throws it is not understood */
async function parse(text: string): Promise<string> {
  const line = /spoor [^)|#]*/.exec(text)?.[0].trim();
  assert.ok(line, text);
  const parsed = buildProgram(context, () => undefined);
  let called = '';
  for (const leaf of leavesOf(parsed))
    leaf.action(() => {
      called = wordsOf(leaf);
    });
  await parsed.parseAsync(argumentsOf(line).slice(1), { from: 'user' });
  return called;
}

const program = buildProgram(context, () => undefined);
const commands = allOf(program);
const leaves = leavesOf(program);

describe('every command', () => {
  for (const command of commands)
    it(`spoor ${wordsOf(command)}: its help fits 80 columns`, async () => {
      const help = await helpOf(wordsOf(command));
      for (const line of help.split('\n')) assert.ok(line.length <= 80, `${line.length}: ${line}`);
    });

  for (const command of leaves)
    it(`spoor ${wordsOf(command)}: has examples, and each is understood`, async () => {
      const help = await helpOf(wordsOf(command));
      const examples = /\nExamples:\n((?: {2}.*\n)+)/.exec(help)?.[1]?.trimEnd().split('\n') ?? [];
      assert.ok(examples.length > 0, help);
      for (const example of examples) {
        assert.equal(await parse(example), wordsOf(command), example);
      }
    });

  /** That print what is no data, or nothing but JSON lines. */
  const WITHOUT_JSON = ['run', 'demo', 'completion', 'wal dump'];
  it('that prints data has --json', () => {
    const without = leaves.filter((leaf) => leaf.options.every(({ long }) => long !== '--json')).map(wordsOf);
    assert.deepEqual(without.sort(), WITHOUT_JSON.sort());
  });

  for (const shell of SHELLS)
    it(`is in the completion for ${shell}, with its options`, () => {
      const script = completionScript(program, shell);
      for (const command of commands) {
        assert.ok(script.includes(command.name()), command.name());
        const visible = command.createHelp().visibleOptions(command);
        for (const { long } of visible) assert.ok(script.includes(long!.slice(2)), long);
      }
      assert.doesNotMatch(script, /--token\b(?!-)/, 'what is hidden stays so');
    });
});

describe('docs/cli.md', () => {
  const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
  const lines = [...page.matchAll(/```sh\n([^]*?)```/g)].flatMap(([, block]) => block!.trim().split('\n'));

  it('has commands', () => {
    assert.ok(lines.length > 15, `${lines.length}`);
  });
  for (const line of lines)
    it(`${line}: is understood`, async () => {
      assert.notEqual(await parse(line), '');
    });
});
