import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';

const MODULE = new URL('../../../src/util/cpu-priority.ts', import.meta.url);

interface Said {
  readonly result: string;
  /** Nice values of its threads, and of its session. */
  readonly threads: number[];
  readonly session: number | null;
}

/** What a process of its own says of itself after it gave itself these nice values, one after the other. */
function afterNice(values: readonly number[], options: { leads: boolean; mayNot?: boolean }): Said {
  const script = `
    import { existsSync, readFileSync, readdirSync } from 'node:fs';
    import { getPriority } from 'node:os';
    import { setTimeout as sleep } from 'node:timers/promises';
    import { setNice } from ${JSON.stringify(MODULE.href)};
    let result;
    for (const nice of ${JSON.stringify(values)})
      for (result = 'again'; result === 'again'; result = setNice(nice)) await sleep(120);
    const session = existsSync('/proc/self/autogroup') ? Number(readFileSync('/proc/self/autogroup', 'utf8').split('nice ')[1]) : null;
    console.log(JSON.stringify({ result, threads: readdirSync('/proc/self/task').map((tid) => getPriority(Number(tid))), session }));`;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', script];
  const may = options.mayNot ? ['setpriv', '--bounding-set', '-sys_nice', ...node] : node;
  const [command, ...args] = options.leads ? ['setsid', '--wait', ...may] : may;
  const { stdout, stderr } = spawnSync(command!, args, { encoding: 'utf8' });
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as Said;
}

const isRoot = process.getuid?.() === 0;

describe('the priority of a process', { skip: !existsSync('/proc/self/task') && 'not on Linux' }, () => {
  it('is lowered in every thread, and in the session that the process leads', () => {
    const { result, threads, session } = afterNice([10], { leads: true });
    assert.equal(result, 'done');
    assert.ok(threads.length > 1);
    assert.deepEqual([...new Set(threads)], [10]);
    if (session !== null) assert.equal(session, 10);
  });

  it("leaves somebody else's session alone", () => {
    const { threads, session } = afterNice([7], { leads: false });
    assert.deepEqual([...new Set(threads)], [7]);
    if (session !== null) assert.equal(session, 0);
  });

  it('is given back in every thread where the process may', { skip: !isRoot && 'takes root' }, () => {
    const { result, threads, session } = afterNice([10, 0], { leads: true });
    assert.deepEqual([result, [...new Set(threads)]], ['done', [0]]);
    if (session !== null) assert.equal(session, 0);
  });

  it('stays as it is where the process may not, and says so', { skip: !isRoot && 'takes root' }, () => {
    const { result, threads } = afterNice([10, 0], { leads: false, mayNot: true });
    assert.deepEqual([result, [...new Set(threads)]], ['refused', [10]]);
  });
});
