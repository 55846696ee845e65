import assert from 'node:assert/strict';
import { it } from 'node:test';
import { renderSchemas } from '../../../src/cli/schema-text.ts';

it('prints each text under what it is, and why there is none', () => {
  const avro = { key: '"k"', value: '"v"' };
  assert.equal(
    renderSchemas([
      { table: 'a', topic: 'cdc.a', avro },
      { table: 'b', topic: null, reason: 'two fields of one name' },
    ]),
    'table a, topic cdc.a\n\n-- avro, key\n"k"\n\n-- avro, value\n"v"\n\ntable b: two fields of one name\n',
  );
  assert.equal(renderSchemas([]), 'no tables\n');
});
