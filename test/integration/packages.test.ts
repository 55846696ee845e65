import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runCommand } from '../../src/demo/run-command.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { SPOOR_VERSION } from '../../src/util/version.ts';
import { programMissing, systemdAnalyze } from '../support/debian-package.ts';
import { runnableBlock } from '../support/markdown.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OVERLAY = join(ROOT, 'test/support/overlay-root.sh');
const PAGE = readFileSync(join(ROOT, 'docs/install.md'), 'utf8');
const UNIT = join(ROOT, 'deploy/systemd/spoor.service');
/** In tenths, as systemd-analyze counts how much a unit may do: 100 is everything. What keeps it from less is told in the unit. */
const MOST_EXPOSURE = 20;
/** dpkg keeps books of what it did. */
const LEFT_BY_DPKG = '^/(var/lib/dpkg/|var/log/dpkg\\.log$|var/cache/|dev/null$)';

async function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const { exitCode, output, stdout } = await runCommand(command, args, options);
  assert.equal(exitCode, 0, `${command} ${args.join(' ')}:\n${output}`);
  return stdout;
}

/** Runs a shell script in a copy of this machine, and says what it printed. @throws where it fails or leaves something */
async function inCopy(script: string, folder: string, mayBeLeft: string): Promise<string> {
  const args = ['--mount', '--pid', '--fork', '--kill-child', OVERLAY, folder, mayBeLeft];
  const child = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => said.push(bytes));
  child.stdin.end(script);
  const [exitCode] = (await once(child, 'close')) as [number | null];
  const output = Buffer.concat(said).toString('utf8');
  assert.equal(exitCode, 0, output);
  return output;
}

async function overlayMissing(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'takes root, to make a copy of this machine';
  await using dir = await WorkDir.create('spoor-test-overlay');
  try {
    await inCopy('true', dir.path, '.');
    return false;
  } catch (error) {
    return `no overlay file systems here: ${String(error)}`;
  }
}

async function assertRuns(program: string): Promise<void> {
  await using elsewhere = await WorkDir.create('spoor-test-elsewhere');
  const cwd = { cwd: elsewhere.path };
  assert.equal((await run(program, ['--version'], cwd)).trim(), SPOOR_VERSION);
  assert.match(await run(program, ['demo', '--help'], cwd), /Usage: spoor demo/);
}

describe('the systemd unit', { skip: await programMissing(systemdAnalyze()) }, () => {
  it('is one, and may do no more than it needs', async () => {
    const { program, env } = await systemdAnalyze();
    for (const args of [
      ['verify', UNIT],
      ['security', '--offline=yes', `--threshold=${MOST_EXPOSURE}`, UNIT],
    ]) {
      const { exitCode, output } = await runCommand(program, args, { env });
      assert.equal(exitCode, 0, output);
      if (args[0] === 'verify') assert.equal(output, '');
    }
  });

  it('leaves the write-ahead log to be read and linked to, wherever it is', async () => {
    const unit = await readFile(UNIT, 'utf8');
    // Each of these would make folders of Kudu's unreadable or unwritable, or give its files to nobody.
    for (const setting of ['ProtectSystem=strict', 'PrivateUsers=', 'RootDirectory=', 'DynamicUser=', 'ReadOnlyPaths='])
      assert.ok(!unit.includes(setting), setting);
    assert.ok(!unit.includes('RemoveIPC='), "what is of the tablet server's user is the tablet server's");
  });
});

describe('the npm package', () => {
  it('has all that the program needs besides its packages, and nothing of its making', async () => {
    await using dir = await WorkDir.create('spoor-test-npm');
    // As npm pack makes it, but for the build, which is the one that is tested here anyway.
    await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir.path], { cwd: ROOT });
    await run('tar', ['-xzf', `spoor-${SPOOR_VERSION}.tgz`], { cwd: dir.path });
    const unpacked = join(dir.path, 'package');
    assert.deepEqual((await readdir(unpacked)).sort(), [
      '.env.example',
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'deploy',
      'dist',
      'docs',
      'package.json',
    ]);
    assert.deepEqual((await readdir(join(unpacked, 'dist'))).sort(), ['chunks', 'cli', 'page']);
    await symlink(join(ROOT, 'node_modules'), join(unpacked, 'node_modules'));
    await assertRuns(join(unpacked, 'dist/cli/main.js'));
  });
});

const skip = await overlayMissing();

describe('what npm run package makes', { skip, timeout: 900_000 }, () => {
  let dir: WorkDir;
  before(async () => {
    dir = await WorkDir.create('spoor-test-packages');
    assert.equal(runnableBlock(PAGE, 'package'), 'npm run package');
    await run('npm', ['run', '--silent', 'package', dir.path], { cwd: ROOT });
  });

  it('npm installs globally from the file, as docs/install.md says', async () => {
    const prefix = join(dir.path, 'prefix');
    const env = { ...process.env, npm_config_prefix: prefix, PATH: `${prefix}/bin:${process.env['PATH'] ?? ''}` };
    const said = await run('sh', ['-ec', runnableBlock(PAGE, 'npm')], { cwd: dir.path, env });
    assert.equal(said.trim().split('\n').at(-1), SPOOR_VERSION);
    await assertRuns(join(prefix, 'bin/spoor'));
    await rm(prefix, { recursive: true });
  });

  it('the tarball runs where it was unpacked, without a registry, as docs/install.md says', async () => {
    const script = `
      cd /mnt
      ${runnableBlock(PAGE, 'tarball')}
      cd / && spoor demo --help
      rm -r /opt/spoor-* /usr/local/bin/spoor`;
    const output = await inCopy(script, dir.path, '^/dev/null$');
    assert.match(output, new RegExp(`^${SPOOR_VERSION}$`, 'm'));
    assert.match(output, /Usage: spoor demo/);
  });

  it('the Debian package installs, upgrades, keeps the settings, and leaves no trace when it is purged', async () => {
    const [file] = (await readdir(dir.path)).filter((name) => name.endsWith('.deb'));
    const before = join(dir.path, 'before');
    await run('dpkg-deb', ['--raw-extract', join(dir.path, file!), before]);
    const control = await readFile(join(before, 'DEBIAN/control'), 'utf8');
    await writeFile(join(before, 'DEBIAN/control'), control.replace(/^Version: .*$/m, 'Version: 0.0.1'));
    await writeFile(join(before, 'usr/lib/spoor/dist/gone-since.js'), '');
    await run('dpkg-deb', ['--root-owner-group', '-Znone', '--build', before, join(dir.path, 'before.deb')]);
    const script = `
      dpkg --ignore-depends=nodejs -i /mnt/before.deb
      spoor --version
      stat -c '%a %U %n' /etc/spoor/spoor.env
      test -f /usr/lib/spoor/dist/gone-since.js
      echo 'SPOOR_TSERVER=node-1:7050' > /etc/spoor/spoor.env
      mkdir -p /var/lib/spoor && touch /var/lib/spoor/something

      dpkg --ignore-depends=nodejs --force-confold -i /mnt/${file!}
      spoor demo --help
      grep node-1 /etc/spoor/spoor.env
      ! test -e /usr/lib/spoor/dist/gone-since.js
      test -f /usr/lib/systemd/system/spoor.service
      cd /usr/lib/spoor && node -e "require('koffi')"; cd /

      dpkg --remove spoor
      ! test -e /usr/bin/spoor && ! test -e /usr/lib/spoor && test -f /etc/spoor/spoor.env
      dpkg --purge spoor
      echo all done`;
    const output = await inCopy(script, dir.path, LEFT_BY_DPKG);
    assert.match(output, /^640 root \/etc\/spoor\/spoor\.env$/m);
    assert.match(output, /fill in \/etc\/spoor\/spoor\.env/);
    assert.match(output, /^all done$/m);
  });
});
