import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { FileSink } from '../../../../src/sinks/file/file-sink.ts';
import { Sidecar, TabletLog } from '../../../contract/sink-sidecar.ts';
import { SinkKit } from '../../../contract/sink-kit.ts';

const DOC = new URL('../../../../docs/sinks-file.md', import.meta.url);
const LAST = 60;

it('the program of docs/sinks-file.md follows a tablet: each record once and in order, while writers take it from each other', async (t) => {
  if (spawnSync('python3', ['--version']).status !== 0) {
    t.skip('there is no python3');
    return;
  }
  const root = mkdtempSync(join(tmpdir(), 'spoor-tail-'));
  t.after(() => {
    rmSync(root, { recursive: true, force: true });
  });
  const program = join(root, 'tail.py');
  writeFileSync(program, /```python\n(.*?)```/s.exec(readFileSync(DOC, 'utf8'))![1]!);
  const open = (): FileSink => new FileSink({ dir: root, rotateBytes: 2048, rotateSeconds: 60 }, 'i');
  const sut = { open, read: () => Promise.resolve([]), duringOutage: () => Promise.resolve() };
  const kit = new SinkKit(sut, { exactlyOnce: true });
  const log = new TabletLog('s');
  const rivals = [new Sidecar(kit, 's'), new Sidecar(kit, 's')];
  await rivals[0]!.ship(log, 1);
  const tail = spawn('python3', ['-u', program, join(root, 's', 'i.first', log.tablet.tabletId)]);
  t.after(() => void tail.kill());
  const expected = log.expected(LAST);
  const seen: unknown[] = [];
  const reading = (async () => {
    for await (const line of createInterface({ input: tail.stdout })) {
      const { key, value, pos, ts } = JSON.parse(line) as Record<'key' | 'value' | 'pos' | 'ts', unknown>;
      seen.push([JSON.stringify(key), value === null ? null : JSON.stringify(value), pos, ts]);
      if (seen.length === expected.length) return;
    }
  })();
  for (let last = 2; last <= LAST; last++) {
    const rival = rivals[(last >> 2) % 2]!;
    if (last % 4 === 0) await rival.open(log);
    await rival.ship(log, last);
    if (last % 8 === 1) await new Promise((resolve) => setTimeout(resolve, 50)); // for the reader to see what is in between
  }
  await reading;
  tail.kill();
  const wanted = expected.map(({ key, value, position, timestampMs }) => [key, value, position, timestampMs]);
  assert.deepEqual(seen, wanted);
  for (const rival of rivals) await rival.stop();
});
