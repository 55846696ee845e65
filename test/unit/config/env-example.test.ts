import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { parse } from 'dotenv';
import { loadConfig } from '../../../src/config/config.ts';
import { VARIABLE_NAMES, hasFileVariant, variableInfo, type VariableName } from '../../../src/config/variables.ts';

const PATH = new URL('../../../.env.example', import.meta.url);
const HEADER = `# Every setting of a Spoor sidecar with its default. Copy to .env, or give them as environment variables, which win.
# An empty value is no value. Where NAME_FILE is named, it may stand in NAME's place: the path of a file that holds the value.
# Made from src/config/variables.ts; test/unit/config/env-example.test.ts holds the two against each other.
`;

function render(name: VariableName): string {
  const info = variableInfo(name);
  const comment = info.describe + (hasFileVariant(name) ? ` Or ${name}_FILE.` : '');
  if (info.default !== undefined) return `\n# ${comment}\n${name}=${info.default}\n`;
  if (info.requiredExample !== undefined) return `\n# ${comment} No default.\n${name}=${info.requiredExample}\n`;
  return `\n# ${comment}\n# Default: ${info.derivedDefault ?? 'none'}.\n#${name}=\n`;
}

describe('.env.example', () => {
  const rendered = HEADER + VARIABLE_NAMES.map(render).join('');
  if (process.env.UPDATE_ENV_EXAMPLE === '1') writeFileSync(PATH, rendered);
  const text = readFileSync(PATH, 'utf8');

  it('is what the table of variables says', () => {
    assert.equal(text, rendered, 'run this file with UPDATE_ENV_EXAMPLE=1 to write it anew');
  });

  it('names every variable once', () => {
    const named = [...text.matchAll(/^#?(SPOOR_[A-Z_]+)=/gm)].map((match) => match[1]);
    assert.deepEqual(named, VARIABLE_NAMES);
  });

  it('is a configuration that Spoor takes, and the same as the required variables alone', () => {
    const all = loadConfig(parse(text), tmpdir(), { user: 'kudu' });
    const { SPOOR_KUDU_MASTERS, SPOOR_TSERVER, SPOOR_WAL_DIR } = parse(text);
    const required = loadConfig({ SPOOR_KUDU_MASTERS, SPOOR_TSERVER, SPOOR_WAL_DIR }, tmpdir(), { user: 'kudu' });
    assert.ok('config' in all);
    assert.deepEqual(all, required);
  });
});
