import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function filesIn(folder: string, ending: string): readonly string[] {
  const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith(ending)).map((name) => join(folder, name).replaceAll(sep, '/'));
}

const CODE = ['src', 'test'].flatMap((folder) => filesIn(folder, '.ts'));
const NAME = /[\w./-]*[\w-]+\.ts\b/g;

/** What the reader of docs/write-a-sink.md is to write has this name, and its imports begin so. */
function isOfReader(name: string): boolean {
  return name.includes('acme') || /^\.\.?\//.test(name);
}

/** Names of source files in a text, of which there is none. */
function unknownIn(text: string): readonly string[] {
  const names = (text.match(NAME) ?? []).filter((name) => !isOfReader(name));
  return names.filter((name) => !CODE.some((file) => file === name || file.endsWith(`/${name}`)));
}

describe('a file that is named', () => {
  it('in a comment is there', () => {
    const wrong: string[] = [];
    for (const file of CODE)
      for (const [number, line] of readFileSync(join(ROOT, file), 'utf8').split('\n').entries()) {
        const [comment = ''] = /(?:^\s*\/?\*|\/\/ ).*/.exec(line) ?? [];
        for (const name of unknownIn(comment)) wrong.push(`${file}:${number + 1}: ${name}`);
      }
    assert.deepEqual(wrong, []);
  });

  it('in the table of lines is there, and has what the table says', () => {
    const text = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');
    const rows = [...text.matchAll(/^\| [^|]+ \| `([\w/-]+)`: `(#?\w+)`/gm)];
    assert.ok(rows.length >= 9, `${rows.length} rows`);
    for (const [, file, name] of rows)
      assert.match(
        readFileSync(join(ROOT, `src/${file}.ts`), 'utf8'),
        new RegExp(`(^|\\W)${name}[(<]`),
        `${file}: ${name}`,
      );
  });

  it('in the docs is there', () => {
    const wrong: string[] = [];
    for (const file of ['README.md', ...filesIn('docs', '.md')])
      for (const name of unknownIn(readFileSync(join(ROOT, file), 'utf8'))) wrong.push(`${file}: ${name}`);
    assert.deepEqual(wrong, []);
  });
});
