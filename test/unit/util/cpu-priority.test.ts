import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';

const MODULE = new URL('../../../src/util/cpu-priority.ts', import.meta.url);

/** What a process of its own says of itself after it stood back: nice values of its threads, and its session's. */
function standBack(nice: number, options: { leads: boolean }): { threads: number[]; session: number | null } {
  const script = `
    import { existsSync, readFileSync, readdirSync } from 'node:fs';
    import { getPriority } from 'node:os';
    import { standBack } from ${JSON.stringify(MODULE.href)};
    standBack(${nice});
    const session = existsSync('/proc/self/autogroup') ? Number(readFileSync('/proc/self/autogroup', 'utf8').split('nice ')[1]) : null;
    console.log(JSON.stringify({ threads: readdirSync('/proc/self/task').map((tid) => getPriority(Number(tid))), session }));`;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', script];
  const [command, ...args] = options.leads ? ['setsid', '--wait', ...node] : node;
  const { stdout, stderr } = spawnSync(command!, args, { encoding: 'utf8' });
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as ReturnType<typeof standBack>;
}

describe('standing back for others', { skip: !existsSync('/proc/self/task') && 'not on Linux' }, () => {
  it('lowers every thread, and the session that the process leads', () => {
    const { threads, session } = standBack(10, { leads: true });
    assert.ok(threads.length > 1);
    assert.deepEqual([...new Set(threads)], [10]);
    if (session !== null) assert.equal(session, 10);
  });

  it("leaves somebody else's session alone", () => {
    const { threads, session } = standBack(7, { leads: false });
    assert.deepEqual([...new Set(threads)], [7]);
    if (session !== null) assert.equal(session, 0);
  });

  it('changes nothing where none is asked for', () => {
    assert.deepEqual([...new Set(standBack(0, { leads: true }).threads)], [0]);
  });
});
