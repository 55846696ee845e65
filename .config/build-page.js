/**
 * Bundles the status page (src/page) into dist/page: one script, one style sheet and the page that names them, each also
 * compressed, so that a sidecar never spends CPU on that. The names change with what is in the files.
 */
import { readFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import { Buffer } from 'node:buffer';
import { fileURLToPath, URL } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src/page');
const out = join(root, 'dist/page');
/** Over the wire, of all files together. */
const MAX_BYTES = 300_000;

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const { outputFiles, metafile } = await build({
  entryPoints: [join(source, 'main.tsx')],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  entryNames: '[name]-[hash]',
  outdir: out,
  write: false,
  metafile: true,
  legalComments: 'eof',
  logLevel: 'warning',
});
const nameOf = (ending) => basename(outputFiles.find(({ path }) => path.endsWith(ending)).path);
const index = readFileSync(join(source, 'index.html'), 'utf8')
  .replace('{{script}}', `/page/${nameOf('.js')}`)
  .replace('{{style}}', `/page/${nameOf('.css')}`);
const files = [
  ['index.html', Buffer.from(index)],
  ...outputFiles.map(({ path, contents }) => [basename(path), Buffer.from(contents)]),
];
let bytes = 0;
for (const [name, plain] of files) {
  const zipped = gzipSync(plain, { level: 9 });
  bytes += zipped.length;
  writeFileSync(join(out, name), plain);
  writeFileSync(join(out, `${name}.gz`), zipped);
  const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
  writeFileSync(join(out, `${name}.br`), brotliCompressSync(plain, { params: quality }));
}
// What is in the bundle is passed on with it, and so are its licences.
const packages = Object.keys(metafile.inputs).flatMap(
  (path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [],
);
const licenses = [...new Set(packages)].sort().map((name) => {
  const dir = join(root, 'node_modules', name);
  return `${name}\n\n${readFileSync(join(dir, 'LICENSE'), 'utf8').trim()}\n`;
});
writeFileSync(join(out, 'licenses.txt'), licenses.join('\n\n'));
if (bytes > MAX_BYTES) {
  process.stderr.write(`the status page has ${bytes} bytes over the wire, more than ${MAX_BYTES}\n`);
  process.exitCode = 1;
}
