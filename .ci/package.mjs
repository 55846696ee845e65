/**
 * `npm run package [folder]` makes what Spoor is installed from, in `packages/` unless told otherwise: the npm package, and
 * for machines without a registry, of this machine's kind, a tarball and a Debian package with all that Spoor runs on.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath, URL } from 'node:url';
import { gzipSync } from 'node:zlib';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PARTS = join(ROOT, 'deploy/packages');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

/** Debian's names of what Node calls `process.arch`. */
const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };
const architecture = ARCHITECTURES[process.arch] ?? process.arch;

function run(command, args, cwd) {
  const { status, error, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
}

/** The npm package: the program without what it runs on, which npm fetches. @returns the path of its file */
function npmPackage(into) {
  run('npm', ['pack', '--silent', '--pack-destination', into], ROOT);
  return join(into, `spoor-${version}.tgz`);
}

/** The npm package unpacked, with the packages of package-lock.json beside it, no script of theirs run. */
function programFolder(npmFile, into) {
  run('tar', ['-xzf', npmFile, '-C', into]);
  const folder = join(into, 'package');
  for (const name of ['package-lock.json', '.npmrc']) cpSync(join(ROOT, name), join(folder, name));
  run('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], folder);
  for (const name of ['package-lock.json', '.npmrc', 'node_modules/.package-lock.json']) rmSync(join(folder, name));
  return folder;
}

function tarball(program, work, into) {
  const name = `spoor-${version}`;
  const folder = join(work, name);
  cpSync(program, folder, { recursive: true, verbatimSymlinks: true });
  mkdirSync(join(folder, 'bin'));
  cpSync(join(PARTS, 'spoor'), join(folder, 'bin/spoor'));
  const file = join(into, `${name}-linux-${process.arch}.tar.gz`);
  run('tar', ['--owner=0', '--group=0', '--numeric-owner', '--sort=name', '-czf', file, '-C', work, name]);
  return file;
}

/** Bytes of all files below a folder. */
function sizeOf(folder) {
  return readdirSync(folder, { recursive: true }).reduce((sum, name) => sum + lstatSync(join(folder, name)).size, 0);
}

function debianPackage(program, work, into) {
  const root = join(work, 'debian');
  const lib = join(root, 'usr/lib/spoor');
  const doc = join(root, 'usr/share/doc/spoor');
  for (const folder of [
    lib,
    doc,
    ...['DEBIAN', 'etc/spoor', 'usr/bin', 'usr/lib/systemd/system'].map((name) => join(root, name)),
  ])
    mkdirSync(folder, { recursive: true });
  for (const name of ['dist', 'node_modules', 'package.json']) renameSync(join(program, name), join(lib, name));
  for (const name of ['docs', 'deploy/prometheus', 'deploy/grafana', 'README.md'])
    cpSync(join(program, name), join(doc, name.replace('deploy/', '')), { recursive: true });
  cpSync(join(PARTS, 'debian/copyright'), join(doc, 'copyright'));
  writeFileSync(join(doc, 'changelog.gz'), gzipSync(readFileSync(join(ROOT, 'CHANGELOG.md'))));
  symlinkSync('../lib/spoor/dist/cli/main.js', join(root, 'usr/bin/spoor'));
  cpSync(join(ROOT, 'deploy/systemd/spoor.service'), join(root, 'usr/lib/systemd/system/spoor.service'));
  const env = join(root, 'etc/spoor/spoor.env');
  writeFileSync(env, allCommentedOut(readFileSync(join(ROOT, '.env.example'), 'utf8')));
  for (const name of readdirSync(join(PARTS, 'debian')).filter((each) => each !== 'copyright'))
    cpSync(join(PARTS, 'debian', name), join(root, 'DEBIAN', name));
  const control = readFileSync(join(PARTS, 'debian/control'), 'utf8')
    .replace('@VERSION@', version)
    .replace('@ARCHITECTURE@', architecture)
    .replace('@INSTALLED_SIZE@', String(Math.ceil(sizeOf(join(root, 'usr')) / 1024)));
  writeFileSync(join(root, 'DEBIAN/control'), control);
  run('chmod', ['-R', 'u=rwX,go=rX', root]);
  chmodSync(env, 0o640); // it may hold secrets
  const file = join(into, `spoor_${version}_${architecture}.deb`);
  run('dpkg-deb', ['--root-owner-group', '-Zxz', '-z1', '--build', root, file]);
  return file;
}

/** An example in which everything is set is no configuration to start from: what a person fills in is what counts. */
function allCommentedOut(example) {
  return example.replaceAll(/^(?=SPOOR_)/gm, '#');
}

const into = resolve(process.argv[2] ?? join(ROOT, 'packages'));
mkdirSync(into, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'spoor-package-'));
try {
  const npmFile = npmPackage(into);
  const program = programFolder(npmFile, work);
  for (const file of [npmFile, tarball(program, work, into), debianPackage(program, work, into)])
    process.stdout.write(`${file}\n`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
