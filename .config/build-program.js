/**
 * Bundles the program (src, without the page) into dist: cli/main.js, and beside it the chunks that only some commands need.
 * Hundreds of modules that are looked up, read and compiled one by one take a fifth of what the start of a sidecar costs. Packages
 * stay what npm installs. Types are checked apart from this (`npm run check`).
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, URL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'dist');

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: [join(root, 'src/cli/main.ts')],
  outbase: join(root, 'src'),
  outdir: out,
  // As deep as src/*/: one relative path from there leads to package.json, in the sources and here.
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  packages: 'external',
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  sourcemap: true,
  sourcesContent: false,
  write: false,
  logLevel: 'warning',
});

// A program may run from here meanwhile: what is as it was is not touched, and what it has yet to load goes last.
for (const { path, contents } of outputFiles) {
  if (existsSync(path) && readFileSync(path).equals(contents)) continue;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, contents);
  renameSync(`${path}.new`, path);
}
chmodSync(join(out, 'cli/main.js'), 0o755);
const built = new Set(outputFiles.map(({ path }) => path));
for (const folder of readdirSync(out))
  if (!['cli', 'chunks', 'page'].includes(folder)) rmSync(join(out, folder), { recursive: true });
for (const folder of [join(out, 'cli'), join(out, 'chunks')])
  for (const name of readdirSync(folder))
    if (!built.has(join(folder, name))) rmSync(join(folder, name), { recursive: true });
