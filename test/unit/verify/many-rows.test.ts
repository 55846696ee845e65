import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { form } from '../../support/forms.ts';

const PROGRAM = fileURLToPath(new URL('../../support/verify-many-rows.ts', import.meta.url));
/** A million rows take no more than a hundred thousand: what does not fit is sorted on disk. */
const ROWS = form(100_000, 1_000_000);
const MAX_MIB = 512;

interface Outcome {
  readonly rows: number;
  readonly records: number;
  readonly kinds: readonly string[];
  readonly peakMiB: number;
}

async function verifyRows(...args: readonly string[]): Promise<Outcome> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--import',
    import.meta.resolve('tsx'),
    PROGRAM,
    ...args,
  ]);
  return JSON.parse(stdout) as Outcome;
}

describe('verify of many rows, in a process of its own', { timeout: 300_000 }, () => {
  it(`takes less than ${MAX_MIB} MiB for ${ROWS}`, async () => {
    const { rows, records, kinds, peakMiB } = await verifyRows(String(ROWS));
    assert.deepEqual({ rows, records, kinds }, { rows: ROWS, records: 1.25 * ROWS, kinds: [] });
    assert.ok(peakMiB < MAX_MIB, `${peakMiB} MiB`);
  });

  it('finds those that are wrong', async () => {
    const { kinds } = await verifyRows('100000', 'faults');
    // The INSERT of row 7 comes a second time, in the place of its UPDATE.
    assert.deepEqual(kinds, ['missing 5', 'repeated 7', 'different 7', 'extra 100000']);
  });
});
