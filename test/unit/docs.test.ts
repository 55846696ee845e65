import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { VARIABLE_NAMES, hasFileVariant, variableInfo } from '../../src/config/variables.ts';
import { ERRORS, type ErrorEntry } from '../../src/errors.ts';
import { createInstruments } from '../../src/metrics/instruments.ts';
import { TABLET_STATES } from '../../src/api/shapes.ts';
import { anchorsOf } from '../support/markdown.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

describe('docs/errors.md', () => {
  const sections = new Map(
    read('docs/errors.md')
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.slice(0, section.indexOf('\n')), section.replaceAll(/\s+/g, ' ')]),
  );

  it('has a section for each code, and for no other', () => {
    assert.deepEqual([...sections.keys()].sort(), Object.keys(ERRORS).sort());
  });

  for (const [code, entry] of Object.entries<ErrorEntry>(ERRORS))
    it(`says of ${code} what the table says`, () => {
      const who = entry.retry === 'auto' ? 'Spoor, by trying again' : 'a person';
      const section = sections.get(code) ?? '';
      assert.ok(section.includes(`Who ends it: ${who}. HTTP status: ${entry.httpStatus}.`), section);
      assert.ok(section.includes(`**Remedy:** ${entry.remedy}`), section);
    });
});

const VARIABLES_AND_FILES = new Set<string>(
  VARIABLE_NAMES.flatMap((name) => (hasFileVariant(name) ? [name, `${name}_FILE`] : [name])),
);

const DEPLOYED = [
  'Dockerfile',
  'kubernetes/tserver-with-spoor.yaml',
  'systemd/spoor.service',
  'helm/spoor/values.yaml',
  'helm/spoor/values.schema.json',
  'helm/spoor/templates/_helpers.tpl',
].map((name) => `deploy/${name}`);

describe('deploy/', () => {
  for (const path of DEPLOYED)
    it(`${path} sets no variable that Spoor would refuse`, () => {
      // A name with a star stands for all that begin so.
      const named = read(path).match(/\bSPOOR_[A-Z_]+\b(?!\*)/g) ?? [];
      assert.deepEqual(
        named.filter((name) => !VARIABLES_AND_FILES.has(name)),
        [],
      );
    });
});

describe('docs/operations.md', () => {
  const text = read('docs/operations.md');

  it('has a row for each variable with its default, and names no other', () => {
    for (const name of VARIABLE_NAMES) {
      const row = text.split('\n').find((line) => line.startsWith(`| \`${name}\``));
      assert.ok(row, name);
      const { default: value } = variableInfo(name);
      if (value !== undefined) assert.equal(row.split('|')[2]!.trim(), `\`${value}\``, name);
    }
    const named =
      text.match(/\bSPOOR_(?:MODE|KUDU|TSERVER|WAL_DIR|HOLD|KAFKA|REDIS|HTTP|SYSTEM|MARKER|LOG)[A-Z_]*\b/g) ?? [];
    assert.deepEqual(
      named.filter((name) => !VARIABLES_AND_FILES.has(name)),
      [],
    );
  });

  it('names every metric', async () => {
    const registry = new Registry();
    createInstruments(registry);
    for (const { name } of await registry.getMetricsAsJSON()) assert.ok(text.includes(`\`${name}\``), name);
  });

  it('names every state of a tablet', () => {
    for (const state of TABLET_STATES) assert.ok(text.includes(`\`${state}\``), state);
  });
});

describe('every page', () => {
  const docs = readdirSync(new URL('../../docs', import.meta.url), { recursive: true, encoding: 'utf8' });
  const pages = [
    'README.md',
    'CHANGELOG.md',
    ...docs.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
  ];

  for (const page of pages)
    it(`${page} links to what is there`, () => {
      for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
        const [file = '', anchor] = target!.split('#');
        const path = file === '' ? page : new URL(file, `file:///${page}`).pathname.slice(1);
        if (!path.endsWith('/')) assert.ok(read(path).length > 0, target);
        if (anchor !== undefined) assert.ok(anchorsOf(read(path)).includes(anchor), `${page}: ${target!}`);
      }
    });
  it('tests that the invariants name are there', () => {
    for (const [, path] of read('docs/architecture.md').matchAll(/`(test\/[\w./-]+\.ts)`/g))
      assert.ok(read(path!).length > 0, path);
  });
});
