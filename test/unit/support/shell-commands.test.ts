import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { commandsIn } from '../../support/shell-commands.ts';

describe('the commands of a script', () => {
  for (const [script, expected] of [
    ['a b  c\nd', [['a', 'b', 'c'], ['d']]],
    ['a \'b c\' "d $(e f)" g\\\n h', [['a', 'b c', 'd $(e f)', 'g', 'h']]],
    ['a b # c\n# d\ne', [['a', 'b'], ['e']]],
    ['a && b | c; d > file', [['a'], ['b'], ['c'], ['d']]],
    ['a $(b c):1', [['a', '$(b c):1']]],
    ["a server's $(", [['a', "server's", '$(']]],
    ['a -d \'{\n "b": 1 }\'\nc', [['a', '-d', '{\n "b": 1 }'], ['c']]],
  ] as const)
    it(`are words: ${JSON.stringify(script)}`, () => {
      assert.deepEqual(
        commandsIn(script).map(({ words }) => words),
        expected,
      );
    });

  it('have their here-documents', () => {
    assert.deepEqual(commandsIn("a - <<'JSON'\n{\n}\nJSON\nb\n"), [
      { words: ['a', '-'], stdin: '{\n}\n' },
      { words: ['b'], stdin: '' },
    ]);
  });
});
