import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { spoorCommand } from '../../src/demo/sidecar-process.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { eventually } from '../support/eventually.ts';

describe('a sidecar on a machine that is short of CPU', { skip: process.platform !== 'linux' }, () => {
  it('does not stand back for the tablet server before it works', async () => {
    await using dir = await WorkDir.create('spoor-test-nice');
    const walDir = join(dir.path, 'wal');
    const [command, ...args] = spoorCommand();
    const sidecar = spawn(command, [...args, 'run'], {
      cwd: dir.path,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: {
        PATH: process.env['PATH'],
        SPOOR_KUDU_MASTERS: '127.0.0.1:1',
        SPOOR_TSERVER: '127.0.0.1:1',
        SPOOR_WAL_DIR: walDir,
        SPOOR_HOLD_DIR: join(dir.path, 'hold'),
        SPOOR_HTTP_LISTEN: '127.0.0.1:0',
        SPOOR_NICE: '7',
      },
    });
    let said = '';
    sidecar.stdout.on('data', (text: Buffer) => (said += text.toString()));
    const own = getPriority(); // perhaps the tests run at a lower one
    try {
      await eventually('it has tried to hold the logs', () => said.includes('cannot work yet'));
      assert.equal(getPriority(sidecar.pid), own);
      await mkdir(join(walDir, 'wals'), { recursive: true });
      await writeFile(join(walDir, 'instance'), `\n ${'a'.repeat(32)}`); // the tablet server has started once
      await eventually(
        'it holds the logs',
        async () => (await stat(join(dir.path, 'hold')).catch(() => null)) !== null,
      );
      assert.equal(getPriority(sidecar.pid), own, 'Kudu does not answer yet');
    } finally {
      sidecar.kill('SIGKILL');
    }
  });
});
