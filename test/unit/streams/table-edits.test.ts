import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseStreamDefinition } from '../../../src/streams/definition.ts';
import { changeDefinition } from '../../../src/streams/change-definition.ts';

const parsed = parseStreamDefinition({ name: 's', tables: ['a', 'b'], sink: { type: 'kafka', topic: 't' } });
assert.ok(parsed.kind === 'ok');
const { definition } = parsed;

describe('tables that come and go', () => {
  for (const [tables, expected] of [
    [{ add: ['c'] }, 'a,b,c'],
    [{ add: ['b', 'c'] }, 'a,b,c'],
    [{ remove: ['a'] }, 'b'],
    [{ remove: ['a'], add: ['c'] }, 'b,c'],
    [{}, 'a,b'],
    [['x'], 'x'],
  ] as const)
    it(`${JSON.stringify(tables)} of a, b makes ${expected}`, () => {
      const changed = changeDefinition({ definition, paused: false }, { tables });
      assert.ok(changed.kind === 'ok');
      assert.equal(changed.definition.tables.join(), expected);
    });

  for (const [tables, path, message] of [
    [{ remove: ['c'] }, 'tables.remove[0]', /the stream has no "c": a, b/],
    [{ added: ['c'] }, 'tables.added', /add/],
    [{ add: 'c' }, 'tables.add', /./],
    [{ add: [''] }, 'tables[2]', /must not be empty/],
    [{ remove: ['a', 'b'] }, 'tables', /at least one/],
  ] as const)
    it(`${JSON.stringify(tables)} is refused, and says where`, () => {
      const changed = changeDefinition({ definition, paused: false }, { tables });
      assert.ok(changed.kind === 'invalid');
      assert.equal(changed.faults[0]?.path, path);
      assert.match(changed.faults[0].message, message);
    });
});
