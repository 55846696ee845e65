import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { checkLinks } from '../../../src/keeping/held-links.ts';
import { identify } from '../../../src/wal/log-folder.ts';
import { HoldStore } from '../../../src/wal/hold-store.ts';

it('checkLinks names the tablet whose segments cannot be linked, until they can', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'spoor-held-links-'));
  t.after(() => {
    rmSync(dir, { recursive: true });
  });
  const tabletId = '0123456789abcdef0123456789abcdef';
  const folder = join(dir, 'wals', tabletId);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'wal-000000001'), 'a segment');
  const holdDir = join(dir, 'spoor-hold');
  const holds = HoldStore.open({ dir: holdDir, walDir: dir });
  const hold = holds.enable(tabletId);
  holds.enable('f'.repeat(32));
  checkLinks(holds);

  rmSync(join(holdDir, tabletId), { recursive: true });
  writeFileSync(join(holdDir, tabletId), 'in the way');
  const identity = identify(folder)!;
  hold.link(identity, folder, [1]);
  assert.throws(() => {
    checkLinks(holds);
  }, /^Error: segments of tablet 0123456789abcdef0123456789abcdef cannot be held: (?:EEXIST|ENOTDIR)/);

  rmSync(join(holdDir, tabletId));
  hold.link(identity, folder, [1]);
  checkLinks(holds);
  assert.equal(statSync(join(folder, 'wal-000000001')).nlink, 2);
});
