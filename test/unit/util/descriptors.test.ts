import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';

it('lists a log when the process may open nothing more, and goes on to when it may', () => {
  const dir = mkdtempSync(join(tmpdir(), 'spoor-descriptors-'));
  try {
    mkdirSync(join(dir, 'log'));
    for (const name of ['wal-000000007', 'index.000000000']) writeFileSync(join(dir, 'log', name), '');
    const script = `
      import { openSync, closeSync } from 'node:fs';
      import { listLog } from ${JSON.stringify(import.meta.resolve('../../../src/wal/log-folder.ts'))};
      import { descriptorLimit } from ${JSON.stringify(import.meta.resolve('../../../src/util/descriptors.ts'))};
      const limit = descriptorLimit();
      const taken = [];
      try { for (;;) taken.push(openSync('/dev/null')); } catch (error) { console.log(error.code, limit); }
      for (let i = 0; i < 3; i++) console.log(listLog(${JSON.stringify(join(dir, 'log'))}).sequenceNumbers.join());
      try { openSync('/dev/null'); } catch (error) { console.log(error.code); }`;
    const node = [process.execPath, '--import', import.meta.resolve('tsx'), '--input-type=module', '-e', script];
    const child = spawnSync('sh', ['-c', 'ulimit -n 300; exec "$@"', 'sh', ...node], { encoding: 'utf8' });
    assert.equal(child.stdout, 'EMFILE 300\n7\n7\n7\nEMFILE\n', child.stderr);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
